"""How tokens are drawn: the truncation of a distribution, by hand, and frequencies."""

from collections import Counter

import numpy as np
import pytest
import torch

from agents.head import distribution, truncate
from agents.rollout.engines import Completion, Sampling
from agents.rollout.engines import _transformers_batch as batch_module
from agents.rollout.engines._transformers_batch import inverse_cdf
from agents.rollout.engines.transformers import TransformersEngine
from agents.vlm import VLM

from ...helpers import opening, public_logits


def test_inverse_cdf_by_hand() -> None:
    probs = torch.tensor([[0.5, 0.0, 0.25, 0.25, 0.0]]).expand(6, -1)
    numbers = torch.tensor([0.0, 0.49, 0.51, 0.74, 0.76, 1 - 2.0**-53], dtype=torch.float64)
    assert inverse_cdf(probs.log(), numbers).tolist() == [0, 0, 2, 2, 3, 3]


def test_draws_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(20, 50, generator=generator).log_softmax(-1)
    numbers = torch.rand(20, generator=generator, dtype=torch.float64)
    whole = inverse_cdf(scores, numbers)
    monkeypatch.setattr(batch_module, "MAX_DRAWN", 120)  # two rows at once
    assert torch.equal(inverse_cdf(scores, numbers), whole) and len(set(whole.tolist())) > 10


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(top_k=2), Sampling(top_p=0.5), Sampling(min_p=0.1)]
)
def test_nan_stays_in_its_row_and_within_the_vocabulary(sampling: Sampling) -> None:
    head = torch.nn.Linear(1, 4, bias=False)
    hidden = torch.tensor([[1.0], [float("nan")], [float("inf")], [1.0]])
    with torch.no_grad():
        scores = distribution(hidden, head, 1.0, (3,), sampling)
        alone = distribution(hidden[:1], head, 1.0, (3,), sampling)
    assert scores[1:3].isnan().all()
    assert torch.equal(scores[:1], alone) and torch.equal(scores[3:], alone)
    drawn = inverse_cdf(scores, torch.full((4,), 0.3, dtype=torch.float64))
    assert drawn.max() < 4 and drawn[0] == drawn[3]


def test_a_ban_first_used_without_gradients_serves_training() -> None:
    head, banned = torch.nn.Linear(1, 5, bias=False), (4, 2)
    with torch.inference_mode():
        distribution(torch.ones(1, 1), head, 1.0, banned)
    scores = distribution(torch.ones(1, 1), head, 1.0, banned)
    assert scores.isinf().nonzero()[:, 1].tolist() == [2, 4]
    scores[0, 0].backward()
    assert head.weight.grad is not None and head.weight.grad[4] == 0


PROBS = [0.30, 0.05, 0.40, 0.05, 0.20]


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(), [0, 1, 2, 3, 4]),
        (Sampling(top_k=1), [2]),
        (Sampling(top_k=3), [0, 2, 4]),
        (Sampling(top_k=4), [0, 1, 2, 3, 4]),  # the 4th and the 5th are as likely
        (Sampling(top_k=9), [0, 1, 2, 3, 4]),
        (Sampling(top_p=0.1), [2]),
        (Sampling(top_p=0.5), [0, 2]),
        (Sampling(top_p=0.69), [0, 2]),  # 0.7 reaches it
        (Sampling(top_p=0.71), [0, 2, 4]),
        (Sampling(top_p=0.92), [0, 1, 2, 3, 4]),  # one of the last two, so both
        (Sampling(min_p=0.6), [0, 2]),  # at least 0.24
        (Sampling(min_p=0.999), [2]),
        # Of the three left by top-k the first two have 7/9 = 0.78 of what is left.
        (Sampling(top_k=3, top_p=0.75), [0, 2]),
        (Sampling(top_k=3, top_p=0.79), [0, 2, 4]),
        (Sampling(min_p=0.2, top_p=0.79), [0, 2, 4]),
        (Sampling(min_p=0.6, top_p=0.56), [2]),  # 4/7 = 0.57
        (Sampling(min_p=0.6, top_k=4), [0, 2]),
    ],
)
def test_truncation_by_hand(sampling: Sampling, kept: list[int]) -> None:
    logits = torch.tensor(PROBS).log().expand(2, -1) + torch.tensor([[0.0], [3.0]])
    cut = truncate(logits, sampling)
    for row in cut:
        assert torch.isfinite(row).nonzero()[:, 0].tolist() == kept
    probs = np.array(PROBS) * np.isin(range(5), kept)
    np.testing.assert_allclose(cut.softmax(-1)[1], probs / probs.sum(), atol=1e-6)


def test_the_temperature_comes_first_and_bans_before_all() -> None:
    # Logits 4, 2, 0 and 9 (banned) at T = 2: weights e^2, e, 1; top-k 2 leaves e / (e + 1).
    head = torch.nn.Linear(1, 4, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[4.0], [2.0], [0.0], [9.0]]))
        scores = distribution(torch.ones(1, 1), head, 2.0, (3,), Sampling(temperature=2, top_k=2))
    expected = [np.e / (np.e + 1), 1 / (np.e + 1), 0.0, 0.0]
    np.testing.assert_allclose(scores.exp(), [expected], atol=1e-6)
    greedy = distribution(torch.ones(1, 1), head, 1.0, (3,), Sampling(temperature=0, top_k=1))
    assert torch.isfinite(greedy).sum() == 3  # greedy replies are scored by the whole distribution


def test_the_likeliest_id_always_stays() -> None:
    logits = torch.randn(50, 300, generator=torch.Generator().manual_seed(0)) * 20
    for sampling in (Sampling(top_p=1e-6), Sampling(min_p=1 - 1e-6), Sampling(top_k=1)):
        cut = truncate(logits, sampling)
        assert torch.equal(cut.argmax(-1), logits.argmax(-1))
        assert torch.isfinite(cut).sum() == 50


@pytest.mark.parametrize("top_p", [1.0, 0.6])
def test_frequencies_are_the_models_probabilities(model_folder: str, top_p: float) -> None:
    n, vlm = 3000, VLM.load(model_folder)
    engine, chat = TransformersEngine(vlm, max_rows=n), opening(vlm.codec, 0)
    chats = [chat.fork(member) for member in range(n)]
    replies = engine.generate(chats, Sampling(max_tokens=1, top_p=top_p))
    first = [reply.token_ids[0] for reply in replies if isinstance(reply, Completion)]
    with torch.no_grad():
        logits = public_logits(vlm, chat)[-1:]
    logits[:, list(vlm.codec.banned)] = -torch.inf
    expected = truncate(logits, Sampling(top_p=top_p)).softmax(-1)[0].numpy()
    observed = np.zeros_like(expected)
    for token, count in Counter(first).items():
        observed[token] = count / n
    size = int((expected > 0).sum())
    assert (expected[observed > 0] > 0).all()
    # The expected total variation of n draws over k ids is about 0.5 sqrt(k / n).
    assert 0.5 * np.abs(observed - expected).sum() < 0.6 * (size / n) ** 0.5
    assert 0.5 * np.abs(observed - 1 / len(expected)).sum() > 0.25  # and it is not uniform
