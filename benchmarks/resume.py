"""Go on with a benchmark that was interrupted: what is there, what may be kept, what is missing.

Kept are the rows of the same agent, training, dataset, question and draw. Episodes that failed
(outcome `error`) are played again, with the other draws of their question: a failure is no answer,
and a server that was away is the usual reason to go on. Their rows stay until the new ones are
there, which then count what the failed ones cost as well. A last line that was cut off is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .metrics import add_usage
from .rows import Key, Row, line_of, row_key
from .tasks import Task

EPISODES = "episodes.jsonl"

Keys = tuple[str, ...]
"""Where a value stands in nested mappings."""

FREE = ("machine", "git", "command", "workers", "pictures", "ablations", "published")
"""Parts of a manifest that may be others when a run goes on; what they were before is noted."""

NAMED = {"agents": "agent", "datasets": "dataset"}
"""Parts that hold something by name: with no answer yet, it may be anything, or gone."""


def check_same(
    out: Path, manifest: Mapping[str, Any], agents: Mapping[str, set[str]], rows: Sequence[Row]
) -> list[dict[str, Any]]:
    """Compare with the manifest of the run in a folder, if there are rows. Raises ValueError.

    What `FREE` names may be something else, so may an agent's device and those options of its
    engine that change no reply (`agents` holds their names), and all of an agent or a dataset that
    has no answer yet: both may be added, but for a first model beside scripted agents, whose rules
    are those of the first model. Returns what differed of the former: the values before, of each
    time, for the manifest's `earlier`.
    """
    answers = [row for row in rows if not is_failed(row) or has_cost(row)]
    if not answers:
        return []
    bound = {(part, row[name]) for row in answers for part, name in NAMED.items()}
    path = out / "manifest.json"
    if not path.is_file():
        raise ValueError(f"--resume: {out} has episodes and no manifest.json to compare with")
    before = dict(_read_json(path))
    earlier = before.pop("earlier", [])
    now = json.loads(json.dumps(manifest))
    for side in (before, now):
        side.pop("notes", None)  # made of the rest
    if before.get("sufficiency") is None:  # it may come afterwards
        now = {key: value for key, value in now.items() if key not in ("sufficiency", "reference")}
        before.pop("sufficiency", None)
    old, new = flat(before), flat(now)
    differ = [
        key
        for key in sorted({*old, *new})
        if not _equal(old, new, key) and (key[0] not in NAMED or key[:2] in bound)
    ]
    options: set[Keys] = {
        ("agents", name, "engine", key) for name, keys in agents.items() for key in keys
    }
    options |= {("agents", name, "device") for name in agents}
    free = {key for key in differ if key[0] in FREE or key[:4] in options}
    held = [key for key in differ if key not in free]
    if lines := _told(held, old, new):
        if _first_model(before) != _first_model(now):
            lines.append("  (scripted agents play by the rules of the first model agent)")
        raise ValueError(
            f"--resume: the run in {out} was started with something else; expected the same, or "
            "another folder\n" + "\n".join(lines)
        )
    changed = {".".join(key): old.get(key) for key in differ}
    return [*earlier, *([changed] if changed else [])]


def flat(value: Any, at: Keys = ()) -> dict[Keys, Any]:
    """Nested mappings by path.

    >>> flat({"a": {"b": 1}, "c": [2]})
    {('a', 'b'): 1, ('c',): [2]}
    """
    if not isinstance(value, Mapping) or not value:
        return {at: value}
    return {
        path: leaf for key, part in value.items() for path, leaf in flat(part, (*at, key)).items()
    }


def _told(keys: Sequence[Keys], old: Mapping[Keys, Any], new: Mapping[Keys, Any]) -> list[str]:
    """What differs, a line each; one for all of an agent or a dataset that is not in both."""
    parts = [{key[: _depth(key)] for key in side} for side in (old, new)]
    lines: dict[str, None] = {}
    for key in keys:
        part = key[: _depth(key)]
        if part == key or all(part in side for side in parts):
            line = f"{'.'.join(key)}: {_shown(old, key)} before, {_shown(new, key)} now"
        else:
            when = "before, not now" if part in parts[0] else "now, not before"
            line = f"{' '.join([NAMED.get(part[0], part[0]), *part[1:]])}: {when}"
        lines[f"  {line}"] = None
    return list(lines)


def _equal(old: Mapping[Keys, Any], new: Mapping[Keys, Any], key: Keys) -> bool:
    """Whether a value is there before and now, and the same; 1 and 1.0 are, 1 and True are not."""
    if key not in old or key not in new:
        return False
    before, now = old[key], new[key]
    return before == now and isinstance(before, bool) == isinstance(now, bool)


def _first_model(manifest: Mapping[str, Any]) -> str | None:
    """The agent whose rules scripted ones play by."""
    return next((name for name, agent in manifest["agents"].items() if "engine" in agent), None)


def _depth(key: Keys) -> int:
    """How much of a path names what it belongs to."""
    if key[0] in NAMED:
        return 2
    return 1 if key[0] == "reference" else len(key)


def _shown(values: Mapping[Keys, Any], key: Keys) -> str:
    return repr(values[key]) if key in values else "nothing"


def read_rows(out: Path, name: str = EPISODES) -> list[Row]:
    """What was played, each episode once. Raises ValueError for a line other than the last that
    is no row."""
    path = out / name
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
                "object with agent, dataset, training, sampled, draw, index and episode"
            ) from None
        rows.append(row)
    return once(rows)


def write_rows(out: Path, rows: Sequence[Row], name: str = EPISODES) -> None:
    """Replace the file by one rename."""
    path = out / name
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        file.writelines(line_of(row) for row in rows)
    unfinished.replace(path)


def once(rows: Sequence[Row]) -> list[Row]:
    """Each episode once: its last row counts, with the usage of all."""
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


def remaining(tasks: Sequence[Task], rows: Sequence[Row]) -> list[Task]:
    """The tasks without the questions that have all their rows."""
    there = {row_key(row) for row in rows}
    left = [
        replace(task, questions=tuple(n for n in task.questions if not there >= {*task.keys_of(n)}))
        for task in tasks
    ]
    return [task for task in left if task.questions]


def in_order(tasks: Sequence[Task], rows: Sequence[Row]) -> list[Row]:
    """The rows of the tasks in the tasks' order, each once."""
    found = {row_key(row): row for row in once(rows)}
    return [found[key] for task in tasks for key in task.row_keys() if key in found]
