"""GRPO: group relative policy optimisation, on a dialogue of one turn.

Source: arXiv 2402.03300 (DeepSeekMath), section 4.1, equations 3 and 4.

For G replies o_i to one question, with rewards r_i:

    A_i  = (r_i - mean(r)) / (std(r) + ε)
    ρ_it = π(o_it | q, o_i<t) / π_old(o_it | q, o_i<t)
    L    = - 1/G Σ_i 1/|o_i| Σ_t min(ρ_it A_i, clip(ρ_it, 1-e, 1+e) A_i) + β KL(π | π_ref)

The baseline of the MGPO paper: the reply names the coordinates *and* the answer at once, and
no crop comes back. The paper's KL weight β = 0.04 is an option (`algorithm.kl`) that is off.
"""

from ..training.algorithm import Algorithm, Options, group_advantage
from ..training.losses import grpo_loss

ALGORITHM = Algorithm(
    name="grpo",
    dialogue="single_turn",
    advantage=group_advantage,
    loss=grpo_loss,
    presets={"paper": Options()},
)
