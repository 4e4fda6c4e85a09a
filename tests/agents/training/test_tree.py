"""Shared-prefix micro-batches against plain rows and against the model's public forward."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from agents.config_sections import Form
from agents.training.algorithm import Options
from agents.training.losses import LossInputs, mgpo_loss
from agents.training.tree import Credited, micro_batches, padded_tokens, token_logprobs
from agents.vlm import VLM


def credited(group, advantages=None):
    values = advantages or [0.5 - n for n in range(len(group))]
    return [Credited(t, (a,)) for t, a in zip(group, values, strict=True)]


def public_logprobs(vlm, trajectory):
    """[T] by transformers' own forward on one row: pixels in, positions of its own making."""
    ids = torch.from_numpy(trajectory.token_ids)[None]
    pixels = np.concatenate([vlm.codec.pixel_values(image) for image in trajectory.images])
    logits = vlm.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == vlm.codec.image).long(),
        pixel_values=torch.from_numpy(pixels),
        image_grid_thw=torch.tensor([image.grid for image in trajectory.images]),
    ).logits[0]
    logits = logits / trajectory.temperature
    logits[:, list(trajectory.banned)] = float("-inf")
    scores = logits.log_softmax(-1)
    predicted = scores[:-1].gather(-1, ids[0, 1:, None])[:, 0]
    return torch.cat([torch.zeros(1), predicted])


FORMS: tuple[Form, ...] = ("cache", "tree", "rows")


def loss_of(logprobs, batch, n_tokens):
    inputs = LossInputs(
        logprobs, batch.old_logprobs, batch.advantages, batch.mask, n_tokens, len(batch.members)
    )
    return mgpo_loss(inputs, Options(aggregation="token")).loss


def gradients(vlm, loss):
    named = list(vlm.trainable())
    grads = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    return torch.cat([g.flatten() for g in grads if g is not None])


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("freeze_vision", [True, False])
def test_gradients_of_shared_plain_and_public_are_equal(model_folder, make_group, freeze_vision):
    vlm = VLM.load(model_folder, freeze_vision=freeze_vision)
    groups = [credited(make_group(vlm.codec, seed, members=2 + seed)) for seed in (1, 2)]
    (batch,) = micro_batches(groups, 100_000)
    found = {}
    for form in FORMS:
        scores = token_logprobs(vlm, batch, form=form)
        loss = loss_of(scores.logprobs, batch, batch.n_tokens)
        found[form] = (scores.logprobs.detach(), gradients(vlm, loss))
    rows = torch.zeros(batch.mask.shape)
    for n, member in enumerate(batch.members):
        row = public_logprobs(vlm, member.trajectory)
        rows[n, : len(row)] = row
    rows = rows.where(batch.mask, 0.0)  # prompts hold banned tokens, of log-prob -inf
    oracle = gradients(vlm, loss_of(rows, batch, batch.n_tokens))
    for logprobs, gradient in found.values():
        assert float((logprobs - rows.detach()).abs().max()) < 1e-4
        assert relative(gradient, oracle) < 1e-5


def test_log_probs_sit_exactly_on_the_mask(qwen3_folder, make_group):
    vlm = VLM.load(qwen3_folder)
    (batch,) = micro_batches([credited(make_group(vlm.codec, 1))], 100_000)
    scores = token_logprobs(vlm, batch)
    assert batch.n_tokens == sum(int(m.trajectory.loss_mask.sum()) for m in batch.members)
    assert torch.equal(scores.logprobs != 0, batch.mask)
    assert scores.entropy is not None
    assert torch.equal(scores.entropy != 0, batch.mask)


