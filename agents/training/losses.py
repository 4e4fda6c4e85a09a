"""Policy losses: pure functions of one inputs record, side by side.

Shapes: B trajectories, T tokens (padded), N and M the global counts. A loss sums over the
micro-batch it is given and divides by the counts of the whole update (all micro-batches, all
ranks), so it never asks how the batch was cut: the sum over micro-batches is the loss.

Log-probs are in nats and belong to the token at the same index; the shift by one between a
token and the position that predicts it is not visible here (see `tree.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .algorithm import Options


@dataclass(frozen=True, eq=False)
class LossInputs:
    """What a loss sees. `mask` is True exactly on sampled tokens, of every turn.

    >>> inputs.mask[0]  # "box" sampled, crop and question appended, "\\boxed{B}" sampled
    tensor([ True,  True, False, False, False,  True,  True])
    """

    logprobs: Tensor
    """[B, T] nats, current policy, with gradient; finite everywhere."""
    old_logprobs: Tensor
    """[B, T] nats, policy before the step's first update: the sampler's own numbers, or the
    trainer's where `weights` put right what the sampler's are off."""
    advantages: Tensor
    """[B] one per trajectory, shared by all its tokens."""
    mask: Tensor
    """[B, T] bool."""
    n_tokens: float
    """N: sampled tokens of the whole update."""
    n_trajectories: float
    """M: episodes of the whole update; those that left several trajectories count once."""
    ref_logprobs: Tensor | None = None
    """[B, T] nats, frozen reference; needed when the KL coefficient is not 0."""
    entropy: Tensor | None = None
    """[B, T] nats, current policy, with gradient; needed when its coefficient is not 0."""
    lengths: Tensor | None = None
    """[B] sampled tokens of the episode that a row belongs to; None: each row is a whole one."""
    weights: Tensor | None = None
    """[B, T] importance of each token where `old_logprobs` are not the sampler's; None: 1."""

    def __post_init__(self) -> None:
        shape = self.mask.shape
        for name in ("logprobs", "old_logprobs", "ref_logprobs", "entropy", "weights"):
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(
                    f"{name}: got shape {tuple(value.shape)}, expected {tuple(shape)} as mask"
                )
        for name in ("advantages", "lengths"):
            value = getattr(self, name)
            if value is not None and value.shape != shape[:1]:
                raise ValueError(f"{name}: got shape {tuple(value.shape)}, expected [{shape[0]}]")


@dataclass(frozen=True, eq=False)
class LossOutputs:
    """The micro-batch's share of the loss, and sums over its tokens for the log."""

    loss: Tensor
    """Scalar with gradient."""
    sums: dict[str, float]
    """Sums over sampled tokens; divided by the token count they are means."""


def token_mean(x: Tensor, inputs: LossInputs) -> Tensor:
    """Σ_i Σ_t x_it / N: every token of the update weighs the same.

    Source: arXiv 2503.14476, equation 8; the aggregation of MGPO's reference code.
    """
    return (x * inputs.mask).sum() / inputs.n_tokens


def trajectory_mean(x: Tensor, inputs: LossInputs) -> Tensor:
    """1/M Σ_i 1/|o_i| Σ_t x_it: mean over an episode's tokens, then over episodes.

    |o_i| counts the sampled tokens of all turns, also where a dialogue hid a part of the
    conversation, which makes two trajectories of it. Source: arXiv 2402.03300, equation 3.
    """
    lengths = inputs.mask.sum(-1) if inputs.lengths is None else inputs.lengths
    lengths = lengths.clamp(min=1)
    return ((x * inputs.mask).sum(-1) / lengths).sum() / inputs.n_trajectories


AGGREGATIONS = {"trajectory": trajectory_mean, "token": token_mean}


