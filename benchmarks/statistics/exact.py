"""Tests of paired answers by counting, and the correction for many of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.stats import binom, binomtest

MCNEMAR, SIGN_FLIPS = "McNemar, exact", "sign flips over questions"


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of McNemar's test in its exact form: binomial, of the pairs that differ.

    >>> round(mcnemar(17, 7), 3)
    0.064
    """
    total = only_a + only_b
    return float(binomtest(only_a, total).pvalue) if total else 1.0


def sign_flips(sums: Iterable[int]) -> float:
    """Two-sided p of the hypothesis that each of these numbers might as well have the other sign.

    Exact: all 2^n flips are counted, as a convolution of binomial distributions, one for each
    distinct size. Of 3, 1 and 1 only the 2 flips with all signs alike sum up to 5 or -5:

    >>> sign_flips([3, 1, 1])  # 2 of 8
    0.25
    """
    numbers = [int(number) for number in sums if number]
    if not numbers:
        return 1.0
    unit = math.gcd(*numbers)
    sizes = Counter(abs(number) // unit for number in numbers)
    chances = np.ones(1)  # [i] of the positive numbers' summing up to i units
    for size, count in sizes.items():
        positive = np.zeros(size * count + 1)
        positive[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, positive)
    total = 2 * np.arange(len(chances)) - (len(chances) - 1)
    return min(float(chances[np.abs(total) >= abs(sum(numbers)) // unit].sum()), 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979): the smallest times n, the next times n - 1
    and so on, none below the one before.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
