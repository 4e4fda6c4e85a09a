"""Two agents on the same questions: is the difference more than noise?

Both answer the same questions, so a question that both get right, or both wrong, says nothing; only
those on which they differ do. The test counts all outcomes:

McNemar, exact              one answer per question and agent: were they equally good, a coin would
                            decide who wins each of the questions that differ
sign flips over questions   several trainings or rotations of a question: the differences of all
                            its answers are added up, and every question's sum could as well have
                            had the other sign (the randomisation test of Fisher 1935). With
                            single answers it is the same test. Exact where both have as many
                            trainings, else approximate: 0 or 1 against a mean of three is not
                            symmetric (wrong in 5.3 to 5.6% of simulated cases, not 5)

Both judge these questions and these trainings. Another training might do otherwise: where an agent
has several, the interval holds this as well, and a difference is called noise if it reaches 0.
Where each has one training, all that is said is about these two: had two equal recipes trainings
that lie 5 points apart, two single ones would be told apart 4 times in 10.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .aggregations import AGGREGATIONS, DEFAULT, cluster_of, training_of
from .exact import MCNEMAR, SIGN_FLIPS, mcnemar, sign_flips
from .headline import Headline, headline
from .intervals import ALPHA, DIFFERENCE, Interval, noise_of, paired_difference, widened
from .wording import sentence

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Agent `a` against agent `b` on one dataset, greedy answers to the questions of both."""

    dataset: str
    a: str
    b: str
    n: int
    """Questions that every training of both answered, rotations of one counted each."""
    questions: int
    """Clusters: rotations of one counted once."""
    left_out: int
    """Questions that some training of either did not answer."""
    trainings: tuple[int, int]
    both: float
    """How many both got right: with several trainings the mean over all pairs of theirs, or, of the
    same weights, of each with itself; as in the next three. The four add up to n."""
    only_a: float
    only_b: float
    neither: float
    better_a: int
    """Questions that `a` got right more often, over its trainings, than `b`."""
    better_b: int
    difference: float
    """Accuracy of `a` minus that of `b`."""
    interval: Interval
    """95%, of other questions and, where there are several, other trainings. It is for itself: it
    reaches 0 where p is 0.05 or more, but not always where only the corrected p is."""
    p: float
    p_adjusted: float
    """After Holm's correction for all `family` comparisons of its family."""
    test: str
    family: int = 1
    family_of: str = ""
    """What the family is, in words: see `families.compare_all`."""
    variant: bool = False
    """Whether `a` is `b` with one thing changed: the same weights, training by training."""
    headline: Headline | None = None
    """The difference by the benchmark's own number, where that is no mean over all questions."""
    other_numbers: bool = False
    """Whether the benchmark reports more numbers than the mean over all questions."""

    @property
    def inside_noise(self) -> bool:
        """Whether nothing is shown: the test, corrected, says so, or the interval reaches 0. The
        headline's verdict where there is one."""
        if self.headline:
            return self.headline.inside_noise
        return self.p_adjusted >= ALPHA or self.interval[0] <= 0 <= self.interval[1]

    @property
    def text(self) -> str:
        """One sentence for people."""
        return sentence(self)

    def to_dict(self) -> dict[str, Any]:
        """An entry of `comparisons.json`."""
        names = ("dataset", "a", "b", "n", "questions", "left_out")
        cells = ("both", "only_a", "only_b", "neither", "better_a", "better_b", "difference")
        tested = ("p", "p_adjusted", "family", "family_of", "test", "variant", "inside_noise")
        return {
            **{name: getattr(self, name) for name in (*names, *cells)},
            "trainings": list(self.trainings),
            "interval": list(self.interval),
            **{name: getattr(self, name) for name in tested},
            "headline": self.headline.to_dict() if self.headline else None,
            "text": self.text,
        }


def compare(
    rows_a: Sequence[Row], rows_b: Sequence[Row], *, same_weights: bool = False
) -> Comparison:
    """Compare two agents' greedy rows of one dataset; sampled ones are left out.

    `same_weights`: training i of the one has the weights of training i of the other, as a variant
    has those of its agent. Then trainings are compared one by one, so that the spread of their
    differences counts. Trainings that only one of them has are left out. Example: of 191 questions
    17 only right by `a`, 7 only by `b`: p = 2 * P(X <= 7) of a binomial X of 24 halves = 0.064.

    Raises ValueError when an agent has no greedy row, or two for one question in a training, or
    when the same weights have no training in common.
    """
    a, b = _answers(rows_a), _answers(rows_b)
    a, b = _common(a, b) if same_weights else (a, b)
    tables = [*a.rows.values(), *b.rows.values()]
    common = [name for name in tables[0] if all(name in table for table in tables)]
    right_a, right_b = a.right(common), b.right(common)
    # In whole numbers: how often a right answer of the one meets a wrong one of the other.
    wins = right_a.sum(axis=0) * len(b.rows) - right_b.sum(axis=0) * len(a.rows)  # [n]
    better_a, better_b = int((wins > 0).sum()), int((wins < 0).sum())
    clusters = [cluster_of(tables[0][name]) for name in common]
    sums, sizes = _by_cluster(clusters, wins)
    test = MCNEMAR if len(tables) == 2 and len(sizes) == len(common) else SIGN_FLIPS
    p = mcnemar(better_a, better_b) if test == MCNEMAR else sign_flips(sums)
    both, only_a, only_b, neither = _cells(right_a, right_b, same_weights)
    source = str(tables[0][common[0]].get("source", "")) if common else ""
    return Comparison(
        dataset=a.dataset,
        a=a.agent,
        b=b.agent,
        n=len(common),
        questions=len(sizes),
        left_out=len(set().union(*tables)) - len(common),
        trainings=(len(a.rows), len(b.rows)),
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=neither,
        better_a=better_a,
        better_b=better_b,
        difference=sum(sums) / (len(a.rows) * len(b.rows) * len(common)) if common else 0.0,
        interval=_interval(right_a, right_b, clusters, p, same_weights),
        p=p,
        p_adjusted=p,
        test=test,
        variant=same_weights,
        headline=headline(source, a.of(common), b.of(common), same_weights=same_weights),
        other_numbers=len(AGGREGATIONS.get(source, DEFAULT)) > 1,
    )


