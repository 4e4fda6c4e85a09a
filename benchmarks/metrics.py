"""From episode rows to a summary: accuracy with its interval, boxes, shares per category.

A row is one line of `episodes.jsonl`: what a summary needs stands in the row itself, so a summary
can be made again, or for a subset, without the datasets.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from hrvision_env.diagnostics import Diagnostics, aggregate
from hrvision_env.records import Outcome

from .rows import Row
from .statistics import draws, intervals, trainings
from .statistics.aggregations import AGGREGATIONS, cluster_of, report, units


def wilson(successes: float, n: float) -> list[float]:
    """The 95% Wilson score interval of a share, as [low, high]; [0, 1] when n is 0.

    >>> [round(x, 4) for x in wilson(80, 100)]
    [0.7112, 0.8666]
    """
    return list(intervals.wilson(successes, n))


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Accuracy, n, interval, chance, the box measures and the outcomes of one agent's episodes.

    The numbers are those of the greedy episodes; sampled ones add the same under `..._sampled`, and
    `draws`, their avg@k and pass@k (see `draws.report`). `n` counts episodes, `questions` clusters:
    rotations of a question (`group_id`), and its answers by several trainings, are one.
    `chance` is the expected accuracy of guessing among the options; it is left out when a question
    has none. With several categories also `macro_accuracy` (unweighted mean over the categories;
    `accuracy` is the mean over the episodes) and `categories`, a summary of each.

    Answers of one cluster are not independent: where there are some, the interval is a bootstrap
    over clusters. Of an agent that was trained several times `trainings` says how these differ
    (see `trainings.spread`), and the interval holds both, other questions and other trainings. A
    dataset of a public benchmark has its `aggregations`, see `aggregations.report`, and `official`,
    the same by the benchmark's own rules, for comparison with papers. `score` is the mean reward,
    where a grader gives parts of 1; `strict` (and `strict_interval`) the accuracy by `strict`,
    where the environment's grader judges otherwise.

    A failed episode (outcome `error`) counts as wrong: leaving it out would flatter the agent.
    `outcomes` counts the greedy ones, `failed_sampled` the sampled ones, where there are some.

    `cost` is what a greedy episode takes, see `cost`. `usage` is what the replies of an agent on a
    server cost, sampled ones and failed episodes that were played again included: requests, tokens,
    and the cost where its config has prices.
    """
    summary = _summarise_part(rows)
    usages = [row["usage"] for row in rows if "usage" in row]
    if usages:
        summary["usage"] = add_usage(usages)
    greedy = [row for row in rows if not row["sampled"]]
    if sampled := draws.report([row for row in rows if row["sampled"]]):
        summary["draws"] = sampled
    if spent := cost(greedy):
        summary["cost"] = spent
    sources = {row["source"] for row in greedy}
    source = sources.pop() if len(sources) == 1 else ""
    if source in AGGREGATIONS:
        summary["aggregations"] = report(source, greedy)
    if source and greedy and all(row["official"] is not None for row in greedy):
        ruled = [{**row, "correct": row["official"]} for row in greedy]
        summary["official"] = report(source, ruled)
    by_category: dict[str, list[Row]] = {"/".join(row["category"]): [] for row in greedy}
    for row in rows:
        by_category.get("/".join(row["category"]), []).append(row)
    if len(by_category) > 1:
        parts = {name: _summarise_part(part) for name, part in sorted(by_category.items())}
        summary["macro_accuracy"] = statistics.fmean(part["accuracy"] for part in parts.values())
        summary["categories"] = parts
    return summary


