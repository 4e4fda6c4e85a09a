"""From right and wrong rows to the one number that a benchmark reports, by its name.

A row is a line of `episodes.jsonl`. Every aggregation is the unweighted mean over cells of the mean
over a cell's units; it differs from others in what a unit and a cell are:

name              unit                cell
micro             row                 all rows are one
macro             row                 a category
macro9            row                 a task and domain of MME-RealWorld (5 + 4 of them)
macro_subtask     row                 one of MME-RealWorld's subtasks, such as objects_identify
macro14           row                 a subtask of BLINK
macro10           row                 a task of MIG-Bench
macro_tasks       row                 one of the 52 tasks of MMIU
cycle_mean        row                 one of the 4 rotations of HR-Bench's options
circular_strict   question in all of  all questions are one
                  its rotations

One name means one number: over fewer categories or rotations than a name stands for, `Incomplete`
is raised. `report` says the same as data. A row's `correct` may also be a score from 0 to 1, such
as ANLS. Several trainings of an agent may be mixed: each answers all questions. Rows of several
agents or datasets, or greedy and sampled ones, are not to be mixed: that is for the caller to see
to.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from . import trainings
from .bootstrap import RESAMPLES, Incomplete, Unit, by_cell, mean_of

Row = Mapping[str, Any]
Key = Callable[[Row], str]

BLINK = (
    *("art_style", "counting", "forensic_detection", "functional_correspondence", "iq_test"),
    *("jigsaw", "multi_view_reasoning", "object_localization", "relative_depth"),
    *("relative_reflectance", "semantic_correspondence", "spatial_relation"),
    *("visual_correspondence", "visual_similarity"),
)
MIG_BENCH = (
    *("region", "common_object", "object_tracking", "diff", "group_grounding", "multi_view"),
    *("correspondence", "reasoning", "refer_grounding", "view_diff"),
)
MMIU_TASKS = 52
HR_BENCH_CYCLES = 4
REAL_WORLD_DOMAINS = {"perception": 5, "reasoning": 4}
"""MME-RealWorld has no questions of reasoning on remote sensing."""


def micro(rows: Sequence[Row]) -> float:
    """Mean over the rows.

    >>> micro([{"correct": True, "question_id": "a"}, {"correct": False, "question_id": "b"}])
    0.5
    """
    return mean_of(units("micro", rows))


def macro(
    rows: Sequence[Row], level: int | None = None, names: Collection[str] | None = None
) -> float:
    """Unweighted mean over categories.

    `level`: how many parts of a category are looked at (None: all). `names`: the categories that
    there have to be, neither more nor fewer, written in any case; parts are joined by "/".
    """
    return mean_of(_macro(rows, level, names))


def macro9(rows: Sequence[Row]) -> float:
    """MME-RealWorld: unweighted mean over the 9 cells of task (perception, reasoning) x domain."""
    return mean_of(units("macro9", rows))


def macro_subtask(rows: Sequence[Row]) -> float:
    """MME-RealWorld: unweighted mean over its subtasks, as the loader names them."""
    return mean_of(units("macro_subtask", rows))


def macro14(rows: Sequence[Row]) -> float:
    """BLINK: unweighted mean over its 14 subtasks."""
    return mean_of(units("macro14", rows))


def macro10(rows: Sequence[Row]) -> float:
    """MIG-Bench: unweighted mean over its 10 tasks."""
    return mean_of(units("macro10", rows))


def macro_tasks(rows: Sequence[Row]) -> float:
    """MMIU: unweighted mean over its 52 tasks."""
    return mean_of(units("macro_tasks", rows))


def cycle_mean(rows: Sequence[Row]) -> float:
    """HR-Bench: accuracy per rotation of the options, then the mean over the 4 rotations."""
    return mean_of(units("cycle_mean", rows))


def circular_strict(rows: Sequence[Row], rotations: int | None = None) -> float:
    """Share of the questions that are right in all of their rotations. Not the HR-Bench score.

    `rotations`: how many each question has; None: as many as it has options. A question with fewer
    raises Incomplete: it would be easier than the others.
    """
    return mean_of(_circular(rows, rotations))


def interval(
    rows: Sequence[Row],
    aggregation: str = "micro",
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95% interval of an aggregation: low and high.

    Wilson's for questions that are asked once, all in one cell. Else its error is that of a
    bootstrap. Questions are drawn, not rows: all rows with one `group_id`, or else one
    `question_id`, come and go together. Within every cell as many are drawn as there are, for the
    cells are the benchmark's design. Where a cell has few clusters, or all are alike, a bootstrap
    has little to vary and is too sure: then Wilson's intervals of the cells are combined (Zou and
    Donner 2008). Rows of several trainings: see `trainings`. The same rows and seed give the same
    interval.

    Raises Incomplete as the aggregation does.
    """
    return trainings.interval(units(aggregation, rows), resamples=resamples, seed=seed)


