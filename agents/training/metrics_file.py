"""`metrics.jsonl`: a row per step and split; whole lines only, whenever the run is killed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hrvision_env.lines import append_lines

Row = dict[str, Any]
"""`{"step": 25, "split": "train", "reward_mean": 0.41}`; null where a value was not finite."""


class MetricsFile:
    """Appends rows. What a full disk refuses is kept and written with the next row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[bytes] = []
        """Lines that could not be written so far."""
        self.broken = 0
        """Lines that `resume` found to be no rows and left out."""

    def append(self, step: int, split: str, metrics: Mapping[str, float]) -> Row:
        """Add a row and return it. Raises OSError when it has to wait."""
        values = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
        row = {"step": step, "split": split, **values}
        self.waiting.append(json.dumps(row).encode() + b"\n")
        self.flush()
        return row

    def flush(self) -> None:
        """Write what waits. Raises OSError; then the file ends as before, with a whole line."""
        while self.waiting:
            append_lines(self.path, self.waiting[0])
            self.waiting.pop(0)

    def resume(self, step: int) -> list[Row]:
        """Drop the rows of steps after `step`; returns those that stay. Raises OSError."""
        rows, self.broken = _read(self.path) if self.path.is_file() else ([], 0)
        kept = [row for row in rows if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        replace_text(self.path, text)
        return kept


def replace_text(path: Path, text: str) -> None:
    """Put a file in the place of another by one rename: who reads or dies meanwhile sees one."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)


def read_metrics(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl; lines that are none, such as a half-written one of a killed run,
    are left out."""
    return _read(path)[0]


def rows_until(path: Path, step: int) -> list[Row]:
    """Those of the steps up to `step`; none where there is no file."""
    return [row for row in read_metrics(path) if row["step"] <= step] if path.is_file() else []


def _read(path: Path) -> tuple[list[Row], int]:
    """The rows, and how many other lines there are."""
    lines = [line for line in path.read_text("utf-8", "replace").split("\n") if line.strip()]
    rows = [row for row in map(_row, lines) if row is not None]
    return rows, len(lines) - len(rows)


def _row(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    values = (value for name, value in row.items() if name != "split")
    sound = all(value is None or type(value) in (int, float) for value in values)
    return row if sound and isinstance(row.get("split"), str) else None
