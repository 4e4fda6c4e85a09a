"""The learning rate of every update: a linear warm-up, then constant or falling."""

from __future__ import annotations

import math

from ..config_sections import Optim


def rate(optim: Optim, update: int, place: float, steps: int) -> float:
    """The learning rate of an update in a run of `steps` steps.

    `update`: how many were made before it. `place`: how many steps are done with it; the k-th of
    the n updates of the step after `step` finished ones ends at step + k / n.

    With the peak η = `optim.lr`, the end η_min = `optim.min_lr` and the warm-up of w updates, which
    are v = w / `optim.minibatches` steps where none is left out, it is the smaller one of

        warm-up                                    η min(1, (update + 1) / w)
        constant                                   η
        linear    p = (place - v) / (steps - v):   η_min + (η - η_min) (1 - p)
        cosine    the same p, 0 to 1:              η_min + (η - η_min) (1 + cos π p) / 2

    So it is η at the end of the warm-up and η_min at the end of the last step and after it, however
    many updates were skipped or had nothing to train on. A run that is no longer than its warm-up
    never falls. A run that is resumed with more steps follows the longer curve from then on (its
    rate may rise at that point), one that is resumed with the same steps the one it had. Cosine:
    arXiv 1608.03983, eq. 5, without restarts.

    >>> optim = Optim(lr=1.0, warmup_steps=2, schedule="linear", min_lr=0.2, minibatches=1)
    >>> [round(rate(optim, update, update + 1, 6), 2) for update in range(6)]
    [0.5, 1.0, 0.8, 0.6, 0.4, 0.2]
    """
    warm = optim.lr * min(1.0, (update + 1) / max(1, optim.warmup_steps))
    begun = optim.warmup_steps / optim.minibatches
    if optim.schedule == "constant" or steps <= begun:
        return warm
    fallen = min(1.0, max(0.0, (place - begun) / (steps - begun)))
    left = 1 - fallen if optim.schedule == "linear" else (1 + math.cos(math.pi * fallen)) / 2
    return min(warm, optim.min_lr + (optim.lr - optim.min_lr) * left)
