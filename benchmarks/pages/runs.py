"""A training run as its folder tells it: numbers by step, settings, what was said, episodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..statistics.intervals import wilson
from .plots import Series

EPISODES = "episodes.jsonl"


@dataclass(frozen=True)
class TrainedRun:
    """One training."""

    name: str
    folder: Path
    rows: Sequence[Mapping[str, Any]]
    """Of metrics.jsonl, in their order."""
    config: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[str] = ()
    """Lines of log.txt."""
    versions: Mapping[str, Any] = field(default_factory=dict)
    episodes: Mapping[int, int] = field(default_factory=dict)
    """Step -> how many training episodes were kept of it."""

    def series(self, split: str, metric: str) -> Series | None:
        """Steps and values of a metric; None where the run has none."""
        found = [
            (row["step"], row[metric])
            for row in self.rows
            if row.get("split") == split and isinstance(row.get(metric), int | float)
        ]
        if not found:
            return None
        steps, values = zip(*found, strict=True)
        return steps, values

    def intervals(self, split: str, metric: str) -> list[tuple[float, float]]:
        """95% intervals of a share's values (Wilson), of rows that say how many questions were
        asked; empty where any does not."""
        rows = [
            (row[metric], row.get("n"))
            for row in self.rows
            if row.get("split") == split and isinstance(row.get(metric), int | float)
        ]
        known = [(share, n) for share, n in rows if isinstance(n, int | float) and 0 <= share <= 1]
        return [wilson(share * n, n) for share, n in known] if len(known) == len(rows) else []

    def asked(self, split: str) -> int | None:
        """How many questions the last row of a split is about."""
        found = self.last(split, "n")
        return None if found is None else round(found)

    def last(self, split: str, metric: str) -> float | None:
        """The last value of a metric."""
        found = self.series(split, metric)
        return found[1][-1] if found else None


def read_run(folder: Path, name: str = "") -> TrainedRun:
    """Read a run's folder; lines that a killed run left unfinished are skipped.

    Raises ValueError without a row of numbers, OSError for what cannot be read.
    """
    rows = [row for row in _lines(folder / "metrics.jsonl") if type(row.get("step")) is int]
    if not rows:
        raise ValueError(f"{folder / 'metrics.jsonl'}: holds no row; has a step been trained?")
    log, versions = folder / "log.txt", folder / "versions.json"
    return TrainedRun(
        name or folder.name,
        folder,
        sorted(rows, key=lambda row: row["step"]),
        _mapping(yaml.safe_load((folder / "config.yaml").read_text("utf-8"))),
        log.read_text("utf-8", "replace").splitlines() if log.is_file() else (),
        _mapping(json.loads(versions.read_text("utf-8"))) if versions.is_file() else {},
        _kept(folder / EPISODES),
    )


def names_of(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart.

    >>> names_of([Path("a/seed0/mgpo"), Path("a/seed1/mgpo")])
    ['seed0/mgpo', 'seed1/mgpo']
    """
    paths = [folder.resolve().parts for folder in folders]
    longest = max(map(len, paths), default=1)
    for length in range(1, longest + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def _kept(path: Path) -> dict[int, int]:
    """The trace may be of a time when the step stood in the agent's name, `step 25`."""
    counts: dict[int, int] = {}
    for row in _lines(path) if path.is_file() else ():
        name = str(row.get("agent", ""))
        old = name.removeprefix("step ")
        step = row.get("step")
        if step is None and name != old and old.isdecimal():
            step = int(old)
        if type(step) is int:
            counts[step] = counts.get(step, 0) + 1
    return dict(sorted(counts.items()))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
