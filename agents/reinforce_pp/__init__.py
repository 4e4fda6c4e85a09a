"""REINFORCE++: advantages are normalised over the whole step, not within a group.

Source: arXiv 2501.03262 (v9), section 3.

    A_i  = r_i - mean(r)                      (preset `baseline`; r_i alone in preset `plain`)
    A_it = (A_i - mean(A)) / std(A)           over all tokens of the step and all processes
    L    = - 1/N Σ_i Σ_t min(ρ_it A_it, clip(ρ_it, 1-e, 1+e) A_it) + β KL(π | π_ref)

Dividing by the standard deviation of a few siblings is biased, since it depends on each of their
rewards; that of the step hardly does. Groups of one reward stay: in `plain` they do teach. The KL
is k2, as in the paper's `w/ baseline`; in its general form it takes k1 off the reward, which has
the same gradient on average. Off by default (`algorithm.kl`).
"""

from torch import Tensor

from ..training.advantages import GroupScores, centred, whitening
from ..training.algorithm import Algorithm, Options
from ..training.losses import grpo_loss


class ReinforceOptions(Options):
    """GRPO's, and the baseline."""

    baseline: bool = True
    """take the group's mean off the reward before the step's"""


def advantage(scores: GroupScores, options: ReinforceOptions) -> Tensor:
    """Rewards [G] -> [G], before the step's normalisation."""
    return centred(scores.rewards, scores.compared) if options.baseline else scores.rewards


def step_scale(
    advantages: Tensor, tokens: Tensor, options: ReinforceOptions
) -> tuple[float, float]:
    """Mean and standard deviation over the step's tokens."""
    return whitening(advantages, tokens, options.std_eps)


def _preset(baseline: bool) -> ReinforceOptions:
    return ReinforceOptions(baseline=baseline, aggregation="token", kl_estimator="k2")


ALGORITHM = Algorithm(
    name="reinforce_pp",
    dialogue="single_turn",
    advantage=advantage,
    loss=grpo_loss,
    presets={"baseline": _preset(True), "plain": _preset(False)},
    step_scale=step_scale,
)
