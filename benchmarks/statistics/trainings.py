"""An agent that was trained several times: how its trainings differ, and one interval for all.

Two things are samples then: the questions, and the trainings (their seeds). Every training answers
the same questions, so units of a question are drawn together whichever training gave them; how far
the trainings lie apart says what another training would have brought.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from .bootstrap import RESAMPLES, Incomplete, Unit, interval_of, mean_of
from .intervals import SHARE, student, widened


def values(found: Sequence[Unit]) -> list[float]:
    """`mean_of` for each training, in their order.

    Raises Incomplete where one has no unit of a cell that another has: their means are not of the
    same thing then.

    >>> values([Unit(1, "", "a", 0), Unit(0, "", "b", 0), Unit(1, "", "a", 1)])
    [0.5, 1.0]
    """
    by_training: dict[int, list[Unit]] = defaultdict(list)
    for unit in found:
        by_training[unit.training].append(unit)
    cells = {unit.cell for unit in found}
    for number, part in by_training.items():
        if lacking := cells - {unit.cell for unit in part}:
            raise Incomplete(
                f"training {number}: got {len(cells) - len(lacking)} of {len(cells)} categories, "
                f"as other trainings have; missing: {', '.join(sorted(lacking))}"
            )
    return [mean_of(by_training[number]) for number in sorted(by_training)]


def interval(
    found: Sequence[Unit], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95% interval of `mean_of`: over other questions, and over other trainings where there are
    several. Of one training it says nothing about the next.

    Of two or more it holds 95% or more in simulations, 99% where trainings do not differ: see
    `intervals.widened`."""
    questions = interval_of(found, resamples=resamples, seed=seed)
    return widened(mean_of(found), questions, [values(found)], SHARE)


def estimate(found: Sequence[Unit], *, seed: int = 0) -> dict[str, Any]:
    """`{"value", "interval"}`, as data."""
    return {"value": mean_of(found), "interval": list(interval(found, seed=seed))}


def spread(found: Sequence[Unit], *, seed: int = 0) -> dict[str, Any] | None:
    """How several trainings differ, as data; None of a single one.

    `values`: the mean of each; `sd`: their standard deviation (n - 1); `interval_questions`: of
    just these trainings on other questions; `interval_trainings`: of other trainings on just these
    questions, by Student's t, which is wide for two or three.
    """
    each = values(found)
    if len(each) < 2:
        return None
    return {
        "values": each,
        "sd": statistics.stdev(each),
        "interval_questions": list(interval_of(found, seed=seed)),
        "interval_trainings": list(student(each)),
    }