def _cells(right_a: np.ndarray, right_b: np.ndarray, same_weights: bool) -> list[float]:
    """both, only_a, only_b and neither, means over pairs of trainings; right_* [trainings, n]."""
    if not same_weights:  # of all pairs of trainings
        right_a, right_b = (right.mean(axis=0, keepdims=True) for right in (right_a, right_b))
    sides = ((right_a, right_b), (right_a, 1 - right_b), (1 - right_a, right_b))
    sums = [float((a * b).sum()) for a, b in (*sides, (1 - right_a, 1 - right_b))]
    return [value / len(right_a) for value in sums]


def _interval(
    right_a: np.ndarray,
    right_b: np.ndarray,
    clusters: Sequence[str],
    p: float,
    same_weights: bool,
) -> Interval:
    """Of the difference, over questions and trainings; right_* [trainings, n]."""
    if not clusters:
        return DIFFERENCE
    sums, sizes = _by_cluster(clusters, right_a.mean(axis=0) - right_b.mean(axis=0))
    questions = paired_difference(sums, sizes)
    difference = float(right_a.mean() - right_b.mean())
    values = [right.mean(axis=1) for right in (right_a, right_b)]
    sets = [(values[0] - values[1]).tolist()] if same_weights else [v.tolist() for v in values]
    parts_a, parts_b = _parts(right_a, clusters), _parts(right_b, clusters)
    noise = noise_of(parts_a, parts_b, same_weights=same_weights)
    low, high = widened(difference, questions, sets, DIFFERENCE, noise)
    # Two ways to one answer are not to contradict each other at the border.
    return (min(low, 0.0), max(high, 0.0)) if p >= ALPHA else (low, high)


def _parts(right: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """[trainings, clusters] what each cluster adds to a training's mean; right [trainings, n]."""
    number = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    parts = np.zeros((len(number), len(right)))
    apart = (right - right.mean(axis=1, keepdims=True)) / right.shape[1]
    np.add.at(parts, [number[name] for name in clusters], apart.T)
    return parts.T


@dataclass(frozen=True)
class _Answers:
    """An agent's greedy rows on a dataset: by training, then by question."""

    agent: str
    dataset: str
    rows: dict[int, dict[str, Row]]

    def right(self, questions: Sequence[str]) -> np.ndarray:
        """[trainings, n] of 0 and 1."""
        answers = [[int(rows[name]["correct"]) for name in questions] for rows in self.each()]
        return np.array(answers).reshape(len(self.rows), len(questions))

    def of(self, questions: Sequence[str]) -> list[Row]:
        """The rows of these questions, of all trainings."""
        return [rows[name] for rows in self.each() for name in questions]

    def each(self) -> list[dict[str, Row]]:
        return [self.rows[number] for number in sorted(self.rows)]


def _answers(rows: Sequence[Row]) -> _Answers:
    found: dict[int, dict[str, Row]] = defaultdict(dict)
    greedy = [row for row in rows if not row["sampled"]]
    for row in greedy:
        training, question = training_of(row), str(row["question_id"])
        if question in found[training]:
            raise ValueError(
                f"compare: {row['agent']}: got question {question!r} twice, "
                "expected one greedy row of each training"
            )
        found[training][question] = row
    if not greedy:
        raise ValueError(f"compare: got {len(rows)} rows, none of them greedy; expected some")
    return _Answers(greedy[0]["agent"], greedy[0]["dataset"], dict(found))


def _common(a: _Answers, b: _Answers) -> tuple[_Answers, _Answers]:
    """Both with the trainings only that both have."""
    numbers = a.rows.keys() & b.rows.keys()
    if not numbers:
        raise ValueError(
            f"compare: got trainings {sorted(a.rows)} of {a.agent} and {sorted(b.rows)} of "
            f"{b.agent}, expected one in common, as they are the same weights"
        )
    one, other = (
        replace(each, rows={number: each.rows[number] for number in sorted(numbers)})
        for each in (a, b)
    )
    return one, other


def _by_cluster(clusters: Sequence[str], values: np.ndarray) -> tuple[list[Any], list[int]]:
    """The sum of each cluster's values, whole ones if these are, and how many they are."""
    sums: dict[str, Any] = defaultdict(int)
    sizes = Counter(clusters)
    for cluster, value in zip(clusters, values.tolist(), strict=True):
        sums[cluster] += value
    return list(sums.values()), [sizes[cluster] for cluster in sums]
