"""Weights that put right what the sampler's log-probs are off from the trainer's.

The tokens were drawn from π_sampler, the loss wants them drawn from π_trainer: w = π_trainer /
π_sampler. The ratio of the loss then starts from π_trainer. A weight for the whole trajectory is
unbiased but its variance grows with the length; one per token is biased and steady. Cutting it
bounds the variance at the price of a bias: truncate keeps the sample with the weight C, mask
throws it out, above C as well as below 1/C. Source: truncated importance sampling, Ionides 2008,
J. Comput. Graph. Statist. 17(2).
"""

from __future__ import annotations

import math

from torch import Tensor


def correction(
    trainer: Tensor, sampler: Tensor, mask: Tensor, mode: str, cap: float
) -> tuple[Tensor, dict[str, float]]:
    """Weights [B, T] of the sampled tokens, 1 elsewhere, and sums over tokens for the log.

    Log-probs [B, T] in nats before the first update, mask [B, T] True on sampled tokens; C is
    `cap` > 1. ρ_t = π_trainer(o_t) / π_sampler(o_t); R is their product over the sampled tokens of
    one trajectory, a row: a conversation that hides an earlier one has a product of its own.

    | `mode` | weight |
    |---|---|
    | token_truncate | min(ρ_t, C) |
    | token_mask | ρ_t where 1/C <= ρ_t <= C, else 0 |
    | sequence_truncate | min(R, C) |
    | sequence_mask | R where 1/C <= R <= C, else 0 |

    Sums: `importance_mean` of the weights, `importance_capped` of the tokens whose weight was cut.
    Raises ValueError for another mode.

    >>> import torch
    >>> log = torch.tensor([[0.9, 0.2]]).log(), torch.tensor([[0.3, 0.4]]).log()  # ρ = 3, 1/2
    >>> correction(*log, torch.ones(1, 2, dtype=torch.bool), "token_truncate", 2.0)[0]
    tensor([[2.0000, 0.5000]])
    """
    level, _, form = mode.partition("_")
    if level not in ("token", "sequence") or form not in ("truncate", "mask"):
        raise ValueError(
            f"importance: got {mode!r}, expected token_truncate, token_mask, sequence_truncate or "
            "sequence_mask"
        )
    inside = mask.to(trainer.device)
    log_ratio = (trainer - sampler).masked_fill(~inside, 0.0)
    if level == "sequence":
        log_ratio = log_ratio.sum(-1, keepdim=True).expand_as(log_ratio).masked_fill(~inside, 0.0)
    limit = math.log(cap)
    weights = log_ratio.clamp(max=limit).exp()  # clamped first: a product may overflow
    cut = log_ratio > limit
    if form == "mask":
        cut |= log_ratio < -limit
        weights = weights.masked_fill(cut, 0.0)
    return weights, {
        "importance_mean": float(weights[inside].sum()),
        "importance_capped": float(cut[inside].sum()),
    }
