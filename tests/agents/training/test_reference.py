"""The frozen first policy, with adapters and without."""

import pytest
import torch

from agents.training.reference import Reference
from agents.training.tree import Credited, micro_batches, token_logprobs
from agents.vlm import VLM

LORA = {"r": 4, "lora_alpha": 8}


def batch_of(vlm, make_group):
    members = [Credited(t, (1.0,)) for t in make_group(vlm.codec, 1)]
    (batch,) = micro_batches([members], 100_000)
    return batch


def disturb(vlm):
    torch.manual_seed(0)
    with torch.no_grad():
        for _, parameter in vlm.trainable():
            parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("freeze_vision", [True, False])
def test_it_stays_the_first_policy(model_folder, make_group, lora, freeze_vision):
    vlm = VLM.load(model_folder, lora=lora, freeze_vision=freeze_vision)
    batch = batch_of(vlm, make_group)
    with torch.no_grad():
        first = token_logprobs(vlm, batch).logprobs
    reference = Reference(vlm)
    disturb(vlm)
    torch.testing.assert_close(reference.score(batch).logprobs, first, rtol=0, atol=1e-5)
    with torch.no_grad():
        now = token_logprobs(vlm, batch).logprobs
    assert float((now - first).abs().max()) > 0.01
    assert not reference.score(batch).logprobs.requires_grad


def test_a_frozen_vision_tower_is_not_copied(qwen3_folder):
    vlm = VLM.load(qwen3_folder)
    copy = Reference(vlm).copy
    assert copy is not None
    assert copy.body.visual is vlm.body.visual
    assert copy.lm_head.weight is not vlm.lm_head.weight


def test_adapters_need_no_copy_and_train_on_afterwards(qwen3_folder, make_group):
    vlm = VLM.load(qwen3_folder, lora=LORA)
    disturb(vlm)
    batch = batch_of(vlm, make_group)
    names = {name for name, _ in vlm.trainable()}
    reference = Reference(vlm)
    reference.score(batch)
    assert reference.copy is None
    assert {name for name, _ in vlm.trainable()} == names
    token_logprobs(vlm, batch).logprobs.sum().backward()
    assert all(p.grad is not None for _, p in vlm.trainable())