def report(dataset: str, rows: Sequence[Row], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """All aggregations of a dataset's benchmark, the headline first, as JSON-able data.

    `{name: {"value", "interval", "n" (units), "clusters", "cells": {cell: {"value", "n"}}}}`, or
    `{name: {"incomplete": why}}` where the rows are not enough for the name.
    """
    result: dict[str, dict[str, Any]] = {}
    for name in AGGREGATIONS.get(dataset, DEFAULT):
        try:
            found = units(name, rows)
            estimate = trainings.estimate(found, seed=seed)
        except Incomplete as error:
            result[name] = {"incomplete": str(error)}
            continue
        cells = {
            cell: {"value": sum(values) / len(values), "n": len(values)}
            for cell, values in sorted(by_cell(found).items())
        }
        result[name] = {
            **estimate,
            "n": len(found),
            "clusters": len({unit.cluster for unit in found}),
            "cells": cells,
        }
    return result


# -- What counts, and where


def units(name: str, rows: Sequence[Row]) -> list[Unit]:
    """The units of an aggregation. Raises Incomplete; ValueError for an unknown name, or no row."""
    if name not in _UNITS:
        raise ValueError(f"aggregation: got {name!r}, expected one of {', '.join(_UNITS)}")
    if not rows:
        raise Incomplete(f"{name}: got no rows, expected some")
    return _UNITS[name](rows)


def _each(rows: Iterable[Row], cell: Key) -> list[Unit]:
    return [
        Unit(float(row["correct"]), cell(row), cluster_of(row), training_of(row)) for row in rows
    ]


def cluster_of(row: Row) -> str:
    """What a row is drawn with: all rows of a question, in all of its rotations."""
    return f"group {row['group_id']}" if row.get("group_id") else f"question {row['question_id']}"


def training_of(row: Row) -> int:
    return int(row.get("training", 0))


def _macro(
    rows: Sequence[Row],
    level: int | None = None,
    names: Collection[str] | None = None,
    called: str = "macro",
) -> list[Unit]:
    found = _each(rows, lambda row: "/".join(category_of(row)[:level]))
    if names is not None:
        expected = {plain(name) for name in names}
        _compare(called, {unit.cell for unit in found}, expected)
    return found


def _compare(called: str, found: Collection[str], expected: Collection[str]) -> None:
    missing = sorted(set(expected) - set(found))
    unknown = sorted(set(found) - set(expected))
    if missing or unknown:
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"unknown: {', '.join(unknown)}"] if unknown else []
        raise Incomplete(
            f"{called}: got {len(found)} categories, expected its {len(expected)}: "
            + "; ".join(parts)
        )


def _real_world_cells(rows: Sequence[Row], called: str = "macro9") -> list[Unit]:
    found = _macro(rows, 2)
    domains: dict[str, set[str]] = defaultdict(set)
    for unit in found:
        task, _, domain = unit.cell.partition("/")
        domains[task].add(domain)
    counts = {task: len(names) for task, names in domains.items()}
    if counts != REAL_WORLD_DOMAINS or not domains["reasoning"] < domains["perception"]:
        cells = ", ".join(sorted({unit.cell for unit in found}))
        raise Incomplete(
            f"{called}: got the cells {cells}; expected perception on 5 domains and reasoning on "
            "4 of them"
        )
    return found