def add_usage(usages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sum of each count.

    >>> add_usage([{"requests": 1}, {"requests": 2, "cost": 0.5}])
    {'requests': 3, 'cost': 0.5}
    """
    names = dict.fromkeys(name for usage in usages for name in usage)
    return {name: sum(usage.get(name, 0) for usage in usages) for name in names}


SAMPLED = ("accuracy", "valid_box_rate", "hit_rate", "iou", "coverage", "box_side")
"""What a summary says of sampled episodes as well."""


def _summarise_part(rows: Sequence[Row]) -> dict[str, Any]:
    summary = _summarise_flat([row for row in rows if not row["sampled"]])
    drawn = [row for row in rows if row["sampled"]]
    if drawn:
        values = _summarise_flat(drawn, bounds=False)
        summary |= {f"{name}_sampled": values[name] for name in SAMPLED if name in values}
        if failed := values["outcomes"].get(Outcome.ERROR, 0):
            summary["failed_sampled"] = failed
    return summary


def _summarise_flat(rows: Sequence[Row], bounds: bool = True) -> dict[str, Any]:
    """`bounds`: with intervals, which take time."""
    n = len(rows)
    outcomes = Counter(row["episode"]["outcome"] for row in rows)
    options = [row["n_options"] for row in rows]
    scores = [row["score"] for row in rows]
    soft = {"score": statistics.fmean(scores)} if any(0 < score < 1 for score in scores) else {}
    guess = {"chance": statistics.fmean(1 / k for k in options)} if n and all(options) else {}
    return {
        "accuracy": sum(row["correct"] for row in rows) / n if n else 0.0,
        "n": n,
        "questions": len({cluster_of(row) for row in rows}),
        **(_intervals(rows) if bounds else {}),
        **soft,
        **guess,
        **aggregate(Diagnostics.from_dict(row) for row in rows),
        "outcomes": {str(name): outcomes[name] for name in Outcome if outcomes[name]},
    }


def _intervals(rows: Sequence[Row]) -> dict[str, Any]:
    """Of the accuracy, by the environment's grader and by `strict`; how trainings differ."""
    if not rows:
        return {"interval": wilson(0, 0)}
    found = units("micro", rows)
    result: dict[str, Any] = {"interval": list(trainings.interval(found))}
    if several := trainings.spread(found):
        result["trainings"] = several
    exact = [row.get("strict") for row in rows]
    if None not in exact and exact != [float(row["correct"]) for row in rows]:
        graded = [{**row, "correct": row["strict"]} for row in rows]
        estimate = trainings.estimate(units("micro", graded))
        result |= {"strict": estimate["value"], "strict_interval": estimate["interval"]}
    return result


def cost(rows: Sequence[Row]) -> dict[str, float]:
    """What an episode takes, and what that brings; what nobody counted has no key.

    `image_tokens` (of all images shown), `prompt_tokens` (read, images included, summed over the
    requests), `sampled_tokens` and `seconds` (its share of the time of its process) are means over
    the episodes; `correct_per_1k_image_tokens` and `correct_per_second` are right answers over the
    sum of all.

    >>> found = cost([{"correct": True, "tokens": {"image": 100}, "seconds": 2.0}] * 5)
    >>> found["image_tokens"], found["correct_per_1k_image_tokens"], found["correct_per_second"]
    (100.0, 10.0, 0.5)
    """
    columns: dict[str, list[float | None]] = {
        f"{name}_tokens": [row.get("tokens", {}).get(name) for row in rows]
        for name in ("image", "prompt", "sampled")
    }
    columns["seconds"] = [row.get("seconds") for row in rows]
    known = {
        name: [value for value in values if value is not None] for name, values in columns.items()
    }
    whole = {name: math.fsum(found) for name, found in known.items() if len(found) == len(rows) > 0}
    result = {name: total / len(rows) for name, total in whole.items()}
    correct = sum(row["correct"] for row in rows)
    if whole.get("image_tokens"):
        result["correct_per_1k_image_tokens"] = 1000 * correct / whole["image_tokens"]
    if whole.get("seconds"):
        result["correct_per_second"] = correct / whole["seconds"]
    return result


def summarise_all(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """`{agent: {dataset: summary}}`, agents and datasets in the order of their first row."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["agent"], row["dataset"]].append(row)
    table: dict[str, dict[str, Any]] = {}
    for (agent, dataset), part in groups.items():
        table.setdefault(agent, {})[dataset] = summarise(part)
    return table
