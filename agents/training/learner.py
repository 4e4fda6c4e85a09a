"""`Learner`: everything that an update changes, apart from where the groups come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config import Config
from ..rollout.loop import Group
from .algorithm import get_algorithm
from .checkpoint import restore_rng, rng_state
from .opening import load_policy
from .optimizer import Optimizer
from .update import Updater, credit


class Learner:
    """Policy, optimizer and algorithm; `step` counts finished steps.

    The same groups at the same step give the same weights, whether they were sampled just now or
    read from an archive, and whatever random numbers were drawn in between. Raises what
    `load_policy` does.
    """

    def __init__(self, config: Config, checkpoint: Path | None) -> None:
        self.policy, reference = load_policy(config, checkpoint)
        self.optimizer = Optimizer(self.policy.trainable(), config.optim)
        self.algorithm = get_algorithm(config.algorithm.name)
        self.options = config.algorithm.options
        self.updater = Updater(
            self.policy, self.optimizer, self.algorithm, self.options, config.optim, reference
        )
        self.step = 0
        self.whole = True
        """Whether the weights are those of the last finished step."""
        self.rng = rng_state()
        """Random number generators after the last step."""

    def learn(self, groups: Sequence[Group]) -> dict[str, float]:
        """Update the policy on the groups of one step; metrics of the update.

        Raises TrainingError when training cannot go on.
        """
        restore_rng(self.rng)
        credited, constant = credit(groups, self.algorithm, self.options)
        with self._guarded():
            metrics = self.updater.update(credited)
        self.step += 1
        self.rng = rng_state()
        return {**metrics, "zero_variance_share": constant}

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Note when it ends with half a step's updates made; without any, nothing has changed."""
        before = self.optimizer.counters
        self.whole = False
        try:
            yield
            self.whole = True
        finally:
            if not self.whole and self.optimizer.counters[0] == before[0]:
                self.optimizer.counters = before
                self.whole = True

    def state_dict(self) -> dict[str, Any]:
        """All but the weights, as of the last finished step."""
        return {"step": self.step, "optimizer": self.optimizer.state_dict(), "rng": self.rng}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises ValueError for the state of another model."""
        self.step = state["step"]
        self.optimizer.load_state_dict(state["optimizer"])
        restore_rng(state["rng"])
        self.rng = state["rng"]
