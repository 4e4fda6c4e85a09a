"""The shared-prefix forward against separate rows through the model's public forward."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agents import head as head_module
from agents.head import distribution, logprobs_of
from agents.prefix import Row, SharedPrefix, trained_hidden
from agents.vlm import VLM

from .conftest import noise_image
from .helpers import conversations, masks_of, opening, public_logprobs, rows_of


def score(vlm: VLM, chats: list, shared: bool = True, temperature: float = 1.0) -> Tensor:
    rows = [dataclasses.replace(r, prefix=r.prefix if shared else 1) for r in rows_of(chats)]
    hidden, targets = trained_hidden(vlm, rows, masks_of(chats))
    return logprobs_of(hidden, vlm.lm_head, targets, temperature, vlm.codec.banned)


def gradients(vlm: VLM, logprobs: Tensor) -> dict[str, Tensor]:
    """Of a sum in which every token has a weight of its own."""
    weights = torch.randn(len(logprobs), generator=torch.Generator().manual_seed(1))
    vlm.model.zero_grad()
    (logprobs * weights).sum().backward()
    return {n: p.grad.clone() for n, p in vlm.trainable() if p.grad is not None}


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Relative difference of two gradients, all parameters together."""
    assert a.keys() == b.keys() and a
    total = sum(float(t.square().sum()) for t in b.values())
    return (sum(float((a[n] - b[n]).square().sum()) for n in a) / total) ** 0.5


@pytest.mark.parametrize("freeze_vision", [True, False])
def test_gradients_equal_those_of_separate_rows(model_folder: str, freeze_vision: bool) -> None:
    # Groups of 3, 2 and 1 siblings; two images per conversation, prefix and branch.
    vlm = VLM.load(model_folder, freeze_vision=freeze_vision)
    chats = conversations(vlm.codec)
    shared = score(vlm, chats)
    plain = torch.cat([public_logprobs(vlm, chat) for chat in chats])
    assert (shared - plain).abs().max() < 1e-4
    shared_grads, plain_grads = gradients(vlm, shared), gradients(vlm, plain)
    assert distance(shared_grads, plain_grads) < 1e-5
    assert any("visual" in name for name in shared_grads) is not freeze_vision


def test_equal_groups_and_plain_rows_agree(model_folder: str) -> None:
    vlm = VLM.load(model_folder)
    chats = conversations(vlm.codec, sizes=(2, 2))[:4]
    shared, plain = score(vlm, chats), score(vlm, chats, shared=False)
    assert (shared - plain).abs().max() < 1e-4
    assert distance(gradients(vlm, shared), gradients(vlm, plain)) < 1e-5


def test_rows_that_share_nothing_may_stand_beside_groups(model_folder: str) -> None:
    vlm = VLM.load(model_folder)
    chats = conversations(vlm.codec)
    rows = rows_of(chats)
    rows[1] = dataclasses.replace(rows[1], prefix=1)
    hidden, targets = trained_hidden(vlm, rows, masks_of(chats))
    mixed = logprobs_of(hidden, vlm.lm_head, targets, 1.0, vlm.codec.banned)
    assert (mixed - score(vlm, chats)).abs().max() < 1e-4


def test_plain_rows_allow_gradient_checkpointing(model_folder: str) -> None:
    vlm = VLM.load(model_folder)
    chats = conversations(vlm.codec)
    plain = score(vlm, chats, shared=False)
    expected = gradients(vlm, plain)
    vlm.model.activation_checkpointing_enable()
    vlm.model.train()
    with pytest.raises(ValueError, match="gradient checkpointing drops the KV cache"):
        score(vlm, chats)
    with torch.no_grad():  # as a reference is scored
        assert torch.equal(score(vlm, chats, shared=False), plain)
    again: list[bool] = []
    layer = vlm.body.language_model.layers[0]
    layer.mlp.register_forward_pre_hook(lambda *_: again.append(torch.is_grad_enabled()))
    assert distance(gradients(vlm, score(vlm, chats, shared=False)), expected) < 1e-6
    assert len(again) == 2  # forward, and once more for the gradient


