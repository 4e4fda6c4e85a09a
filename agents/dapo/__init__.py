"""DAPO: decoupled clip and dynamic sampling.

Source: arXiv 2503.14476, section 3, equations 8 and 9.

    A_i = (r_i - mean(r)) / std(r)
    L   = - 1/N Σ_i Σ_t min(ρ_it A_i, clip(ρ_it, 1-e_low, 1+e_high) A_i),   N = Σ_i |o_i|

with e_low = 0.2 and e_high = 0.28: unlikely tokens may rise further. Every token weighs the same,
constant groups are left out, also of N, and there is no KL. The paper samples more questions in
place of those groups until the batch is full; here the batch gets smaller
(`rollout.groups_per_step` is the knob). Its soft punishment of overlong replies is a matter of the
reward, and not built in.
"""

from ..training.algorithm import Algorithm, Options, group_advantage
from ..training.losses import grpo_loss

ALGORITHM = Algorithm(
    name="dapo",
    dialogue="single_turn",
    advantage=group_advantage,
    loss=grpo_loss,
    presets={
        "paper": Options(aggregation="token", clip=0.2, clip_high=0.28, drop_zero_variance=True)
    },
)
