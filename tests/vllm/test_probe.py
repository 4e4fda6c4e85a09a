"""The probe after publishing, on faults of the real vLLM: each is found, and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from agents import families
from agents.rollout.engines import _vllm_weights
from agents.training.optimizer import TrainingError
from agents.training.publish import Publisher
from agents.vlm import VLM

from ..agents.rollout.engines.talking import TOLERANCE, changed_weights
from .conftest import Opener


@pytest.fixture
def policy(model_folder: str) -> VLM:
    """Weights of a test's own."""
    return changed_weights(model_folder, 11)


def change(policy: VLM) -> None:
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.2 * parameter.std(correction=0) * torch.randn_like(parameter))
    policy.forget_images()


def test_published_weights_pass(engine: Any, policy: VLM):
    publisher = Publisher(engine, policy)
    for version in (1, 2, 3):
        assert publisher.publish(version)["probe_max"] < TOLERANCE
        change(policy)


def without_prefix(core: Any) -> None:
    """The reset that is easily forgotten: vLLM itself notices when the encoder's is missing."""
    core.reset_encoder_cache()
    core.reset_mm_cache()


def test_stale_prefixes_are_found(engine: Any, policy: VLM, monkeypatch: pytest.MonkeyPatch):
    publisher = Publisher(engine, policy)
    publisher.publish(1)
    change(policy)
    monkeypatch.setattr(_vllm_weights, "reset_caches", without_prefix)
    with pytest.raises(TrainingError, match=r"Likely cause: .*cache"):
        publisher.publish(2)
    monkeypatch.undo()
    assert publisher.publish(3)["probe_max"] < TOLERANCE


def test_weights_that_never_arrive_are_found(
    engine: Any, policy: VLM, monkeypatch: pytest.MonkeyPatch
):
    publisher = Publisher(engine, policy)
    publisher.publish(1)
    change(policy)
    monkeypatch.setattr(engine.sync, "load", lambda core, source: source)
    with pytest.raises(TrainingError, match="Likely cause: stale weights"):
        publisher.publish(2)


def test_a_missing_ban_is_found(engine: Any, policy: VLM, monkeypatch: pytest.MonkeyPatch):
    from agents.rollout.engines._vllm_ban import Ban

    def unchanged(self: Any, logits: Tensor, *_: Any) -> Tensor:
        return logits

    monkeypatch.setattr(Ban, "apply", unchanged)
    with pytest.raises(TrainingError, match="banned ids"):
        Publisher(engine, policy).publish(1)


def test_the_other_kind_of_mrope(
    folder_of: Callable[[str], str],
    open_vllm: Opener,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """vLLM takes it from config.json alone: refused, and without that check found by the probe."""
    folder = tmp_path / "other"
    shutil.copytree(folder_of("qwen3_vl"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["rope_parameters"]["mrope_interleaved"] = False
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="got mrope_interleaved False, expected True"):
        open_vllm(str(folder))
    monkeypatch.setattr(families.Family, "check", lambda self, config: None)
    engine = open_vllm(str(folder))
    with pytest.raises(TrainingError, match="M-RoPE"):
        Publisher(engine, changed_weights(str(folder), 1)).publish(1)