def test_order_is_that_of_the_masks(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    chats = conversations(vlm.codec)
    _, targets = trained_hidden(vlm, rows_of(chats), masks_of(chats))
    expected = [np.array(c.token_ids)[np.array(c.loss_mask)] for c in chats]
    assert targets.tolist() == np.concatenate(expected).tolist()


def test_a_prefix_is_computed_once_per_group(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    chats = conversations(vlm.codec, sizes=(3, 2))
    shared = SharedPrefix(vlm, rows_of(chats))
    seen = []
    vlm.body.language_model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(tuple(kwargs["inputs_embeds"].shape[:2])),
        with_kwargs=True,
    )
    shared.forward()
    longest = max(chat.prefix - 1 for chat in chats)
    branch = max(len(chat.token_ids) - chat.prefix + 1 for chat in chats)
    assert shared.owners == [0, 0, 0, 1, 1, 2]
    assert seen == [(3, longest), (6, branch)]


def test_siblings_are_those_with_equal_tokens_and_pixels(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    one, two = opening(vlm.codec, 0), opening(vlm.codec, 0)
    two.images[:] = [vlm.codec.encode_image(noise_image(48, 32, seed=7))]
    shared = SharedPrefix(vlm, rows_of([one, two, one.fork(1)]))
    assert shared.owners == [0, 1, 0]


def test_what_follows_the_last_trained_token_is_not_computed(qwen3_folder: str) -> None:
    # A member that failed in its second turn leaves an observation, with an image, at its end.
    vlm = VLM.load(qwen3_folder)
    full = conversations(vlm.codec, sizes=(1,))[0]
    cut = len(full.token_ids) - int(np.flatnonzero(np.array(full.loss_mask)[::-1])[0])
    second_reply = int(np.flatnonzero(np.diff(full.loss_mask))[2]) + 1
    row = Row(np.array(full.token_ids[:cut]), tuple(full.images), full.prefix)
    mask = np.array(full.loss_mask[:cut]) & (np.arange(cut) < second_reply)
    first_turn = [m and n < second_reply for n, m in enumerate(full.loss_mask)]
    hidden, targets = trained_hidden(vlm, [row], [mask])
    got = logprobs_of(hidden, vlm.lm_head, targets, 1.0, vlm.codec.banned)
    expected = public_logprobs(vlm, full)[: sum(first_turn)]
    assert len(vlm._features) == 1  # the crop was never encoded
    assert (got - expected).abs().max() < 1e-4


def test_bad_prefixes_are_refused(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    row = rows_of(conversations(vlm.codec))[0]
    inside = int(np.flatnonzero(row.token_ids == vlm.codec.image)[2]) + 1
    with pytest.raises(ValueError, match="ends inside an image"):
        SharedPrefix(vlm, [dataclasses.replace(row, prefix=inside)])
    for wrong in (0, len(row.token_ids) + 1):
        with pytest.raises(ValueError, match=f"prefix {wrong}"):
            SharedPrefix(vlm, [dataclasses.replace(row, prefix=wrong)])
    mask = np.zeros(len(row.token_ids), dtype=np.bool_)
    mask[row.prefix - 1] = True
    for nothing in (mask, np.zeros_like(mask)):
        with pytest.raises(ValueError, match="none of them in its prefix"):
            trained_hidden(vlm, [row], [nothing])


def head(*columns: list[float]) -> nn.Linear:
    """A head whose logits for hidden state 1 are `columns`."""
    layer = nn.Linear(1, len(columns), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(columns))
    return layer


def test_processed_logprobs_by_hand() -> None:
    # Logits 2 ln 2, 0, 9 at T = 2 with the third banned: weights 2 and 1, so 2/3 and 1/3.
    lm_head = head([2 * np.log(2)], [0.0], [9.0])
    scores = distribution(torch.ones(1, 1), lm_head, 2.0, (2,))
    np.testing.assert_allclose(scores.exp().detach(), [[2 / 3, 1 / 3, 0.0]], atol=1e-6)
    got = logprobs_of(torch.ones(2, 1), lm_head, torch.tensor([0, 1]), 2.0, (2,))
    np.testing.assert_allclose(got.detach(), np.log([2 / 3, 1 / 3]), atol=1e-6)
    with pytest.raises(ValueError, match="temperature"):
        distribution(torch.ones(1, 1), lm_head, 0.0, ())


def test_a_large_vocabulary_is_scored_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    lm_head, targets = head([1.0], [0.5], [-1.0]), torch.tensor([0, 1, 2, 0, 1])
    hidden = torch.randn(5, 1, generator=torch.Generator().manual_seed(0), requires_grad=True)
    whole = logprobs_of(hidden, lm_head, targets, 0.7, (2,))
    whole[:2].sum().backward()
    gradient = hidden.grad
    assert gradient is not None
    hidden.grad = None
    monkeypatch.setattr(head_module, "MAX_LOGITS", 6)  # two of the five rows at once
    pieces = logprobs_of(hidden, lm_head, targets, 0.7, (2,))
    pieces[:2].sum().backward()
    assert torch.equal(whole, pieces)
    torch.testing.assert_close(hidden.grad, gradient)
