"""Means over cells of units, and their interval by a bootstrap over clusters of questions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .intervals import Z, effective, paired_difference, wilson

RESAMPLES = 10_000
AT_ONCE = 4_000_000
"""Numbers drawn at once, of 8 bytes each."""
FEW = 10
"""With fewer clusters in a cell a bootstrap is too sure of it."""


class Incomplete(ValueError):
    """The rows hold less than what the aggregation of that name is defined for."""


@dataclass(frozen=True)
class Unit:
    """What counts once: its value 0..1 (of a difference -1..1), the cell it belongs to, and what it
    is drawn with."""

    value: float
    cell: str
    cluster: str
    """Units of one cluster are not independent: rotations, or repeated answers, of a question."""
    training: int = 0
    """Which of the agent's trainings it is of."""


def mean_of(found: Sequence[Unit]) -> float:
    """Unweighted mean over the cells of the mean over their units."""
    if not found:
        raise Incomplete("got no rows, expected some")
    means = [sum(values) / len(values) for values in by_cell(found).values()]
    return sum(means) / len(means)


def by_cell(found: Iterable[Unit]) -> dict[str, list[float]]:
    cells: dict[str, list[float]] = defaultdict(list)
    for unit in found:
        cells[unit.cell].append(unit.value)
    return cells


