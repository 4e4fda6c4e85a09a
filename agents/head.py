"""The head: log-probs and entropy of tokens, from hidden states.

Engine and trainer share it, so that what is sampled from is what is trained: same temperature,
same banned ids. Shapes: K tokens, D hidden size, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .rollout.engines import Sampling

MAX_LOGITS = 2**26
"""Logits held at once by `token_scores`; longer inputs go through the head in pieces."""


def distribution(
    hidden: Tensor,
    lm_head: nn.Module,
    temperature: float,
    banned: Sequence[int],
    sampling: Sampling | None = None,
) -> Tensor:
    """Log-probs [K, V] float32 of the sampling distribution: -inf on banned ids, logits / T.

    With a `sampling` that is truncated, ids that it leaves out are -inf too, and the rest is
    renormalised (see `truncate`). A trainer's distribution is not truncated.
    """
    if temperature <= 0:
        raise ValueError(f"temperature: got {temperature}, expected a number above 0")
    logits = lm_head(hidden).float() / temperature
    if banned:
        logits = logits.index_fill(-1, _indices(tuple(banned), logits.device), float("-inf"))
    if sampling is not None and sampling.truncated:
        logits = truncate(logits, sampling)
    return logits.log_softmax(-1)


@lru_cache(maxsize=16)
def _indices(ids: tuple[int, ...], device: torch.device) -> Tensor:
    # Copied to the device once; not an inference tensor, as training saves it for its gradients.
    with torch.inference_mode(False):
        return torch.tensor(ids, device=device)


def truncate(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits [K, V] with -inf on what min-p, top-k and top-p leave out, in vLLM's order.

    The temperature is in `logits` already. Stay:

    1. `min_p`: ids of at least `min_p` times the likeliest one's probability;
    2. `top_k`: of these the `top_k` likeliest;
    3. `top_p`: of these, with their probabilities summing to 1, the smallest set of the likeliest
       that reaches `top_p`: an id stays while those before it sum to less.

    Each rule is a lower bound on the logit, so ids that are as likely as the last one to stay all
    stay: the set never depends on how equal numbers are sorted. The likeliest id always stays. A
    row with NaN has no set; it disturbs no other row.
    """
    floor = torch.full_like(logits[..., :1], float("-inf"))
    if sampling.min_p > 0:
        floor = logits.amax(-1, keepdim=True) + math.log(sampling.min_p)
    if 0 < sampling.top_k < logits.shape[-1]:
        floor = floor.maximum(logits.topk(sampling.top_k, dim=-1).values[..., -1:])
    logits = logits.masked_fill(logits < floor, float("-inf"))
    if sampling.top_p == 1:
        return logits
    ordered = logits.sort(dim=-1, descending=True).values
    probs = ordered.softmax(-1)
    staying = (probs.cumsum(-1) - probs < sampling.top_p).sum(-1, keepdim=True)
    floor = ordered.gather(-1, (staying - 1).clamp(min=0))  # NaN: none stays
    return logits.masked_fill(logits < floor, float("-inf"))


def logprobs_of(
    hidden: Tensor,
    lm_head: nn.Module,
    targets: Tensor,
    temperature: float = 1.0,
    banned: Sequence[int] = (),
) -> Tensor:
    """Log-probs [K] of `targets` [K] (nats) under the sampling distribution; engine and trainer.

    `hidden` [K, D]. A large vocabulary is taken in pieces that the backward pass computes again.
    """
    return token_scores(hidden, lm_head, targets, temperature, banned, entropy=False)[0]


def token_scores(
    hidden: Tensor,
    lm_head: nn.Module,
    targets: Tensor,
    temperature: float = 1.0,
    banned: Sequence[int] = (),
    *,
    entropy: bool | None = None,
) -> tuple[Tensor, Tensor | None]:
    """`logprobs_of`, and the entropy [K] (nats) of each distribution, from one pass of the head.

    `entropy`: True with gradient, None without one, False leaves it out.
    """

    def piece(part: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
        scores = distribution(part, lm_head, temperature, banned)
        chosen = scores.gather(-1, ids[:, None])[:, 0]
        if entropy is False:
            return (chosen,)
        # Last, as a piece that is computed again stops where the gradient needs no more.
        return chosen, entropy_of(scores if entropy else scores.detach())

    rows: Any = lm_head.out_features  # V; its weight may lie in shards on other processes
    size = max(1, MAX_LOGITS // rows)
    if len(targets) <= size:
        logprobs, *spread = piece(hidden, targets)
        return logprobs, (spread[0] if spread else None)
    pairs = zip(hidden.split(size), targets.split(size), strict=True)
    pieces = [checkpoint(piece, h, t, use_reentrant=False) for h, t in pairs]
    logprobs, *spread = map(torch.cat, zip(*pieces, strict=True))
    return logprobs, (spread[0] if spread else None)


def entropy_of(scores: Tensor) -> Tensor:
    """-Σ_v π(v) log π(v) [K], nats, of log-probs [K, V]; -inf counts as 0 log 0 = 0."""
    finite = scores.masked_fill(scores == float("-inf"), 0.0)
    return -(scores.exp() * finite).sum(-1)


class SpreadHead:
    """A head whose weight is spread over processes, gathered by whoever calls it.

    A module would be gathered at each call; but how many pieces go through the head depends on the
    batch, and the processes have to gather in step.
    """

    def __init__(self, lm_head: nn.Module) -> None:
        """Raises ValueError for a head that is no plain matrix."""
        if type(lm_head) is not nn.Linear or lm_head.bias is not None:
            raise ValueError(
                f"lm_head: got a {type(lm_head).__name__}, expected a plain one: with ZeRO-3 the "
                "head cannot be adapted, leave it out of model.lora.targets"
            )
        self.out_features = lm_head.out_features
        self.weight: nn.Parameter = lm_head.weight

    def __call__(self, hidden: Tensor) -> Tensor:
        return nn.functional.linear(hidden, self.weight)
