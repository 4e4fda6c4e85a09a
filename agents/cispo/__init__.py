"""CISPO: clipped importance sampling weights instead of clipped tokens.

Source: arXiv 2506.13585 (MiniMax-M1), equations 4 and 5.

    A_i = (r_i - mean(r)) / std(r)
    L   = - 1/N Σ_i Σ_t sg(min(ρ_it, 1+e_high)) A_i log π(o_it),   N = Σ_i |o_i|

No token loses its gradient: rare words that begin a new thought have large ratios, and GRPO's clip
drops them after the first update. The paper has no lower bound (`clip` = 1) and does not publish
e_high; 4, so that a weight is at most 5, is from arXiv 2510.13786, which uses the same loss.
"""

from ..training.algorithm import Algorithm, Options, group_advantage
from ..training.losses import cispo_loss

ALGORITHM = Algorithm(
    name="cispo",
    dialogue="single_turn",
    advantage=group_advantage,
    loss=cispo_loss,
    presets={"paper": Options(aggregation="token", clip=1.0, clip_high=4.0)},
)
