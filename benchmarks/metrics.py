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

from hrvision_env.actions.answer import AnswerAction, is_explicit, parse
from hrvision_env.diagnostics import Diagnostics, aggregate, diagnose
from hrvision_env.grading import grade, grader_names, kinds_of
from hrvision_env.records import Episode, Outcome, Sample

from .aggregations import AGGREGATIONS, interval, report

Row = dict[str, Any]


def make_row(
    agent: str, dataset: str, sample: Sample, episode: Episode, sampled: bool = False
) -> Row:
    """One line of `episodes.jsonl`; JSON-able. `sampled`: drawn at a temperature, not greedy."""
    found = diagnose(sample, episode)
    return {
        "agent": agent,
        "dataset": dataset,
        "source": sample.source,
        "sampled": sampled,
        "question_id": sample.id,
        "category": list(sample.category),
        "group_id": sample.group_id,
        "cycle_id": sample.cycle_id,
        "gold": list(sample.answers),
        "n_options": len(sample.options or ()),
        "correct": episode.correct,
        "score": episode.reward,
        "official": official(sample, episode),
        "valid_box": found.valid_box,
        "hit": found.hit,
        "iou": found.iou,
        "coverage": found.coverage,
        "box_side": found.box_side,
        "episode": episode.to_dict(),
    }


def official(sample: Sample, episode: Episode) -> float | None:
    r"""The score of the same reply by the benchmark's own rules; None where there are none.

    They are made for models that answer with a letter or a sentence, and know nothing of \boxed{}:
    an answer in \boxed{} or <answer> is taken out before. Those for boxes and points read
    coordinates in a frame of their own, so they are the environment's affair
    (`grader="official:..."`).
    """
    name = f"official:{sample.source}"
    if name not in grader_names() or sample.answer_kind in ("box", "points"):
        return None
    kinds = kinds_of(name)
    if kinds is not None and sample.answer_kind not in kinds:
        return None
    if episode.outcome is Outcome.ERROR or not episode.turns:
        return 0.0
    reply = episode.turns[-1].reply
    found = parse(reply) if is_explicit(reply) else None
    return grade(name, sample, found.text if isinstance(found, AnswerAction) else reply).score


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

    Questions that are asked several times (`group_id`) are not independent: where there are some,
    the interval is a bootstrap over the groups. A dataset of a public benchmark has its
    `aggregations`, see `aggregations.report`, and `official`, the same by the benchmark's own
    rules, for comparison with papers. `score` is the mean reward, where a grader gives parts of 1.

    A failed episode (outcome `error`) counts as wrong: leaving it out would flatter the agent.
    `outcomes` counts the greedy ones, `failed_sampled` the sampled ones, where there are some.

    `usage` is what the replies of an agent on a server cost, sampled ones and failed episodes that
    were played again included: requests, tokens, and the cost where its config has prices.
    """
    summary = _summarise_part(rows)
    usages = [row["usage"] for row in rows if "usage" in row]
    if usages:
        summary["usage"] = add_usage(usages)
    greedy = [row for row in rows if not row["sampled"]]
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
        values = _summarise_flat(drawn)
        summary |= {f"{name}_sampled": values[name] for name in SAMPLED if name in values}
        if failed := values["outcomes"].get(Outcome.ERROR, 0):
            summary["failed_sampled"] = failed
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
    scores = [row["score"] for row in rows]
    soft = {"score": statistics.fmean(scores)} if any(0 < score < 1 for score in scores) else {}
    groups = Counter(row["group_id"] for row in rows if row["group_id"])
    repeated = any(count > 1 for count in groups.values())
    guess = {"chance": statistics.fmean(1 / k for k in options)} if n and all(options) else {}
    return {
        "accuracy": correct / n if n else 0.0,
        "n": n,
        "interval": list(interval(rows)) if repeated else wilson(correct, n),
        **soft,
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
