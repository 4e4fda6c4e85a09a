"""HART's AP-GRPO: the better an answer, the larger its step and the looser its tie to the start.

Source: arXiv 2602.23615.

    A_i = r_i - mean(r)
    L   = - agg((1 + k A_i) min(ρ_it A_i, clip(ρ_it, 1-e, 1+e) A_i))
          + β agg((1 - k A_i) KL(π | π_ref))

with k = 0.6 and `agg` as in GRPO. The dialogue is the other half of it: the answer is given from
the crop alone, so that a right answer verifies the box without any annotation. Such an episode
leaves two trajectories, which share its advantage. β = 0.04 is GRPO's; `algorithm.kl` changes it.
"""

from typing import Annotated, Literal

from pydantic import Field

from ..training.algorithm import Algorithm, Options, group_advantage
from ..training.losses import (
    LossInputs,
    LossOutputs,
    clipped_objective,
    counted,
    regularised,
    token_ratio,
)


class HartOptions(Options):
    """GRPO's, and k."""

    preference: Annotated[float, Field(ge=0, le=1)] = 0.6
    """k: how much the advantage raises the step and lowers the KL's weight"""
    normalise_std: Literal[False] = False
    """the weights are made of r - mean, which stays within -1 .. 1"""


def ap_grpo_loss(inputs: LossInputs, options: HartOptions) -> LossOutputs:
    """See above; advantages of rewards in 0 .. 1, so that no weight is negative."""
    ratio, preference = token_ratio(inputs), options.preference * inputs.advantages
    objective = clipped_objective(ratio, inputs.advantages, options.clip, options.upper)
    out = regularised((1 + preference) * objective, inputs, options, kl_weight=1 - preference)
    return counted(out, ratio, inputs, options)


ALGORITHM = Algorithm(
    name="hart",
    dialogue="crop_only",
    advantage=group_advantage,
    loss=ap_grpo_loss,
    presets={"paper": HartOptions(kl=0.04)},
)
