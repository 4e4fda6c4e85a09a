"""New weights from modules and folders, tied and untied; nothing stays of the old ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from agents.rollout.engines import Sampling, _vllm_weights
from agents.vlm import VLM

from ..agents.rollout.engines.talking import (
    TOLERANCE,
    changed_weights,
    distance,
    openings,
    say,
    two_turns,
)
from .conftest import MODELS, Opener

SAMPLING = Sampling(max_tokens=8, seed=2)


@pytest.fixture(params=list(MODELS))
def folder(request: pytest.FixtureRequest, folder_of: Callable[[str], str]) -> str:
    return folder_of(request.param)


def test_every_kind_of_source_tied_and_untied(folder: str, open_vllm: Opener, tmp_path: Path):
    engine = open_vllm(folder)
    tied = VLM.load(folder).model.config.tie_word_embeddings
    changed = changed_weights(folder, 3)
    changed.save(tmp_path)
    kept = {name for name, _ in changed.weights()}
    assert (_vllm_weights.HEAD in kept) is not tied
    for n, source in enumerate((changed, changed.model, tmp_path, str(tmp_path)), start=1):
        engine.load_weights(folder, 100 + n)
        assert distance(changed, two_turns(engine, SAMPLING)) > 0.05
        engine.load_weights(source, n)
        chats = two_turns(engine, SAMPLING)
        assert distance(changed, chats) < TOLERANCE
        assert engine.policy_version == n and chats[0].policy_version == n
    engine.load_weights(folder, 0)


@pytest.mark.parametrize("own", ["reload", "folder"])
def test_a_folder_that_lacks_weights_is_refused(
    own: str, open_vllm: Opener, folder_of: Callable[[str], str], tmp_path: Path
):
    """vLLM alone would keep the old ones, and say nothing."""
    opened_on = folder_of("qwen2_vl untied")
    engine = open_vllm(opened_on, **({"weight_sync": own} if own == "folder" else {}))
    changed_weights(opened_on, 3).save(tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    kept = {
        name: tensor
        for name, tensor in load_file(file).items()
        if name != _vllm_weights.HEAD and "layers.1.mlp" not in name
    }
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"has no layers.1.mlp.down_proj.weight, .* 1 more; exp"):
        engine.load_weights(tmp_path, 1)
    # Nothing was loaded.
    assert distance(VLM.load(opened_on), two_turns(engine, SAMPLING)) < TOLERANCE
    assert engine.policy_version == 0


def test_weights_are_copied(engine: Any, model_folder: str):
    """Training goes on with the tensors that were handed over."""
    changed, same = changed_weights(model_folder, 4), changed_weights(model_folder, 4)
    engine.load_weights(changed, 1)
    with torch.no_grad():
        for parameter in changed.model.parameters():
            parameter.mul_(0.5)
    assert distance(same, two_turns(engine, SAMPLING)) < TOLERANCE


def test_merged_adapters_travel(engine: Any, model_folder: str):
    policy = VLM.load(model_folder, lora={"r": 4, "lora_alpha": 16})
    with torch.no_grad():
        for name, parameter in policy.trainable():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    engine.load_weights(policy, 1)
    chats = two_turns(engine, SAMPLING)
    assert distance(policy, chats) < TOLERANCE
    assert distance(VLM.load(model_folder), chats) > 0.05


def without_prefix(core: Any) -> None:
    core.reset_encoder_cache()
    core.reset_mm_cache()


def test_old_prefixes_would_be_wrong(
    engine: Any, model_folder: str, monkeypatch: pytest.MonkeyPatch
):
    """What the reset is for: without it what the old weights made of the view is used."""
    changed = changed_weights(model_folder, 6)
    chats = openings(engine, (2, 2))
    say(engine, chats, SAMPLING)
    with monkeypatch.context() as patch:
        patch.setattr(_vllm_weights, "reset_caches", without_prefix)
        engine.load_weights(changed, 1)
    stale = openings(engine, (2, 2))
    say(engine, stale, SAMPLING)
    assert distance(changed, stale) > 0.01
    engine.load_weights(changed, 2)
    fresh = openings(engine, (2, 2))
    say(engine, fresh, SAMPLING)
    assert distance(changed, fresh) < TOLERANCE


def test_not_while_requests_are_open(engine: Any, model_folder: str):
    engine.submit(openings(engine, (1,))[0], SAMPLING)
    with pytest.raises(RuntimeError, match="1 requests are open; collect or cancel them first"):
        engine.load_weights(model_folder, 1)
    engine.cancel()
    engine.load_weights(model_folder, 1)
    assert engine.policy_version == 1


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        (3, TypeError, "got a int, expected a VLM, a module or a model folder"),
        ("./nowhere", FileNotFoundError, "nowhere: does not exist"),
    ],
)
def test_other_sources_are_refused(engine: Any, source: Any, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        engine.load_weights(source, 1)
    assert engine.policy_version == 0
    say(engine, openings(engine, (1,)), SAMPLING)
