"""Two agents by the number that the benchmark itself reports, where that is no mean over questions.

A mean of categories weighs the questions of a small one more, so the agent that gets more questions
right may be the worse one by it, and a test over questions says nothing about it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from . import trainings
from .aggregations import AGGREGATIONS, DEFAULT, units
from .bootstrap import Incomplete, Unit, difference_of, mean_of
from .intervals import ALPHA, DIFFERENCE, TAIL, Interval, noise_of, widened

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Headline:
    """The difference of two agents by the aggregation that a benchmark reports."""

    name: str
    difference: float
    interval: Interval
    """95%, of other questions and, where there are several, other trainings: a paired bootstrap
    over clusters of questions within the aggregation's cells."""
    p: float
    """Of no difference on other questions, by the error of the same bootstrap."""
    p_adjusted: float
    """After Holm's correction for the other comparisons of its family."""

    @property
    def inside_noise(self) -> bool:
        """Whether nothing is shown: p, corrected, says so, or the interval reaches 0."""
        return self.p_adjusted >= ALPHA or self.interval[0] <= 0 <= self.interval[1]

    def to_dict(self) -> dict[str, Any]:
        """`headline` of an entry of `comparisons.json`."""
        shape = {**asdict(self), "interval": list(self.interval)}
        return {**shape, "inside_noise": self.inside_noise}


def headline(
    source: str, rows_a: Sequence[Row], rows_b: Sequence[Row], *, same_weights: bool = False
) -> Headline | None:
    """Compare two agents' answers to the same questions by their benchmark's first aggregation.

    `source`: the dataset's name in `AGGREGATIONS`. `same_weights`: training i of the one is
    training i of the other. None where the mean over all questions is the headline, where the cells
    are of one size, so that it is the same number, and where the rows are not all that the name
    stands for.
    """
    name = AGGREGATIONS.get(source, DEFAULT)[0]
    if name == "micro":
        return None
    try:
        a, b = units(name, rows_a), units(name, rows_b)
        each = [trainings.values(found) for found in (a, b)]
    except Incomplete:
        return None
    if len(set(Counter(unit.cell for unit in a).values())) == 1:
        return None
    paired = _paired(a, b)
    difference = mean_of(paired)
    error, freedom = difference_of(paired)
    p = float(2 * student_t.sf(abs(difference) / error, freedom)) if error else 1.0
    half = float(student_t.ppf(TAIL, freedom)) * error
    sets = [[x - y for x, y in zip(*each, strict=True)]] if same_weights else each
    noise = noise_of(_parts(a), _parts(b), same_weights=same_weights)
    questions = max(difference - half, -1.0), min(difference + half, 1.0)
    low, high = widened(difference, questions, sets, DIFFERENCE, noise)
    if p >= ALPHA:  # as on all questions: the two do not contradict each other at the border
        low, high = min(low, 0.0), max(high, 0.0)
    return Headline(name, difference, (low, high), p, p)


def _paired(a: Sequence[Unit], b: Sequence[Unit]) -> list[Unit]:
    """One agent's units minus the other's, both averaged over their trainings.

    Within a cluster the units of a cell share their mean: a bootstrap over clusters only adds them.
    """
    one, other = _by_cluster(a), _by_cluster(b)
    count = len({unit.training for unit in a})
    return [
        Unit(sum(values) / len(values) - sum(other[key]) / len(other[key]), *key)
        for key, values in one.items()
        for _ in range(len(values) // count)
    ]


def _by_cluster(found: Iterable[Unit]) -> dict[tuple[str, str], list[float]]:
    table: dict[tuple[str, str], list[float]] = defaultdict(list)
    for unit in found:
        table[unit.cell, unit.cluster].append(unit.value)
    return table


def _parts(found: Sequence[Unit]) -> np.ndarray:
    """[trainings, clusters] what each cluster adds to a training's mean of cells."""
    numbers = sorted({unit.training for unit in found})
    clusters = {name: i for i, name in enumerate(sorted({unit.cluster for unit in found}))}
    cells: dict[tuple[int, str], list[Unit]] = defaultdict(list)
    for unit in found:
        cells[numbers.index(unit.training), unit.cell].append(unit)
    count = len({cell for _, cell in cells})
    parts = np.zeros((len(numbers), len(clusters)))
    for (training, _), part in cells.items():
        mean = math.fsum(unit.value for unit in part) / len(part)
        for unit in part:
            parts[training, clusters[unit.cluster]] += (unit.value - mean) / (len(part) * count)
    return parts
