"""95% intervals in closed form: of a share, of a few trainings, of a paired difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student_t

Interval = tuple[float, float]

ALPHA = 0.05
"""Wrong once in 20 times: of intervals, and of differences that are called more than noise."""
TAIL = 1 - ALPHA / 2
Z = float(norm.ppf(TAIL))
SHARE = (0.0, 1.0)
DIFFERENCE = (-1.0, 1.0)
"""Where a share and a difference of two shares can lie."""


def wilson(successes: float, n: float, z: float = Z) -> Interval:
    """Wilson's score interval of a share (Wilson 1927); all of 0..1 when n is 0.

    Neither number needs to be whole: an effective n seldom is.

    >>> tuple(round(x, 4) for x in wilson(80, 100))
    (0.7112, 0.8666)
    """
    if n <= 0:
        return SHARE
    share, square = successes / n, z * z / n
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n))
    middle = share + square / 2
    low, high = (middle - half) / (1 + square), (middle + half) / (1 + square)
    # Without rounding where the share itself is a bound.
    return (0.0 if successes <= 0 else low), (1.0 if successes >= n else high)


def effective(share: float, error: float, freedom: int) -> Interval:
    """The interval of a share whose standard error is known.

    It is Wilson's, of as many independent questions as have that error: share * (1 - share) /
    error^2 (the effective sample size of Korn and Graubard 1998), with Student's quantile for the
    `freedom` that the error was estimated with. So it stays within 0..1, and near these it leans
    to the middle, as percentiles of a bootstrap do not.

    40 rotations of 10 questions, half of them right with an error of 0.1, are worth 25 questions:

    >>> [round(x, 4) for x in (*effective(0.5, 0.1, 10**9), *wilson(12.5, 25))]
    [0.3175, 0.6825, 0.3175, 0.6825]
    """
    n = share * (1 - share) / (error * error)
    return wilson(share * n, n, float(student_t.ppf(TAIL, freedom)))


def student(values: Sequence[float], bounds: Interval = SHARE) -> Interval:
    """Student's interval of the mean of independent values, such as accuracies of trainings; all
    of `bounds` for a single one.

    Of 0.70, 0.74 and 0.78: mean 0.74, s = 0.04, 0.74 +- 4.303 * 0.04 / sqrt(3):

    >>> tuple(round(x, 3) for x in student([0.70, 0.74, 0.78]))
    (0.641, 0.839)
    """
    if len(values) < 2:
        return bounds
    mean = math.fsum(values) / len(values)
    half = float(student_t.ppf(TAIL, len(values) - 1)) * math.sqrt(variance_of_mean(values))
    return _within(mean - half, mean + half, bounds)


def variance_of_mean(values: Sequence[float]) -> float:
    """s^2 / n; 0 for a single value, of which nothing is known."""
    return float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0


def widened(
    mean: float,
    questions: Interval,
    trainings: Sequence[Sequence[float]],
    bounds: Interval,
    interplay: Sequence[float] = (),
) -> Interval:
    """The interval of a mean over questions and over trainings, both being samples.

    `questions`: its interval had there been no other trainings. `trainings`: the values of one or
    two agents' trainings, whose mean or difference of means it is; of a single training nothing is
    added, then all that is said is about that one. `interplay`: of each, what is taken off.

    The squares of the two half widths add up, z * the questions' error and t * the trainings' (Zou
    and Donner 2008, "Construction of confidence limits about effect measures"); t has T - 1 degrees
    of freedom, of two agents those of Satterthwaite (1946). A pooled number of degrees of freedom
    would be too sure wherever the few trainings happen to agree.

    That a question comes out otherwise in another training is noise that both parts hold. It can
    be taken off the trainings' part (two-way analysis of variance, not below 0), see `noise_of`.

    What it holds, by simulation of 100 to 1000 questions, 2, 3 or 5 trainings, a standard deviation
    of 0 to 10 points between these (2,000 runs each): one agent's accuracy, nothing taken off, 94.8
    to 99.8%, most where trainings do not differ (taken off, it would be 86%); a difference of two
    agents, all taken off, 94 to 98%; a difference on the same weights, half taken off, 95 to 98%
    where what is changed does the same to each of three trainings or differs by 2 points, 92% of
    1000 questions where it differs by 5 (two trainings: 93% of 512 where it differs by 3).
    """
    several = [values for values in trainings if len(values) > 1]
    parts = [(variance_of_mean(values), len(values) - 1) for values in several]
    between = sum(variance for variance, _ in parts)
    if between == 0:
        return questions
    freedom = between**2 / sum(v * v / n for v, n in parts)
    if interplay:
        pairs = zip(trainings, interplay, strict=True)
        between = sum(max(variance_of_mean(values) - noise, 0.0) for values, noise in pairs)
    added = float(student_t.ppf(TAIL, freedom)) ** 2 * between
    below, above = (math.hypot(mean - limit, math.sqrt(added)) for limit in questions)
    return _within(mean - below, mean + above, bounds)


def interplay(parts: np.ndarray) -> float:
    """How much of the variance between trainings comes from single questions that come out
    otherwise in another training: the part of it in the variance of the trainings' mean.

    parts [trainings, clusters]: what each cluster of questions adds to a training's value, as its
    deviation from that value; rows add up to 0.

    Three trainings of four questions, each with another one right and none better than the others.
    Without the means of questions and of trainings the squares add up to 3 * (4/9 + 1/9 + 1/9) = 2;
    over (4 - 1) * (3 - 1) it is 1/3, and that over 4 * 3 answers 1/36:

    >>> right = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
    >>> round(interplay((right - right.mean(axis=1, keepdims=True)) / 4), 6)
    0.027778
    """
    trainings, clusters = parts.shape
    if trainings < 2 or clusters < 2:
        return 0.0
    apart = parts - parts.mean(axis=0)
    one = float((apart**2).sum()) * clusters / ((clusters - 1) * (trainings - 1))
    return one / trainings


def noise_of(parts_a: np.ndarray, parts_b: np.ndarray, *, same_weights: bool) -> list[float]:
    """What `widened` is to take off a difference; parts_* as `interplay` has them.

    All of it where both agents have several trainings: else a true 8 points on 200 questions would
    be found in 47% and not in 57 to 61% of cases. Half of it on the same weights, where there is
    one set of differences, which has fewer degrees of freedom (8 points on 400 questions: 73%, and
    53% were nothing taken off). None of it where only one agent has several: two or three
    trainings say too little of themselves.
    """
    if same_weights:
        return [interplay(parts_a - parts_b) / 2]
    if min(len(parts_a), len(parts_b)) < 2:
        return [0.0, 0.0]
    return [interplay(parts_a), interplay(parts_b)]


def paired_difference(sums: Sequence[float], sizes: Sequence[int]) -> Interval:
    """The interval of a mean paired difference: of `sums` over clusters of `sizes` rows.

    With a row per cluster it is that of Bonett and Price (2012, "Adjusted Wald confidence interval
    for a difference of binomial proportions based on paired data"): Wald's after adding a question
    that only the one and another one that only the other got right. Of larger clusters, two of
    average size are added, and the deviations are those of whole clusters. Student's quantile in
    place of the normal one makes it a little wider where they are few. It never is a point: that
    no answer of 20 questions differs does not mean that none ever would.

    17 and 7 of 191 questions, the others alike, mean 10/193 +- 1.972 * 0.0262:

    >>> low, high = paired_difference([1] * 17 + [-1] * 7 + [0] * 167, [1] * 191)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.103)
    """
    if not sums:
        return DIFFERENCE
    average = sum(sizes) / len(sizes)
    values = np.array([*sums, average, -average], float)
    weights = np.array([*sizes, average, average], float)
    mean = float(values.sum() / weights.sum())
    error = math.sqrt(float(((values - mean * weights) ** 2).sum())) / float(weights.sum())
    half = float(student_t.ppf(TAIL, len(values) - 1)) * error
    return _within(mean - half, mean + half, DIFFERENCE)


def _within(low: float, high: float, bounds: Interval) -> Interval:
    return max(low, bounds[0]), min(high, bounds[1])
