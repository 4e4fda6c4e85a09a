"""Boxes in replies: `[{"bbox_2d": [x1, y1, x2, y2], "label": "..."}]`, fenced as json or bare.

Two parsers. `strict` wants a JSON list whose first item holds four numbers (whole ones, except in
the dialect `relative_1`), a box that is valid as it stands, and changes nothing. `lenient` takes
any of: decimals, a single object, four bare numbers, `bbox` or `box` for `bbox_2d`; it orders the
corners and clamps them to the image.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..images import DIALECTS, Frame, Numbers
from ..records import Box
from . import InvalidReason, Refusal

PARSERS = ("strict", "lenient")
MAX_TEXT = 100_000
"""Characters of a reply; longer ones are refused unread."""
MAX_JSON = 8_192
"""Characters from the start of a JSON value to where reading it gives up."""
MAX_STARTS = 32
"""Places at which the lenient parser tries to read JSON."""
MAX_ASPECT = 100
"""Boxes this thin, or thinner, are refused."""

# A fence that opens a list; without one, the first list of objects.
_FENCED = re.compile(r"```(?:json)?\s*(?=\[)", re.IGNORECASE)
_BARE = re.compile(r"\[\s*\{")
_START = re.compile(r"[\[{]")
_KEYS = ("bbox_2d", "bbox", "box")


@dataclass(frozen=True, slots=True)
class BoxAction:
    """A box as the agent wrote it."""

    numbers: Numbers
    """Left, top, right, bottom in the agent's dialect."""
    image_index: int = 0
    """With several images: which one, counted from 0. The optional key `image_index`."""
    label: str = ""


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def parse(text: str, parser: str = "strict", dialect: str = "absolute") -> BoxAction | Refusal:
    """Read the first box of a reply. Pure; raises nothing, whatever the text.

    >>> parse('Here: [{"bbox_2d": [125, 200, 250, 325], "label": "sign"}]')
    BoxAction(numbers=(125, 200, 250, 325), image_index=0, label='sign')
    >>> parse("I cannot see it.")
    Refusal(reason=<InvalidReason.NO_JSON: 'no_json'>, numbers=())
    """
    if not text.strip():
        return Refusal(InvalidReason.EMPTY)
    if len(text) > MAX_TEXT:
        return Refusal(InvalidReason.TOO_LONG)
    if parser == "strict":
        return _parse_strict(text, whole=dialect != "relative_1")
    return _parse_lenient(text)


def _parse_strict(text: str, whole: bool) -> BoxAction | Refusal:
    if fence := _FENCED.search(text):
        start = fence.end()
    elif bare := _BARE.search(text):
        start = bare.start()
    else:
        return Refusal(InvalidReason.NO_JSON)
    value = _decode(text, start)
    if value is None:
        return Refusal(InvalidReason.BAD_JSON)
    item = value[0] if value else None
    if not isinstance(item, dict) or "bbox_2d" not in item:
        return Refusal(InvalidReason.NO_BOX)
    action = _action(item, item["bbox_2d"])
    if not whole or isinstance(action, Refusal):
        return action
    if any(isinstance(n, float) for n in action.numbers):
        return Refusal(InvalidReason.NOT_INTEGERS, action.numbers)
    return action


def _parse_lenient(text: str) -> BoxAction | Refusal:
    refusal = Refusal(InvalidReason.NO_JSON)
    for tried, start in enumerate(_START.finditer(text)):
        if tried == MAX_STARTS:
            break
        value = _decode(text, start.start())
        found = Refusal(InvalidReason.BAD_JSON) if value is None else _find(value)
        if isinstance(found, BoxAction):
            return found
        if refusal.reason in (InvalidReason.NO_JSON, InvalidReason.BAD_JSON):
            refusal = found
    return refusal