def interval_of(
    found: Sequence[Unit], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95% interval of `mean_of`, of these trainings on other questions.

    Wilson's where every unit is right or wrong and a question of its own. Else the standard error
    is that of a bootstrap over the clusters, and the interval Wilson's of as many questions as have
    that error: percentiles of the bootstrap hold less than they promise where nearly all is right.
    Answers that are right or wrong never count as more questions than they are: who always says
    one letter has one of four rotations right, all questions are alike, and nothing varies.
    """
    clusters = _clusters(found)
    if _independent(found):
        return wilson(sum(unit.value for unit in found), len(found))
    if min(len(names) for names in clusters.values()) < FEW:
        return _combined(found, clusters)
    error, freedom = _error(found, resamples, seed)
    if freedom < FEW or error < 1e-9:
        # All clusters of a cell are alike: nothing varies, which proves nothing.
        return _combined(found, clusters)
    return effective(mean_of(found), max(error, _least_error(found)), freedom)


def difference_of(
    found: Sequence[Unit], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The standard error of a mean paired difference, and its degrees of freedom (inf: none are to
    be taken into account): a bootstrap over clusters, in which both agents answer those drawn.

    A unit's value is that of the one agent minus that of the other. Where a cell has few clusters,
    or nothing varies, the error is that of `paired_difference` of each cell, or, where cells share
    clusters, of all of them.
    """
    clusters = _clusters(found)
    if min(len(names) for names in clusters.values()) >= FEW:
        error, freedom = _error(found, resamples, seed)
        if freedom >= FEW and error >= 1e-9:
            return error, freedom
    distinct = set().union(*clusters.values())
    if len(distinct) < sum(len(names) for names in clusters.values()):
        return _half(found) / Z, math.inf
    cells: dict[str, list[Unit]] = defaultdict(list)
    for unit in found:
        cells[unit.cell].append(unit)
    return math.hypot(*map(_half, cells.values())) / len(cells) / Z, math.inf


def _half(found: Sequence[Unit]) -> float:
    """The longer half of the interval of the mean, over all units alike."""
    sums: dict[str, float] = defaultdict(float)
    sizes: dict[str, int] = defaultdict(int)
    for unit in found:
        sums[unit.cluster] += unit.value
        sizes[unit.cluster] += 1
    low, high = paired_difference(list(sums.values()), list(sizes.values()))
    mean = sum(sums.values()) / len(found)
    return max(mean - low, high - mean)


def _least_error(found: Sequence[Unit]) -> float:
    """The error of as many independent answers in the same cells; 0 unless all are right or wrong.

    >>> round(_least_error([Unit(i % 2, "", str(i // 2)) for i in range(100)]), 4)  # 0.5 / 10
    0.05
    """
    if any(unit.value not in (0, 1) for unit in found):
        return 0.0
    cells = by_cell(found).values()
    shares = ((sum(values) / len(values), len(values)) for values in cells)
    return math.sqrt(math.fsum(p * (1 - p) / n for p, n in shares)) / len(cells)


def _independent(found: Sequence[Unit]) -> bool:
    """Whether all is one cell of clusters of one right or wrong unit."""
    plain = all(unit.value in (0, 1) and unit.cell == found[0].cell for unit in found)
    return plain and len({unit.cluster for unit in found}) == len(found)


def _error(found: Sequence[Unit], resamples: int, seed: int) -> tuple[float, int]:
    """The standard error of `mean_of` by a bootstrap, and its degrees of freedom.

    K cells, P profiles of clusters, B resamples. Clusters that are in the same cells are drawn
    among each other.
    """
    profiles, counts = _profiles(found)
    rng = np.random.default_rng(seed)
    half = profiles.shape[1] // 2
    strata: dict[bytes, list[int]] = defaultdict(list)
    for index, touched in enumerate(profiles[:, half:] > 0):
        strata[touched.tobytes()].append(index)
    means = []
    left = resamples
    while left:  # in parts: a resample is as long as there are profiles
        part = min(left, max(1, AT_ONCE // len(profiles)))
        totals = np.zeros((part, 2 * half))  # [B, 2K] sums and numbers of units
        for stratum in strata.values():
            number = int(counts[stratum].sum())
            drawn = rng.multinomial(number, counts[stratum] / number, size=part)  # [B, P]
            totals += drawn @ profiles[stratum]
        means.append((totals[:, :half] / totals[:, half:]).mean(axis=1))
        left -= part
    number = int(counts.sum())
    freedom = number - len(strata)
    # A resample varies less than a sample: by (n - 1) / n where all are drawn together.
    correction = math.sqrt(number / max(freedom, 1))
    return float(np.concatenate(means).std()) * correction, freedom


def _clusters(found: Iterable[Unit]) -> dict[str, set[str]]:
    """The clusters of every cell."""
    clusters: dict[str, set[str]] = defaultdict(set)
    for unit in found:
        clusters[unit.cell].add(unit.cluster)
    return clusters


def _combined(found: Sequence[Unit], clusters: dict[str, set[str]]) -> tuple[float, float]:
    """The interval of a mean of cells from Wilson's intervals of the cells.

    The squares of their distances from the estimates add up (Zou and Donner 2008, "Construction of
    confidence limits about effect measures"). Of several cells the longer distance counts on both
    sides: Wilson's intervals of few questions lean to the middle, all in the same direction. Where
    the same clusters are in several cells, as rotations are, these are not independent: then it is
    Wilson's interval over all clusters.
    """
    cells = by_cell(found)
    distinct = set().union(*clusters.values())
    if len(distinct) < sum(len(names) for names in clusters.values()):
        return wilson(mean_of(found) * len(distinct), len(distinct))
    below = above = 0.0
    for cell, values in cells.items():
        share = sum(values) / len(values)
        low, high = wilson(share * len(clusters[cell]), len(clusters[cell]))
        down, up = share - low, high - share
        if len(cells) > 1:
            down = up = max(down, up)
        below += (down / len(cells)) ** 2
        above += (up / len(cells)) ** 2
    mean = mean_of(found)
    return max(mean - math.sqrt(below), 0.0), min(mean + math.sqrt(above), 1.0)


def _profiles(found: Sequence[Unit]) -> tuple[np.ndarray, np.ndarray]:
    """[P, 2K] sums and sizes per cell of the clusters, alike ones once; [P] how many are alike.

    Clusters that are alike make no difference to a resample, so it draws numbers of profiles, of
    which there are few: right and wrong, where each question is asked once in one cell.
    """
    cells = {cell: i for i, cell in enumerate(sorted({unit.cell for unit in found}))}
    clusters: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2 * len(cells)))
    for unit in found:
        clusters[unit.cluster][cells[unit.cell]] += unit.value
        clusters[unit.cluster][len(cells) + cells[unit.cell]] += 1
    profiles, counts = np.unique(np.stack(list(clusters.values())), axis=0, return_counts=True)
    return profiles, counts