def clipped_objective(inputs: LossInputs, clip: float) -> Tensor:
    """w_t min(ρ_t A, clip(ρ_t, 1-e, 1+e) A) with ρ_t = π(o_t) / π_old(o_t); [B, T], to maximise.

    The sampler's own log-probs are π_old, also when there is one update per batch and ρ_t is 1
    up to rounding, and w_t is 1; unless importance weights are given (see `update.correction`).
    Source: arXiv 2402.03300, equation 3.
    """
    ratio = _log_ratio(inputs).exp()
    advantage = inputs.advantages[:, None]
    objective = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    return objective if inputs.weights is None else inputs.weights * objective


def k3_kl(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """π_ref/π - log(π_ref/π) - 1 >= 0: unbiased, low-variance estimate of KL(π | π_ref); [B, T].

    Source: arXiv 2402.03300, equation 4.

    >>> k3_kl(torch.tensor([0.5]).log(), torch.tensor([0.25]).log())  # 0.5 + ln 2 - 1
    tensor([0.1931])
    """
    log_ratio = ref_logprobs - logprobs
    return log_ratio.exp() - log_ratio - 1


def grpo_loss(inputs: LossInputs, options: Options) -> LossOutputs:
    """L = -agg(min(ρ A, clip(ρ, 1±e) A)) + β agg(KL(π | π_ref)) - η agg(H(π)).

    `agg` is `trajectory_mean` or `token_mean`, the same for all three terms; β and η are
    `options.kl` and `options.entropy`. Source: arXiv 2402.03300, equation 3.
    Raises ValueError when a term's coefficient is not 0 and its inputs are missing.
    """
    aggregate = AGGREGATIONS[options.aggregation]
    loss = -aggregate(clipped_objective(inputs, options.clip), inputs)
    sums = _ratio_sums(inputs, options.clip)
    if options.kl:
        if inputs.ref_logprobs is None:
            raise ValueError(f"kl: the coefficient is {options.kl}, expected ref_logprobs")
        kl = k3_kl(inputs.logprobs, inputs.ref_logprobs)
        loss = loss + options.kl * aggregate(kl, inputs)
        sums["kl_reference"] = _sum(kl, inputs)
    if inputs.entropy is not None:
        sums["entropy"] = _sum(inputs.entropy, inputs)
    if options.entropy:
        if inputs.entropy is None:
            raise ValueError(f"entropy: the coefficient is {options.entropy}, expected entropy")
        loss = loss - options.entropy * aggregate(inputs.entropy, inputs)
    return LossOutputs(loss, sums)


def mgpo_loss(inputs: LossInputs, options: Options) -> LossOutputs:
    """∇L = -agg_i( Σ_k Σ_t A_i ∇ log π(o_ikt | s_ik) ): turns k, each on the whole history.

    The sum over turns is a sum over the mask, which is True on the sampled tokens of *every*
    turn and False on what the environment put between them. With that mask the clipped
    surrogate is GRPO's: what differs is the dialogue. Source: arXiv 2507.05920, section 3;
    its code adds β = 0.01, η = 0.001 and the token mean (preset `reference`).
    """
    return grpo_loss(inputs, options)


def _log_ratio(inputs: LossInputs) -> Tensor:
    # Appended tokens have log-prob 0 on one side only; their ratio must not overflow.
    return (inputs.logprobs - inputs.old_logprobs).masked_fill(~inputs.mask, 0.0)


@torch.no_grad()
def _ratio_sums(inputs: LossInputs, clip: float) -> dict[str, float]:
    """Tokens whose gradient the clip cuts, and KL(π_old | π) by k3."""
    log_ratio = _log_ratio(inputs)
    ratio, advantage = log_ratio.exp(), inputs.advantages[:, None]
    cut = ((ratio > 1 + clip) & (advantage > 0)) | ((ratio < 1 - clip) & (advantage < 0))
    return {
        "clip_fraction": _sum(cut.float(), inputs),
        "kl_sampler": _sum(ratio - log_ratio - 1, inputs),
    }


def _sum(x: Tensor, inputs: LossInputs) -> float:
    return float((x.detach() * inputs.mask).sum())
