"""Go on with a benchmark that was interrupted: what is there, what may be kept, what is missing.

Kept are the rows of `episodes.jsonl` of the same agent, dataset, question and way of drawing.
Episodes that failed (outcome `error`) are played again: a failure is no answer, and a server that
was away is the usual reason to go on. Their rows stay until the new ones are there, which then
count what the failed ones cost as well. A last line that was cut off is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .evaluate import Task
from .metrics import Row, add_usage

EPISODES = "episodes.jsonl"


def check_same(
    out: Path, manifest: Mapping[str, Any], agents: Mapping[str, set[str]], rows: Sequence[Row]
) -> list[dict[str, Any]]:
    """Compare with the manifest of the run in a folder, if there are rows. Raises ValueError.

    The machine may be another one, so may those options of an agent's engine that change no
    reply (`agents` holds their names), and all of an agent that has no answer yet. Returns what
    differed of the former two: the values before, of each time, for the manifest's `earlier`.
    """
    bound = {row["agent"] for row in rows if not is_failed(row) or has_cost(row)}
    if not bound:
        return []
    path = out / "manifest.json"
    if not path.is_file():
        raise ValueError(f"--resume: {out} has episodes and no manifest.json to compare with")
    before = dict(_read_json(path))
    earlier = before.pop("earlier", [])
    old, new = flat(before), flat(json.loads(json.dumps(manifest)))
    differ = [
        key
        for key in sorted({*old, *new})
        if _shown(old, key) != _shown(new, key) and not (key[0] == "agents" and key[1] not in bound)
    ]
    options = {("agents", name, "engine", key) for name, keys in agents.items() for key in keys}
    free = {key for key in differ if key[0] == "machine" or key[:4] in options}
    lines = [
        f"  {'.'.join(key)}: {_shown(old, key)} before, {_shown(new, key)} now"
        for key in differ
        if key not in free
    ]
    if lines:
        raise ValueError(
            f"--resume: the run in {out} was started with something else; expected the same, or "
            "another folder\n" + "\n".join(lines)
        )
    changed = {".".join(key): old.get(key) for key in differ}
    return [*earlier, *([changed] if changed else [])]


def flat(value: Any, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Nested mappings by path.

    >>> flat({"a": {"b": 1}, "c": [2]})
    {('a', 'b'): 1, ('c',): [2]}
    """
    if not isinstance(value, Mapping) or not value:
        return {at: value}
    return {
        path: leaf for key, part in value.items() for path, leaf in flat(part, (*at, key)).items()
    }


def _shown(values: Mapping[tuple[str, ...], Any], key: tuple[str, ...]) -> str:
    return repr(values[key]) if key in values else "nothing"


def read_rows(out: Path) -> list[Row]:
    """What was played, each question once. Raises ValueError for a line other than the last that
    is no row."""
    path = out / EPISODES
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            row_key(row), is_failed(row)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # empty, or cut off
                break
            raise ValueError(
                f"{path}, line {number}: not a row of this program ({error!r}); expected a JSON "
                "object with agent, dataset, sampled and index"
            ) from None
        rows.append(row)
    return once(rows)


def write_rows(out: Path, rows: Sequence[Row]) -> None:
    """Replace the file by one rename."""
    path = out / EPISODES
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    unfinished.replace(path)


def once(rows: Sequence[Row]) -> list[Row]:
    """Each question once: its last row counts, with the usage of all."""
    found: dict[Key, Row] = {}
    for row in rows:
        before = found.pop(row_key(row), {})
        usages = [one["usage"] for one in (before, row) if "usage" in one]
        found[row_key(row)] = {**row, "usage": add_usage(usages)} if before and usages else row
    return list(found.values())


def is_failed(row: Row) -> bool:
    return row["episode"]["outcome"] == "error"


def has_cost(row: Row) -> bool:
    """Whether a price was put on something."""
    return any(value for name, value in row.get("usage", {}).items() if "tokens" in name)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"--resume: {path}: not JSON ({error})") from None


Key = tuple[str, str, bool, int]


def row_key(row: Row) -> Key:
    """Whose answer to which question a row is."""
    return row["agent"], row["dataset"], row["sampled"], row["index"]


def _keys(task: Task) -> list[Key]:
    return [(task.agent.name, task.dataset.name, task.sampled, n) for n in task.questions]


def remaining(tasks: Sequence[Task], rows: Sequence[Row]) -> list[Task]:
    """The tasks without the questions that have a row."""
    there = {row_key(row) for row in rows}
    left = [
        replace(task, questions=tuple(k[-1] for k in _keys(task) if k not in there))
        for task in tasks
    ]
    return [task for task in left if task.questions]


def in_order(tasks: Sequence[Task], rows: Sequence[Row]) -> list[Row]:
    """The rows of the tasks in the tasks' order, each once."""
    found = {row_key(row): row for row in once(rows)}
    return [found[key] for task in tasks for key in _keys(task) if key in found]
