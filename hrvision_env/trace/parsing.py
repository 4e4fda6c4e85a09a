"""Reading one line of a trace. What is in it was written by others: everything is checked."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ..records import Box, Episode
from .record import Original, Picture, Piece, Record, Spent, Tiles

MAX_DIGITS = 15
"""Of a whole number in a line: more than any pixel needs, and as many as a browser keeps."""
FARTHEST = 1e9
"""Pixels, of the corner of a box; what is farther away cannot be computed with."""
MEASURES = (
    "hit",
    "iou",
    "best_iou",
    "coverage",
    "crop_recall",
    "iogt",
    "box_side",
    "box_area",
    "crops",
    "shown_gold",
)
"""What a row of a benchmark says of the boxes, by the names of `diagnostics.Diagnostics`."""
_NAME = re.compile(r"[0-9a-f]{32}(?:\.(?:png|jpg|webp|gif))?")


def parse_line(line: bytes, number: int) -> Record:
    """Read a line of a trace, or of the episodes that `benchmarks.run` writes.

    Raises ValueError, TypeError, LookupError, AttributeError or RecursionError for a line that is
    neither; `number` is its row.
    """
    row = json.loads(line, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    if not isinstance(row, dict):
        raise ValueError(f"got {type(row).__name__}, expected an object")
    own = _from_benchmark(row) if "episode" in row else _from_trace(row)
    sample = row.pop("sample", {})
    known = {
        "pictures": tuple(tuple(_picture(p) for p in turn) for turn in row.pop("images", ())),
        "refused": tuple(
            None if box is None else _near(Box(**box)) for box in row.pop("refused", ())
        ),
        "question": str(sample.get("question", "")),
        "options": {str(key): str(text) for key, text in sample.get("options", {}).items()},
        "answers": _texts(sample.get("answers", ())),
        "gold": tuple(_check(Box(**box)) for box in sample.get("boxes", ())),
        "category": _texts(sample.get("category", ())),
        "agent": str(row.pop("agent", "")),
        "step": _optional(row.pop("step", None), int),
        "training": int(row.pop("training", 0)),
        "sampled": bool(row.pop("sampled", False)),
        "draw": int(row.pop("draw", 0)),
        "strict": _optional(row.pop("strict", None)),
        "official": _optional(row.pop("official", None)),
        "originals": tuple(_original(data) for data in row.pop("originals", ())),
        "line": number,
    }
    known.update({key: value for key, value in own.items() if value})
    if "episode" not in row:  # what is left is the episode, and nothing else
        known["episode"] = _episode(row)
    return Record(**known)


def _from_trace(row: dict[str, Any]) -> dict[str, Any]:
    """What only a line of a trace holds."""
    return {
        "label": str(row.pop("label", "")),
        "measures": {
            str(name): _optional(value)
            for name, value in row.pop("measures", {}).items()
            if value is not None
        },
        "spent": Spent(**{key: _optional(v) for key, v in row.pop("spent", {}).items()}),
        "tokens": tuple(
            tuple(_piece(*piece) for piece in segment) for segment in row.pop("tokens", ())
        ),
    }


def _from_benchmark(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row of a benchmark holds elsewhere; `tokens` are numbers there."""
    tokens = row.get("tokens") or {}
    return {
        "episode": _episode(row["episode"]),
        "label": str(row.get("dataset", "")),
        "measures": {
            name: float(row[name]) for name in MEASURES if isinstance(row.get(name), int | float)
        },
        "spent": Spent(
            _optional(tokens.get("image")),
            _optional(tokens.get("prompt")),
            _optional(tokens.get("sampled")),
            _optional(row.get("seconds")),
            _optional(row.get("latency")),
        ),
        # Rows without a sample name the right answer and the category themselves.
        **({} if "sample" in row else {"answers": _texts(row.get("gold", ()))}),
        **({} if "sample" in row else {"category": _texts(row.get("category", ()))}),
    }


def _episode(data: Mapping[str, Any]) -> Episode:
    episode = Episode.from_dict(data)
    fields = dataclasses.asdict(dataclasses.replace(episode, turns=()))
    texts = [value for name, value in fields.items() if name not in _NO_TEXTS]
    for turn in episode.turns:
        texts += [turn.text, turn.reply, turn.invalid_reason, turn.stop_reason]
        _numbers(turn.box_raw)
        for size in turn.crop_sizes:
            _places(size, 2)
        for part in turn.shown:
            _check(part.region)
            texts.append(part.question_id)
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"got {text!r:.40}, expected a text")
    for size in (*episode.image_sizes, *episode.view_sizes):
        _places(size, 2)
    for box in episode.boxes:
        _check(box)
    _numbers((episode.reward,), 1)
    return episode


_NO_TEXTS = ("image_sizes", "view_sizes", "turns", "outcome", "reward")


def _picture(data: Mapping[str, Any]) -> Picture:
    wide, high = _places(data["size"], 2)
    corners = None if data["region"] is None else _places(data["region"], 4)
    return Picture(str(data["file"]), (wide, high), int(data["image_index"]), corners)


def _original(data: Mapping[str, Any]) -> Original:
    """An original; one whose name could lead elsewhere was not kept."""
    wide, high = _places(data["size"], 2)
    cut = data.get("tiles")
    tiles = None
    if cut is not None:
        tiles = Tiles(int(cut["side"]), int(cut["levels"]), str(cut["ending"]))
        if not (16 <= tiles.side <= 8192 and 1 <= tiles.levels <= 32):
            raise ValueError(f"got tiles of {tiles.side} px in {tiles.levels} levels")
        if tiles.ending not in ("jpg", "png"):
            raise ValueError(f"got tiles named .{tiles.ending:.20}, expected .jpg or .png")
    file = str(data["file"])
    return Original(file if _NAME.fullmatch(file) else "", (wide, high), tiles)


def _piece(text: Any, trained: Any, logprob: Any = None, advantage: Any = None) -> Piece:
    if not isinstance(text, str):
        raise ValueError(f"got the token {text!r:.40}, expected a text")
    return Piece(text, bool(trained), _optional(logprob), _optional(advantage))


def _check(box: Box) -> Box:
    _places((box.x1, box.y1, box.x2, box.y2, box.image_index), 5)
    if not isinstance(box.label, str):
        raise ValueError(f"got the label {box.label!r:.40}, expected a text")
    return box


def _near(box: Box) -> Box | None:
    """A refused box, which is wherever a model wrote; None where that is beyond drawing."""
    numbers = _numbers((box.x1, box.y1, box.x2, box.y2, box.image_index), 5)
    return _check(box) if max(map(abs, numbers)) <= FARTHEST else None


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _optional(value: Any, kind: type = float) -> Any:
    """A number, or None."""
    if value is None:
        return None
    (number,) = _numbers((value,), 1)
    return kind(number)


def _numbers(values: Any, count: int | None = None) -> Any:
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not numeric or (count is not None and len(values) != count):
        raise ValueError(f"got {values!r:.60}, expected {count or 'only'} numbers")
    return tuple(values)


def _places(values: Any, count: int) -> Any:
    """Numbers that are places in a picture, or near one."""
    numbers = _numbers(values, count)
    if any(abs(number) > FARTHEST for number in numbers):
        raise ValueError(f"got {values!r:.60}, expected numbers up to {FARTHEST:.0e}")
    return numbers


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"got {text:.20}, expected a finite number")
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS + 1:
        raise ValueError(f"got {text:.20}..., expected a number of at most {MAX_DIGITS} digits")
    return int(text)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"got {name}, expected JSON")