def _find(value: Any) -> BoxAction | Refusal:
    """The box in an object, a list of objects or a list of numbers."""
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        value = value[0]
    if isinstance(value, list):
        numeric = value and all(isinstance(n, int | float) for n in value)
        return _action({}, value) if numeric else Refusal(InvalidReason.NO_BOX)
    if isinstance(value, dict):
        for key in _KEYS:
            if key in value:
                return _action(value, value[key])
    return Refusal(InvalidReason.NO_BOX)


def _decode(text: str, start: int) -> Any:
    """The JSON value at a position, or None. Nesting and size are bounded by MAX_JSON."""
    try:
        return _decoder.raw_decode(text[start : start + MAX_JSON])[0]
    except (ValueError, RecursionError):
        return None


def _action(item: dict[str, Any], numbers: Any) -> BoxAction | Refusal:
    if not isinstance(numbers, list) or len(numbers) != 4:
        return Refusal(InvalidReason.NOT_FOUR_NUMBERS)
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        return Refusal(InvalidReason.NOT_FOUR_NUMBERS)
    # Compared before anything converts: an integer of a thousand digits does not fit a float.
    if not all(-1e9 < n < 1e9 for n in numbers):
        return Refusal(InvalidReason.NOT_FINITE)
    index = item.get("image_index", 0)
    if isinstance(index, bool) or not isinstance(index, int):
        return Refusal(InvalidReason.NO_SUCH_IMAGE, tuple(numbers))
    label = item.get("label")
    x1, y1, x2, y2 = numbers
    return BoxAction((x1, y1, x2, y2), index, label[:200] if isinstance(label, str) else "")


@dataclass(frozen=True, slots=True)
class BoxRules:
    """Which boxes are valid; checked once, at construction."""

    parser: str = "strict"
    dialect: str = "absolute"
    min_side: float = 28
    """Sides must be longer than this, in seen pixels."""

    def __post_init__(self) -> None:
        if self.parser not in PARSERS:
            raise ValueError(f"box_parser: got {self.parser!r}, expected one of {PARSERS}")
        if self.dialect not in DIALECTS:
            raise ValueError(f"box_dialect: got {self.dialect!r}, expected one of {DIALECTS}")
        number = isinstance(self.min_side, int | float) and not isinstance(self.min_side, bool)
        if not number or not 0 <= self.min_side < math.inf:
            raise ValueError(f"min_box: got {self.min_side!r}, expected 0 or more seen pixels")

    def read(self, text: str, frames: Sequence[Frame]) -> tuple[Box, BoxAction] | Refusal:
        """The box of a reply on the original image, with the action it came from; or why not."""
        action = parse(text, self.parser, self.dialect)
        if isinstance(action, Refusal):
            return action
        if not 0 <= action.image_index < len(frames):
            return Refusal(InvalidReason.NO_SUCH_IMAGE, action.numbers)
        frame = frames[action.image_index]
        corners = frame.read(action.numbers, self.dialect)
        if self.parser == "lenient":
            corners = _tidy(corners, frame)
        if reason := self._fault(corners, frame):
            return Refusal(reason, action.numbers)
        return frame.box(corners, action.image_index, action.label), action

    def _fault(self, corners: Numbers, frame: Frame) -> InvalidReason | None:
        x1, y1, x2, y2 = corners
        wide, high = x2 - x1, y2 - y1
        if wide <= 0 or high <= 0:
            return InvalidReason.INVERTED
        if x1 < 0 or y1 < 0 or x2 > frame.seen[0] or y2 > frame.seen[1]:
            return InvalidReason.OUTSIDE
        if min(wide, high) <= self.min_side:
            return InvalidReason.TOO_SMALL
        if max(wide, high) >= MAX_ASPECT * min(wide, high):
            return InvalidReason.TOO_THIN
        return None


def _tidy(corners: Numbers, frame: Frame) -> Numbers:
    """Order the corners and move them into the image."""
    wide, high = frame.seen
    x1, x2 = sorted(min(max(x, 0), wide) for x in (corners[0], corners[2]))
    y1, y2 = sorted(min(max(y, 0), high) for y in (corners[1], corners[3]))
    return x1, y1, x2, y2
