"""Rows of simulated benchmarks whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binom

Rows = list[dict[str, Any]]


def rows_of(
    right: Any, agent: str = "a", *, groups: Sequence[str] | None = None, **more: Any
) -> Rows:
    """Greedy rows of one agent; right [trainings, n] or [n] of 0 and 1."""
    table = np.atleast_2d(np.asarray(right))
    return [
        {
            "agent": agent,
            "dataset": "planted",
            "training": training,
            "sampled": False,
            "question_id": f"q{number}",
            "group_id": groups[number] if groups else "",
            "cycle_id": "",
            "category": ["all"],
            "n_options": 4,
            "correct": bool(value),
            **more,
        }
        for training, answers in enumerate(table)
        for number, value in enumerate(answers)
    ]


def abilities(rng: np.random.Generator, n: int, mean: float, within: float) -> np.ndarray:
    """Chances of n questions to be answered right: a beta distribution. `within` is how much two
    answers to one question correlate, 0 (all questions are alike) to 1 (each is sure)."""
    if within == 0:
        return np.full(n, mean)
    spread = 1 / within - 1
    return rng.beta(mean * spread, (1 - mean) * spread, n)


def at_most(share: float, n: int, sure: float = 0.9999) -> float:
    """The share of n runs that is exceeded once in 10,000 times where each has that chance."""
    return float(binom.ppf(sure, n, share)) / n


def at_least(share: float, n: int, sure: float = 0.9999) -> float:
    return float(binom.ppf(1 - sure, n, share)) / n
