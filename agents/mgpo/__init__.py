"""MGPO: multi-turn grounding-based policy optimisation.

Source: arXiv 2507.05920, section 3.

The policy writes a box, the environment answers with that crop of the original image, the
policy answers the question; one binary reward of the final answer serves every turn:

    A_i = r_i - mean(r)
    ∇J  = E[ 1/G Σ_i Σ_k Σ_t A_i ∇ log π(o_ikt | q, o_i1, crop_i1, ..., o_ik<t) ]

over turns k and their sampled tokens t, in GRPO's clipped form. What the environment appends
(templates, crop, question) is conditioned on and never trained. **The difference to GRPO is
the dialogue, not the loss.** No reward for format or grounding, no penalty for a bad box.

Presets: `paper` follows the equations; `reference` follows the numbers of the authors' code,
which standardises the advantage, weighs all tokens alike and adds a KL and an entropy term.
In both, groups of zero variance count in what the loss is divided by.
"""

from ..training.algorithm import Algorithm, Options, group_advantage
from ..training.losses import mgpo_loss

ALGORITHM = Algorithm(
    name="mgpo",
    dialogue="mgpo",
    advantage=group_advantage,
    loss=mgpo_loss,
    presets={
        "paper": Options(normalise_std=False),
        "reference": Options(
            normalise_std=True,
            std_eps=1e-6,
            aggregation="token",
            kl=0.01,
            entropy=0.001,
        ),
    },
)