def _subtasks(rows: Sequence[Row]) -> list[Unit]:
    _real_world_cells(rows, "macro_subtask")

    for row in rows:
        if len(parts := category_of(row)) < 3:
            raise Incomplete(
                f"macro_subtask: question {row['question_id']!r}: got category "
                f"{'/'.join(parts)}, expected task, domain and subtask"
            )
    return _macro(rows)


def _tasks(rows: Sequence[Row]) -> list[Unit]:
    found = _each(rows, lambda row: category_of(row)[-1])
    if (count := len({unit.cell for unit in found})) != MMIU_TASKS:
        raise Incomplete(f"macro_tasks: got {count} tasks, expected {MMIU_TASKS}")
    return found


def _cycles(rows: Sequence[Row]) -> list[Unit]:
    found = _each(rows, lambda row: str(row.get("cycle_id", "")))
    names = sorted({unit.cell for unit in found})
    if len(names) != HR_BENCH_CYCLES or "" in names:
        raise Incomplete(
            f"cycle_mean: got the rotations {', '.join(map(repr, names))}, "
            f"expected {HR_BENCH_CYCLES} of them"
        )
    asked = Counter((unit.cluster, unit.training) for unit in found)
    if short := [cluster for (cluster, _), count in asked.items() if count != HR_BENCH_CYCLES]:
        raise Incomplete(
            f"cycle_mean: {len(short)} of {len(asked)} questions lack rotations or have them "
            f"twice: {short[0]}"
        )
    return found


def _circular(rows: Sequence[Row], rotations: int | None = None) -> list[Unit]:
    groups: dict[tuple[str, int], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        group, cycle = cluster_of(row), str(row.get("cycle_id", ""))
        cycles = groups[group, training_of(row)]
        if cycle in cycles:
            raise Incomplete(
                f"circular_strict: {group}: got rotation {cycle!r} twice, expected one row each"
            )
        cycles[cycle] = row
    found, short = [], []
    for (group, training), cycles in groups.items():
        expected = rotations or max(int(row["n_options"]) for row in cycles.values())
        if len(cycles) != expected:
            short.append(f"{group} has {len(cycles)} of {expected}")
        right = all(row["correct"] for row in cycles.values())
        found.append(Unit(float(right), "", group, training))
    if short:
        raise Incomplete(
            f"circular_strict: {len(short)} of {len(groups)} questions lack rotations: {short[0]}"
        )
    return found


def category_of(row: Row) -> tuple[str, ...]:
    """A row's category in a form in which the spellings of different files agree.

    >>> category_of({"category": ["Perception", "Autonomous_Driving"]})
    ('perception', 'autonomous_driving')
    """
    return tuple(plain(part) for part in row["category"]) or ("",)


def plain(text: str) -> str:
    """Lower case, one underscore for spaces, hyphens and underscores.

    >>> plain("Multi-view Reasoning")
    'multi_view_reasoning'
    """
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    return re.sub(r"[\s_-]+", "_", folded)


_UNITS: dict[str, Callable[[Sequence[Row]], list[Unit]]] = {
    "micro": lambda rows: _each(rows, lambda row: ""),
    "macro": _macro,
    "macro9": _real_world_cells,
    "macro_subtask": _subtasks,
    "macro14": lambda rows: _macro(rows, 1, BLINK, "macro14"),
    "macro10": lambda rows: _macro(rows, 1, MIG_BENCH, "macro10"),
    "macro_tasks": _tasks,
    "cycle_mean": _cycles,
    "circular_strict": _circular,
}
NAMES = tuple(_UNITS)

DEFAULT = ("micro",)
AGGREGATIONS: dict[str, tuple[str, ...]] = {
    "vstar": ("micro", "macro"),
    "hrbench": ("cycle_mean", "micro", "circular_strict"),
    "mme_realworld": ("micro", "macro9", "macro_subtask"),
    "treebench": ("micro", "macro"),
    "blink": ("macro14", "micro"),
    "mmiu": ("macro_tasks", "micro"),
    "migbench": ("macro10", "micro"),
}
"""Dataset -> what its benchmark reports, the headline first; others report `DEFAULT`."""
