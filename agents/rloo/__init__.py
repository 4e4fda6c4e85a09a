"""RLOO: REINFORCE with the mean of the others as baseline.

Source: arXiv 2402.14740.

    A_i = r_i - 1/(G-1) Σ_{j≠i} r_j
    L   = - 1/G Σ_i A_i Σ_t log π(o_it)

An episode is one action: its tokens are summed, not averaged, and there is neither a ratio nor a
clip, so it is exact for `optim.minibatches` = 1 only. The baseline does not depend on r_i, which
makes the gradient unbiased. The paper takes β KL(π | π_ref) off the reward; `algorithm.kl` is a
term of the loss with the same gradient on average (k2), and off by default.
"""

from torch import Tensor

from ..training.advantages import GroupScores, leave_one_out
from ..training.algorithm import Algorithm, Options
from ..training.losses import reinforce_loss


def advantage(scores: GroupScores, options: Options) -> Tensor:
    """Rewards [G] -> [G]."""
    return leave_one_out(scores.rewards, scores.compared)


ALGORITHM = Algorithm(
    name="rloo",
    dialogue="single_turn",
    advantage=advantage,
    loss=reinforce_loss,
    presets={"paper": Options(normalise_std=False, aggregation="sum", kl_estimator="k2")},
    one_update=True,
)
