"""Policy losses: pure functions of one inputs record, side by side.

Shapes: B trajectories, T tokens (padded), N and M the global counts. A loss sums over the
micro-batch it is given and divides by the counts of the whole update (all micro-batches, all
ranks), so it never asks how the batch was cut: the sum over micro-batches is the loss.

An algorithm's loss is an objective per token, put through `regularised`, which aggregates it and
adds what all of them share: importance weights, KL and entropy. `sg` stops the gradient.

Log-probs are in nats and belong to the token at the same index; the shift by one between a
token and the position that predicts it is not visible here (see `tree.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .aggregations import AGGREGATIONS
from .divergence import ESTIMATORS

if TYPE_CHECKING:
    from .algorithm import Options


TOKENWISE = ("logprobs", "old_logprobs", "advantages", "ref_logprobs", "entropy", "weights")
"""What has a value per token."""
SUMS = ("clip_fraction", "kl_sampler", "kl_reference", "entropy")
"""What losses tell, under the names of the metrics."""


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
    trainer's where `weights` put right what the sampler's are off, or `Algorithm.old_policy` says
    so."""
    advantages: Tensor
    """[B, T] of each sampled token; where a whole episode is credited they are all the same."""
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
    budget: float = 0.0
    """Tokens that an episode may sample at most, all turns together."""

    def __post_init__(self) -> None:
        shape = self.mask.shape
        for name in TOKENWISE:
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(
                    f"{name}: got shape {tuple(value.shape)}, expected {tuple(shape)} as mask"
                )
        if self.lengths is not None and self.lengths.shape != shape[:1]:
            got = tuple(self.lengths.shape)
            raise ValueError(f"lengths: got shape {got}, expected [{shape[0]}]")


@dataclass(frozen=True, eq=False)
class LossOutputs:
    """The micro-batch's share of the loss, and sums over its tokens for the log."""

    loss: Tensor
    """Scalar with gradient."""
    sums: dict[str, float]
    """Sums over sampled tokens; divided by the token count they are means. Names of an algorithm's
    own begin with `algorithm/`."""

    def __post_init__(self) -> None:
        for name in self.sums:
            if name not in SUMS and not name.startswith("algorithm/"):
                raise ValueError(
                    f"sums of a loss: got {name!r}, expected one of {', '.join(SUMS)} "
                    f"or a name of its own, 'algorithm/{name}'"
                )


def token_ratio(inputs: LossInputs) -> Tensor:
    """ρ_t = π(o_t) / π_old(o_t), 1 where nothing was sampled; [B, T].

    The sampler's own log-probs are π_old, also when there is one update per batch and ρ_t is 1
    up to rounding; unless importance weights are given (see `importance.correction`) or the
    algorithm wants the trainer's (`Algorithm.old_policy`).
    """
    return _log_ratio(inputs).exp()


def sequence_ratio(inputs: LossInputs) -> Tensor:
    """s_it = sg(s_i) π(o_it) / sg(π(o_it)) with s_i = (π(o_i) / π_old(o_i))^(1/|o_i|); [B, T].

    Every token has the value of its trajectory, the geometric mean of its ratios, and its own
    gradient s_i ∇log π(o_it), so that each keeps its own advantage; where a trajectory has a
    single one that is the gradient of s_i. o_i is one row: a conversation that hides an earlier
    one has a ratio of its own. Source: arXiv 2507.18071, equations 7 and 14.
    """
    log_ratio = _log_ratio(inputs)
    lengths = inputs.mask.sum(-1, keepdim=True).clamp(min=1)
    mean = log_ratio.detach().sum(-1, keepdim=True) / lengths
    return (mean + log_ratio - log_ratio.detach()).exp()


