"""Dr. GRPO: GRPO done right, without what favours long wrong answers and one-sided questions.

Source: arXiv 2503.20783, section 3.

    A_i = r_i - mean(r)
    L   = - 1/G Σ_i 1/L_max Σ_t min(ρ_it A_i, clip(ρ_it, 1-e, 1+e) A_i)

GRPO divides by |o_i|, so that a wrong answer is punished less per token the longer it is, and by
std(r), so that questions that are nearly always or nearly never solved weigh more. Both are left
out; L_max is a constant, here the tokens that an episode may sample at most, all turns together.
No KL. The paper removes the length in its equation; the constant is that of its code.
"""

from ..training.algorithm import Algorithm, Options, group_advantage
from ..training.losses import grpo_loss

ALGORITHM = Algorithm(
    name="dr_grpo",
    dialogue="single_turn",
    advantage=group_advantage,
    loss=grpo_loss,
    presets={"paper": Options(normalise_std=False, aggregation="budget")},
)
