"""Checkpoints: layout, atomic appearance, rotation, adapters, random number generators."""

import random

import numpy as np
import pytest
import torch

from agents.training.checkpoint import (
    Checkpoints,
    load_adapters,
    read_state,
    restore_rng,
    rng_state,
    save_policy,
)
from agents.training.tree import Credited, micro_batches, token_logprobs
from agents.vlm import VLM

from .test_reference import LORA, disturb


def logprobs(vlm, make_group):
    members = [Credited(t, 1.0) for t in make_group(vlm.codec, 1)]
    (batch,) = micro_batches([members], 100_000)
    with torch.no_grad():
        return token_logprobs(vlm, batch).logprobs


def test_transformers_loads_the_policy(model_folder, make_group, tmp_path):
    vlm = VLM.load(model_folder)
    disturb(vlm)
    path = Checkpoints(tmp_path, keep=2).save(7, vlm, {"step": 7})
    assert path == tmp_path / "checkpoints" / "step_000007"
    again = VLM.load(path)
    torch.testing.assert_close(logprobs(again, make_group), logprobs(vlm, make_group))
    assert read_state(path) == {"step": 7}


def test_only_the_newest_stay(qwen3_folder, tmp_path):
    vlm, checkpoints = VLM.load(qwen3_folder), Checkpoints(tmp_path, keep=2)
    assert checkpoints.latest() is None
    for step in (5, 10, 100):
        checkpoints.save(step, vlm, {"step": step})
    assert [p.name for p in checkpoints.all()] == ["step_000010", "step_000100"]
    assert checkpoints.latest() == checkpoints.folder / "step_000100"


def test_a_checkpoint_is_whole_or_absent(qwen3_folder, tmp_path, monkeypatch):
    vlm, checkpoints = VLM.load(qwen3_folder), Checkpoints(tmp_path, keep=2)
    checkpoints.save(1, vlm, {"step": 1})

    def full_disk(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(torch, "save", full_disk)
        checkpoints.save(2, vlm, {"step": 2})
    assert checkpoints.latest() == checkpoints.folder / "step_000001"
    again = Checkpoints(tmp_path, keep=2)  # a new run clears what the dead one left
    assert [p.name for p in again.folder.iterdir()] == ["step_000001"]
    assert again.save(2, vlm, {"step": 2}).name == "step_000002"


def test_adapters_return_and_peft_loads_them(qwen3_folder, make_group, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    vlm = VLM.load(qwen3_folder, lora=LORA)
    disturb(vlm)
    expected = logprobs(vlm, make_group)
    save_policy(vlm, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    again = VLM.load(qwen3_folder, lora=LORA)
    load_adapters(again, tmp_path)
    torch.testing.assert_close(logprobs(again, make_group), expected, rtol=0, atol=0)

    base = AutoModelForImageTextToText.from_pretrained(qwen3_folder)
    merged = VLM(PeftModel.from_pretrained(base, tmp_path).merge_and_unload(), vlm.codec)
    torch.testing.assert_close(logprobs(merged, make_group), expected, rtol=0, atol=1e-4)


def test_merged_weights_are_exported(model_folder, make_group, tmp_path):
    vlm = VLM.load(model_folder, lora=LORA)
    disturb(vlm)
    vlm.save(tmp_path)
    again = VLM.load(tmp_path)
    found = logprobs(again, make_group)
    torch.testing.assert_close(found, logprobs(vlm, make_group), rtol=0, atol=1e-4)


def test_adapters_of_another_shape_are_refused(qwen3_folder, tmp_path):
    save_policy(VLM.load(qwen3_folder, lora=LORA), tmp_path)
    other = VLM.load(qwen3_folder, lora={**LORA, "r": 2})
    with pytest.raises(ValueError, match="its adapters are not the model's"):
        load_adapters(other, tmp_path)


def test_every_generator_goes_on_where_it_was(tmp_path):
    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    torch.save({"rng": rng_state()}, tmp_path / "trainer.pt")
    expected = [draw(), draw()]
    restore_rng(read_state(tmp_path)["rng"])
    assert [draw(), draw()] == expected