def clipped_objective(ratio: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """min(ρ A, clip(ρ, 1-e_low, 1+e_high) A); [B, T], to maximise.

    No gradient where the ratio is beyond the bound that the advantage pushes it to.
    Source: arXiv 2402.03300, equation 3; with two bounds arXiv 2503.14476, equation 8.
    """
    return torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def regularised(
    objective: Tensor, inputs: LossInputs, options: Options, kl_weight: Tensor | None = None
) -> LossOutputs:
    """L = -agg(w objective) + β agg(v KL(π | π_ref)) - η agg(H(π)): the end of every loss.

    objective [B, T]; w are the importance weights, v is `kl_weight` [B, T], both 1 where there are
    none. `agg`, the KL's estimator, β and η are `options.aggregation`, `kl_estimator`, `kl` and
    `entropy`. Raises ValueError when a term's coefficient is not 0 and its inputs are missing.
    """
    aggregate = AGGREGATIONS[options.aggregation]
    weighted = objective if inputs.weights is None else inputs.weights * objective
    loss = -aggregate(weighted, inputs)
    sums = {"kl_sampler": _kl_sampler(inputs)}
    if options.kl:
        if inputs.ref_logprobs is None:
            raise ValueError(f"kl: the coefficient is {options.kl}, expected ref_logprobs")
        kl = ESTIMATORS[options.kl_estimator](inputs.logprobs, inputs.ref_logprobs)
        loss = loss + options.kl * aggregate(kl if kl_weight is None else kl_weight * kl, inputs)
        sums["kl_reference"] = masked_sum(kl, inputs)
    if inputs.entropy is not None:
        sums["entropy"] = masked_sum(inputs.entropy, inputs)
    if options.entropy:
        if inputs.entropy is None:
            raise ValueError(f"entropy: the coefficient is {options.entropy}, expected entropy")
        loss = loss - options.entropy * aggregate(inputs.entropy, inputs)
    return LossOutputs(loss, sums)


def grpo_loss(inputs: LossInputs, options: Options) -> LossOutputs:
    """L = -agg(min(ρ A, clip(ρ, 1-e_low, 1+e_high) A)) + β agg(KL(π | π_ref)) - η agg(H(π)).

    Of GRPO, Dr. GRPO and DAPO, which differ in advantage, bounds and `agg`; see `regularised`.
    Source: arXiv 2402.03300, equation 3.
    """
    ratio = token_ratio(inputs)
    objective = clipped_objective(ratio, inputs.advantages, options.clip, options.upper)
    return counted(regularised(objective, inputs, options), ratio, inputs, options)


def mgpo_loss(inputs: LossInputs, options: Options) -> LossOutputs:
    """∇L = -agg_i( Σ_k Σ_t A_i ∇ log π(o_ikt | s_ik) ): turns k, each on the whole history.

    The sum over turns is a sum over the mask, which is True on the sampled tokens of *every*
    turn and False on what the environment put between them. With that mask the clipped
    surrogate is GRPO's: what differs is the dialogue. Source: arXiv 2507.05920, section 3;
    its code adds β = 0.01, η = 0.001 and the token mean (preset `reference`).
    """
    return grpo_loss(inputs, options)


def gspo_loss(inputs: LossInputs, options: Options) -> LossOutputs:
    """L = -agg(min(s_it A, clip(s_it, 1-e_low, 1+e_high) A)) + ...: one ratio per trajectory.

    `sequence_ratio` in place of `token_ratio`: a trajectory is clipped as a whole.
    Source: arXiv 2507.18071, equations 5 and 13.
    """
    ratio = sequence_ratio(inputs)
    objective = clipped_objective(ratio, inputs.advantages, options.clip, options.upper)
    return counted(regularised(objective, inputs, options), ratio, inputs, options)


def cispo_loss(inputs: LossInputs, options: Options) -> LossOutputs:
    """L = -agg(sg(clip(ρ, 1-e_low, 1+e_high)) A log π) + ...: the weight is clipped, not the token.

    Every token keeps a gradient, also one whose ratio is cut. `clip` >= 1 leaves the ratio without
    a lower bound. `clip_fraction` counts the cut ratios of either sign of the advantage.
    Source: arXiv 2506.13585, equations 4 and 5.
    """
    ratio = token_ratio(inputs).detach()
    bounded = ratio.clamp(1 - options.clip, 1 + options.upper)
    out = regularised(bounded * inputs.advantages * inputs.logprobs, inputs, options)
    cut = (ratio != bounded).float()
    return LossOutputs(out.loss, {"clip_fraction": masked_sum(cut, inputs), **out.sums})


def reinforce_loss(inputs: LossInputs, options: Options) -> LossOutputs:
    """L = -agg(A log π) + ...: no ratio and no clip, so exact for one update per rollout only.

    Source: arXiv 2402.14740 (RLOO).
    """
    return regularised(inputs.advantages * inputs.logprobs, inputs, options)


def masked_sum(x: Tensor, inputs: LossInputs) -> float:
    """Σ over sampled tokens, without gradient; for `LossOutputs.sums`."""
    return float((x.detach() * inputs.mask).sum())


def _log_ratio(inputs: LossInputs) -> Tensor:
    # Appended tokens have log-prob 0 on one side only; their ratio must not overflow.
    return (inputs.logprobs - inputs.old_logprobs).masked_fill(~inputs.mask, 0.0)


@torch.no_grad()
def _kl_sampler(inputs: LossInputs) -> float:
    """KL(π_old | π) by k3."""
    log_ratio = _log_ratio(inputs)
    return masked_sum(log_ratio.exp() - log_ratio - 1, inputs)


@torch.no_grad()
def counted(out: LossOutputs, ratio: Tensor, inputs: LossInputs, options: Options) -> LossOutputs:
    """With the number of tokens whose gradient the clip cuts."""
    above = (ratio > 1 + options.upper) & (inputs.advantages > 0)
    below = (ratio < 1 - options.clip) & (inputs.advantages < 0)
    cut = masked_sum((above | below).float(), inputs)
    return LossOutputs(out.loss, {"clip_fraction": cut, **out.sums})
