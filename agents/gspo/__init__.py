"""GSPO: group sequence policy optimisation, one ratio per trajectory.

Source: arXiv 2507.18071, equations 5 to 7; bounds from section 5.1.

    A_i = (r_i - mean(r)) / std(r)
    s_i = (π(o_i | q) / π_old(o_i | q))^(1/|o_i|) = exp(1/|o_i| Σ_t log ρ_it)
    L   = - 1/G Σ_i min(s_i A_i, clip(s_i, 1-e_low, 1+e_high) A_i)

with e_low = 3e-4 and e_high = 4e-4: s_i is a geometric mean and stays close to 1, so a whole
trajectory is left out where GRPO leaves out single tokens. In the form with a gradient per token
(equations 13 and 14), which is the same for one advantage per trajectory and also right where
turns are credited one by one. It needs `optim.minibatches` > 1 to differ from GRPO.

π_old are the trainer's own log-probs before the step's first update, not the sampler's: rounding
between the two (`mismatch_mean`) is easily wider than the bounds and would cut trajectories at
random. Later mini-batches take one more forward pass for it. What the sampler is off can still be
put right by `optim.importance`.
"""

from ..training.algorithm import Algorithm, Options, group_advantage
from ..training.losses import gspo_loss

ALGORITHM = Algorithm(
    name="gspo",
    dialogue="single_turn",
    advantage=group_advantage,
    loss=gspo_loss,
    presets={"paper": Options(clip=3e-4, clip_high=4e-4)},
    old_policy="trainer",
)
