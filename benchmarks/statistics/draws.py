"""Several answers to a question, drawn at a temperature: their mean, and whether any is right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import trainings
from .aggregations import cluster_of, training_of
from .bootstrap import Unit

Row = Mapping[str, Any]


def pass_at(k: int, n: int, right: int) -> float:
    """Probability that k answers, picked of n of which `right` are right, hold a right one.

    1 - C(n - right, k) / C(n, k), the unbiased estimate of pass@k by n >= k draws (Chen et al.
    2021, arXiv 2107.03374, equation 1); 1 - (1 - right / n)^k would be too low.

    >>> pass_at(2, n=4, right=1)  # 3 of the 6 pairs hold it
    0.5

    Raises ValueError unless 1 <= k <= n and 0 <= right <= n.
    """
    if not (1 <= k <= n and 0 <= right <= n):
        raise ValueError(f"pass@{k}: got {right} right of {n}, expected at least {k} draws")
    if n - right < k:
        return 1.0
    return 1.0 - float(np.prod(1.0 - k / np.arange(n - right + 1, n + 1)))


def report(rows: Sequence[Row], *, seed: int = 0) -> dict[str, Any] | None:
    """avg@k and pass@k of sampled rows as data; None without any.

    `{"k": K, "avg": {"value", "interval"}, "pass": {"1": {"value", "interval"}, "2", "4", ...,
    "K"}}`: K draws of each question, or, where some are missing, as many as each question has; avg
    is the mean over all draws even then, for it is the same number whatever their count.
    Draws of one question are not independent: the intervals are over questions (and trainings).
    Beside each pass@k of choice questions stands its "chance": guessing k times is right more
    often than once.
    """
    if not rows:
        return None
    counts = _count(rows)
    most = min(n for n, _, _ in counts)
    avg = [Unit(right / n, "", cluster, t) for n, right, (cluster, t) in counts]
    passed = {}
    for k in _sizes(most):
        found = [Unit(pass_at(k, n, right), "", cluster, t) for n, right, (cluster, t) in counts]
        passed[str(k)] = trainings.estimate(found, seed=seed) | _guessing(k, rows)
    return {"k": most, "avg": trainings.estimate(avg, seed=seed), "pass": passed}


def _count(rows: Sequence[Row]) -> list[tuple[int, int, tuple[str, int]]]:
    """For each question in each training: draws, right ones, and what they are drawn with."""
    drawn: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in rows:
        drawn[training_of(row), str(row["question_id"])].append(row)
    return [
        (len(part), sum(bool(row["correct"]) for row in part), (cluster_of(part[0]), training))
        for (training, _), part in drawn.items()
    ]


def _guessing(k: int, rows: Sequence[Row]) -> dict[str, float]:
    """The mean of 1 - (1 - 1 / options)^k over the questions; nothing where any has no options.

    >>> round(_guessing(4, [{"question_id": "a", "n_options": 6}])["chance"], 4)
    0.5177
    """
    options = {str(row["question_id"]): row.get("n_options") for row in rows}
    if not all(options.values()):
        return {}
    return {"chance": float(np.mean([1 - (1 - 1 / n) ** k for n in options.values() if n]))}


def _sizes(most: int) -> Iterator[int]:
    """1, 2, 4 ... below `most`, and `most`."""
    k = 1
    while k < most:
        yield k
        k *= 2
    yield most
