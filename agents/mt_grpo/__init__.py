"""MT-GRPO: grounding and answering are credited separately, turn by turn.

Source: arXiv 2505.11821 (v1), multi-turn GRPO for two turns; its case is a search and an answer,
ours a box and an answer.

    A^O_i  = (r_i - mean(r)) / (std(r) + ε)          r_i: the final answer, 0 or 1
    A^T_ik = (v_ik - mean(v_k)) / (std(v_k) + ε)     v_ik: reply k holds a valid box, 0 or 1
    A_ik   = A^T_ik + λ A^O_i  for a reply that another one follows,  A^O_i  for the last one
    L      = - agg(min(ρ_ikt A_ik, clip(ρ_ikt, 1-e, 1+e) A_ik))

In MGPO a valid box is worth nothing by itself, so that it takes a right answer to learn the form.
Here a reply without one is worse than its siblings' at once, while the answer is judged on its own.
v_k is compared among the siblings that go on after turn k. The mean over all tokens and λ = 1 are
the published code's; there is no reward for where the box lies: that comes from the answer.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from ..training.advantages import GroupScores, turn_level
from ..training.algorithm import Algorithm, Options
from ..training.losses import grpo_loss


class TurnOptions(Options):
    """GRPO's, and λ."""

    outcome_weight: Annotated[float, Field(ge=0)] = 1.0
    """λ: what the final answer counts for the replies before it"""


def advantage(scores: GroupScores, options: TurnOptions) -> Tensor:
    """[G, K]: one for each reply."""
    return turn_level(scores, options.std_eps, options.outcome_weight, options.normalise_std)


ALGORITHM = Algorithm(
    name="mt_grpo",
    dialogue="mgpo",
    advantage=advantage,
    loss=grpo_loss,
    presets={"paper": TurnOptions(aggregation="token")},
)
