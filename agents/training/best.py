"""Which evaluation was the best one, and whether it is too long ago."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Best:
    """The highest value of one metric so far; of equal ones the first.

    An evaluation without the metric, or where it is not a number, counts as one that is not better.

    >>> best = Best("accuracy", patience=2)
    >>> [best.see(step, {"accuracy": value}) for step, value in ((0, 0.5), (10, 0.7), (20, 0.6))]
    [True, True, False]
    >>> best.step, best.waited, best.over
    (10, 1, False)
    """

    metric: str
    patience: int = 0
    """Evaluations in a row without a better one that are too many; 0: never."""
    step: int | None = field(default=None, init=False)
    """After which the best one was made; None before any."""
    value: float = field(default=-math.inf, init=False)
    waited: int = field(default=0, init=False)
    """Evaluations since then."""

    def see(self, step: int, metrics: Mapping[str, float | None]) -> bool:
        """Take note of an evaluation; whether it is the best."""
        value = metrics.get(self.metric)
        if value is None or not value > self.value:  # also for a value that is not a number
            self.waited += 1
            return False
        self.step, self.value, self.waited = step, value, 0
        return True

    def look_back(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take note of the evaluations among a run's rows of metrics."""
        for row in rows:
            if row["split"] == "eval":
                self.see(row["step"], row)

    def lines(self, step: int, steps: int, kept: Path | None) -> list[str]:
        """What to say at the end of a run, after `step` of `steps`; `kept`: where the best is."""
        said = []
        if self.over and step < steps:
            said.append(
                f"stopped after step {step} of {steps}: {self.waited} evaluations in a row were "
                f"not better (eval.patience = {self.patience})"
            )
        if self.step is None and self.waited:
            said.append(f"warning: no evaluation had the metric {self.metric} (eval.best_by)")
        elif self.step == 0:
            said.append(f"best {self.metric}: {self.value:.3g}, before the first step")
        elif self.step is not None:
            where = f" (in {kept})" if kept is not None else ""
            said.append(f"best {self.metric}: {self.value:.3g}, after step {self.step}{where}")
        return said

    @property
    def over(self) -> bool:
        """Whether waiting for a better one has lasted long enough."""
        return 0 < self.patience <= self.waited
