"""Which questions a step asks: decided by (seed, step) alone, so that a resumed run agrees."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


class Questions:
    """Every epoch is a fresh permutation of the dataset, cut into steps.

    No question comes twice in an epoch, and never twice in a step: what is left at the end of an
    epoch and doesn't fill a step is left out (other ones each epoch). A dataset smaller than a
    step gives smaller steps.

    >>> Questions(size=5, per_step=2, seed=0).at(step=0)
    [2, 4]
    """

    def __init__(self, size: int, per_step: int, seed: int, name: str = "dataset") -> None:
        """Raises ValueError for an empty dataset, which `name` names."""
        if size < 1:
            raise ValueError(f"{name}: got 0 questions, expected at least 1")
        self.size, self.seed = size, seed
        self.per_step = min(per_step, size)
        self.steps_per_epoch = size // self.per_step
        self._order = lru_cache(maxsize=2)(self._permutation)

    def at(self, step: int) -> list[int]:
        """Indices of the questions of one step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = self._order(epoch)
        return [int(i) for i in order[place * self.per_step : (place + 1) * self.per_step]]

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.size)
