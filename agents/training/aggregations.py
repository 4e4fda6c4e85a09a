"""How values per token become one number: pure functions, side by side, named by the options.

Shapes: values [B, T]. Each sums over the micro-batch it is given and divides by a count of the
whole update (all micro-batches, all processes), so the sum over micro-batches is the result.
With every episode of the same length the first three differ by a factor only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from .losses import LossInputs


def trajectory_mean(x: Tensor, inputs: LossInputs) -> Tensor:
    """1/M Σ_i 1/|o_i| Σ_t x_it: mean over an episode's tokens, then over episodes.

    |o_i| counts the sampled tokens of all turns, also where a dialogue hid a part of the
    conversation, which makes two trajectories of it. Source: arXiv 2402.03300, equation 3.
    """
    lengths = inputs.mask.sum(-1) if inputs.lengths is None else inputs.lengths
    lengths = lengths.clamp(min=1)
    return ((x * inputs.mask).sum(-1) / lengths).sum() / inputs.n_trajectories


def token_mean(x: Tensor, inputs: LossInputs) -> Tensor:
    """Σ_i Σ_t x_it / N: every token of the update weighs the same.

    Source: arXiv 2503.14476, equation 8; the aggregation of MGPO's reference code.
    """
    return (x * inputs.mask).sum() / inputs.n_tokens


def budget_mean(x: Tensor, inputs: LossInputs) -> Tensor:
    """1/M Σ_i Σ_t x_it / L: a constant L, the tokens that an episode may sample at most.

    No length enters, so that long wrong answers are not punished less per token.
    Source: arXiv 2503.20783, section 3.2, with the constant of its code.
    Raises ValueError when `inputs.budget` is not set.
    """
    if inputs.budget <= 0:
        raise ValueError(
            f"budget: got {inputs.budget}, expected the tokens that an episode may sample at most "
            "(aggregation 'budget' divides by them)"
        )
    return (x * inputs.mask).sum() / (inputs.n_trajectories * inputs.budget)


def token_sum(x: Tensor, inputs: LossInputs) -> Tensor:
    """1/M Σ_i Σ_t x_it: sum over an episode's tokens, mean over episodes.

    The plain policy gradient, where an episode is one action. Source: arXiv 2402.14740.
    """
    return (x * inputs.mask).sum() / inputs.n_trajectories


AGGREGATIONS: dict[str, Callable[[Tensor, LossInputs], Tensor]] = {
    "trajectory": trajectory_mean,
    "token": token_mean,
    "budget": budget_mean,
    "sum": token_sum,
}
