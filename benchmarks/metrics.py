"""From episode rows to a summary: accuracy with its interval, boxes, shares per category.

A row is one line of `episodes.jsonl`: what a summary needs stands in the row itself, so a summary
can be made again, or for a subset, without the datasets.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from scipy.stats import binomtest

from hrvision_env.diagnostics import Diagnostics, aggregate, diagnose
from hrvision_env.records import Episode, Outcome, Sample

Row = dict[str, Any]


def make_row(
    agent: str, dataset: str, sample: Sample, episode: Episode, sampled: bool = False
) -> Row:
    """One line of `episodes.jsonl`; JSON-able. `sampled`: drawn at a temperature, not greedy."""
    found = diagnose(sample, episode)
    return {
        "agent": agent,
        "dataset": dataset,
        "sampled": sampled,
        "question_id": sample.id,
        "category": list(sample.category),
        "gold": list(sample.answers),
        "n_options": len(sample.options or ()),
        "correct": episode.correct,
        "valid_box": found.valid_box,
        "hit": found.hit,
        "iou": found.iou,
        "coverage": found.coverage,
        "box_side": found.box_side,
        "episode": episode.to_dict(),
    }


def wilson(successes: int, n: int) -> list[float]:
    """The 95% Wilson score interval of a share, as [low, high]; [0, 1] when n is 0.

    >>> [round(x, 4) for x in wilson(80, 100)]
    [0.7112, 0.8666]
    """
    if n == 0:
        return [0.0, 1.0]
    interval = binomtest(successes, n).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Accuracy, n, interval, chance, the box measures and the outcomes of one agent's episodes.

    The numbers are those of the greedy episodes; sampled ones add the same under `..._sampled`.
    `chance` is the expected accuracy of guessing among the options; it is left out when a question
    has none. With several categories also `macro_accuracy` (unweighted mean over the categories;
    `accuracy` is the mean over the episodes) and `categories`, a summary of each.

    A failed episode (outcome `error`) counts as wrong: leaving it out would flatter the agent.
    """
    summary = _summarise_part(rows)
    by_category: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_category["/".join(row["category"])].append(row)
    if len(by_category) > 1:
        parts = {name: _summarise_part(part) for name, part in sorted(by_category.items())}
        summary["macro_accuracy"] = statistics.fmean(part["accuracy"] for part in parts.values())
        summary["categories"] = parts
    return summary


SAMPLED = ("accuracy", "valid_box_rate", "hit_rate", "iou", "coverage", "box_side")
"""What a summary says of sampled episodes as well."""


def _summarise_part(rows: Sequence[Row]) -> dict[str, Any]:
    summary = _summarise_flat([row for row in rows if not row["sampled"]])
    drawn = [row for row in rows if row["sampled"]]
    if drawn:
        values = _summarise_flat(drawn)
        summary |= {f"{name}_sampled": values[name] for name in SAMPLED if name in values}
    return summary


def _summarise_flat(rows: Sequence[Row]) -> dict[str, Any]:
    n = len(rows)
    correct = sum(row["correct"] for row in rows)
    outcomes = Counter(row["episode"]["outcome"] for row in rows)
    boxes = (
        Diagnostics(row["valid_box"], row["hit"], row["iou"], row["coverage"], row["box_side"])
        for row in rows
    )
    options = [row["n_options"] for row in rows]
    guess = {"chance": statistics.fmean(1 / k for k in options)} if n and all(options) else {}
    return {
        "accuracy": correct / n if n else 0.0,
        "n": n,
        "interval": wilson(correct, n),
        **guess,
        **aggregate(boxes),
        "outcomes": {str(name): outcomes[name] for name in Outcome if outcomes[name]},
    }


def summarise_all(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """`{agent: {dataset: summary}}`, agents and datasets in the order of their first row."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["agent"], row["dataset"]].append(row)
    table: dict[str, dict[str, Any]] = {}
    for (agent, dataset), part in groups.items():
        table.setdefault(agent, {})[dataset] = summarise(part)
    return table