def test_entropy_by_hand(qwen3_folder, make_group):
    vlm = VLM.load(qwen3_folder)
    (batch,) = micro_batches([credited(make_group(vlm.codec, 1))], 100_000)
    with torch.no_grad():
        vlm.model.lm_head.weight.zero_()  # all legal tokens alike: entropy = ln(number of them)
        scores = token_logprobs(vlm, batch)
    legal = vlm.model.config.text_config.vocab_size - len(vlm.codec.banned)
    expected = batch.mask * math.log(legal)
    torch.testing.assert_close(scores.entropy, expected)


def test_entropy_carries_a_gradient_only_when_it_is_trained(qwen3_folder, make_group):
    vlm = VLM.load(qwen3_folder)
    (batch,) = micro_batches([credited(make_group(vlm.codec, 1))], 100_000)
    trained, logged, without = (
        token_logprobs(vlm, batch, entropy=entropy).entropy for entropy in (True, None, False)
    )
    assert trained is not None
    assert trained.requires_grad
    assert logged is not None
    assert not logged.requires_grad
    assert without is None


def test_padded_tokens_counts_a_prefix_once(qwen3_folder, make_group):
    vlm = VLM.load(qwen3_folder)
    group = credited(make_group(vlm.codec, 1, members=3))
    cached = group[0].trajectory.prefix - 1
    longest = max(len(c.trajectory) for c in group)
    assert padded_tokens([group]) == cached + 3 * (longest - cached)
    assert padded_tokens([group], form="rows") == 3 * longest


@pytest.mark.parametrize("form", FORMS)
def test_padded_tokens_are_what_the_model_computes(qwen3_folder, make_group, monkeypatch, form):
    vlm = VLM.load(qwen3_folder)
    groups = [credited(make_group(vlm.codec, seed, members=3)) for seed in (1, 2)]
    (batch,) = micro_batches(groups, 100_000)
    seen = []
    forward = vlm.hidden

    def counted(token_ids, *rest, **attention):
        seen.append(token_ids.numel())
        return forward(token_ids, *rest, **attention)

    monkeypatch.setattr(vlm, "hidden", counted)
    token_logprobs(vlm, batch, form=form)
    # The last token of each row predicts nothing and is not computed.
    assert sum(seen) == padded_tokens(groups, form) - len(batch.members)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("budget", [1, 150, 400, 100_000])
def test_budget_is_kept_and_nobody_is_lost(qwen3_folder, make_group, form, budget):
    vlm = VLM.load(qwen3_folder)
    groups = [credited(make_group(vlm.codec, seed, members=4)) for seed in range(3)]
    batches = list(micro_batches(groups, budget, form=form))
    for batch in batches:
        by_group: dict[str, list] = {}
        for member in batch.members:
            by_group.setdefault(member.trajectory.group, []).append(member)
        assert len(batch.members) == 1 or padded_tokens(list(by_group.values()), form) <= budget
    found = [m.trajectory for batch in batches for m in batch.members]
    assert [id(t) for t in found] == [id(c.trajectory) for group in groups for c in group]


def test_the_cut_does_not_change_the_gradient(qwen3_folder, make_group):
    vlm = VLM.load(qwen3_folder)
    groups = [credited(make_group(vlm.codec, seed, members=3)) for seed in (1, 2)]
    total = sum(int(c.trajectory.loss_mask.sum()) for g in groups for c in g)
    grads = []
    for budget in (100_000, 120):
        batches = list(micro_batches(groups, budget))
        losses = [loss_of(token_logprobs(vlm, b).logprobs, b, total) for b in batches]
        grads.append(gradients(vlm, sum(losses)))
    assert len(batches) > 1
    assert relative(grads[1], grads[0]) < 1e-5


def test_mixed_temperatures_are_refused(qwen3_folder, make_group):
    vlm = VLM.load(qwen3_folder)
    first, second = make_group(vlm.codec, 1, members=2)
    second = dataclasses.replace(second, temperature=0.5)
    (batch,) = micro_batches([credited([first, second])], 100_000)
    with pytest.raises(ValueError, match="got 2 different samplings"):
        token_logprobs(vlm, batch)
