"""Boxes between tags: `<box>[x1, y1, x2, y2]</box>` and `<|box_start|>(x1,y1),(x2,y2)<|box_end|>`.

The text of what is there may stand in front, in tags of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ._values import decode

MAX_BODY = 1_024
"""Characters between two tags."""
MAX_REFERENCE = 300
"""Characters in front of a box that are searched for what it is called."""

_PAIRS = re.compile(r"\s*\(([^(),]*),([^(),]*)\)\s*,\s*\(([^(),]*),([^(),]*)\)\s*")
_SEPARATORS = re.compile(r"[\s,()\[\]]+")


@dataclass(frozen=True, slots=True)
class Tags:
    """How one form writes a box and what it is called."""

    opening: str
    closing: str
    reference: tuple[str, str]
    lists: bool
    """Numbers may stand in square brackets as well: one box, or several in a list of lists."""


TAGS = {
    "qwen": Tags(
        "<|box_start|>", "<|box_end|>", ("<|object_ref_start|>", "<|object_ref_end|>"), False
    ),
    "tag": Tags("<box>", "</box>", ("<ref>", "</ref>"), True),
}


@dataclass(frozen=True, slots=True)
class Tagged:
    """One box as it stands in a text."""

    body: str
    closed: bool
    label: str


def tagged(text: str, tags: Tags) -> Iterator[Tagged]:
    """All boxes between tags, in order. Boxes that follow each other directly share a label."""
    label, end = "", 0
    at = text.find(tags.opening)
    while at >= 0:
        follows = not text[end:at].strip()
        label = _reference(text, at, tags) or (label if follows else "")
        start = at + len(tags.opening)
        # The window keeps thousands of tags that never close from searching the whole text each.
        close = text.find(tags.closing, start, start + MAX_BODY)
        if close < 0:
            end = start
            yield Tagged(text[start : start + MAX_BODY].split("<", 1)[0], False, label)
        else:
            end = close + len(tags.closing)
            yield Tagged(text[start:close], True, label)
        at = text.find(tags.opening, end)


def coordinates(body: str, lists: bool) -> list[Any]:
    """The boxes between two tags, each as the JSON value that should be a list of four numbers.

    >>> coordinates("(1,2),(3,4)", lists=False)
    [[1, 2, 3, 4]]
    >>> coordinates("[[1, 2, 3, 4], [5, 6, 7]]", lists=True)
    [[1, 2, 3, 4], [5, 6, 7]]
    """
    if pairs := _PAIRS.fullmatch(body):
        return [_numbers(pairs.groups())]
    if not lists:
        return [None]
    body = body.strip()
    value, end = decode(body)
    if end < len(body) or not isinstance(value, list):
        return [None]
    return value if value and isinstance(value[0], list) else [value]


def loose_coordinates(body: str, closed: bool) -> list[Any]:
    """As `coordinates`, with brackets and commas or without. Raises nothing.

    Without a closing tag the last number may have been cut off, unless a bracket closes it.

    >>> loose_coordinates("1 2 3.5 4", closed=True)
    [[1, 2, 3.5, 4]]
    """
    if not closed and body.rstrip()[-1:] not in ("]", ")"):
        return [None]
    return [_numbers(part for part in _SEPARATORS.split(body) if part)]


def _numbers(parts: Any) -> Any:
    """Texts of numbers -> their list, read as JSON like everywhere else; None if one is no number.

    Parts hold no brackets and no commas, so the list is as long as the parts are many.
    """
    source = f"[{','.join(parts)}]"
    value, end = decode(source)
    return value if end == len(source) else None


def _reference(text: str, at: int, tags: Tags) -> str:
    """What stands in reference tags directly in front of a position."""
    opening, closing = tags.reference
    before = text[max(at - MAX_REFERENCE, 0) : at].rstrip()
    start = before.rfind(opening)
    if start < 0 or not before.endswith(closing):
        return ""
    return before[start + len(opening) : -len(closing)].strip()
