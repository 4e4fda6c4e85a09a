"""Adapters served by vLLM beside the weights they adapt, version after version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.rollout.engines import Sampling
from agents.training.saved_policy import save_policy
from agents.vlm import VLM

from ..agents.rollout.engines.talking import TOLERANCE, distance, two_turns
from .conftest import Opener

SAMPLING = Sampling(max_tokens=8, seed=2)


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen25_vl", "qwen3_vl"])
def folder(request: pytest.FixtureRequest, folder_of: Callable[[str], str]) -> str:
    return folder_of(request.param)


@pytest.fixture
def served(open_vllm: Opener, folder: str) -> Any:
    return open_vllm(folder, lora="served", max_lora_rank=8)


def adapted(folder: str, seed: int, **options: Any) -> VLM:
    policy = VLM.load(folder, lora={"r": 4, "lora_alpha": 12, **options})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.trainable():
            if "lora_B" in name:
                parameter.normal_(std=0.3, generator=generator)
    return policy


def test_each_version_is_served(served: Any, folder: str, tmp_path: Path):
    base = VLM.load(folder)
    for version in (1, 2, 3):
        policy = adapted(folder, version)
        served.load_weights(policy, version)
        chats = two_turns(served, SAMPLING)
        assert distance(policy, chats) < TOLERANCE
        assert distance(base, chats) > 0.05
        assert served.policy_version == version and chats[0].policy_version == version
    # From a checkpoint of the trainer.
    policy = adapted(folder, 9, use_rslora=True, lora_alpha=4)
    save_policy(policy, tmp_path)
    served.load_weights(tmp_path, 4)
    assert distance(policy, two_turns(served, SAMPLING)) < TOLERANCE
    assert len(served.core.list_loras()) == 1


def test_a_policy_without_adapters_is_refused(served: Any, folder: str, tmp_path: Path):
    with pytest.raises(ValueError, match="got 'served', but the model has no adapters"):
        served.load_weights(VLM.load(folder), 1)
    with pytest.raises(FileNotFoundError, match=r"has no adapter_model.safetensors"):
        served.load_weights(tmp_path, 1)
    towers = adapted(folder, 1, target_modules=r".*\.qkv")
    with pytest.raises(ValueError, match="vLLM serves adapters of the language model alone"):
        served.load_weights(towers, 1)
