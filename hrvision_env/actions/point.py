r"""Points in replies.

Two ways to write them, both read by both parsers; tags go first when a text holds both:

json   a list of `{"point_2d": [x, y], "label": "..."}`, fenced or bare (Qwen2.5-VL, Qwen3-VL)
tags   `<point x="10.5" y="20.1" alt="...">...</point>` or, for several points,
       `<points x1="10.5" y1="20.1" x2="30.0" y2="40.2" alt="...">...</points>`

Molmo writes the tags with one decimal, as percentages of the width and the height; Qwen2.5-VL and
Qwen3-VL write the same tags with whole numbers in their own dialect. So the numbers of a tag are
percentages when one of them has a decimal point (`PointAction.percent`), and in the agent's dialect
when none has.

The strict parser wants whole numbers in JSON (decimals only in the dialect `relative_1`). The
lenient one takes decimals, a single object, JSON anywhere in the text, and `point` for `point_2d`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from . import InvalidReason, Refusal
from ._values import (
    INDEX_KEYS,
    MAX_TEXT,
    clean_label,
    decode,
    gather,
    json_anywhere,
    json_lists,
    number_fault,
    written,
)

_KEYS = ("point_2d", "point")
_TAG = re.compile(r"<points?(?=\s)")
_ATTRIBUTE = re.compile(r'\s+([A-Za-z]\w{0,7})\s*=\s*"([^"]*)"')
_COORDINATE = re.compile(r"([xy])([0-9]{0,4})")


@dataclass(frozen=True, slots=True)
class PointAction:
    """A point as the agent wrote it."""

    x: float
    y: float
    image_index: int | None = None
    """Which of the images shown so far, counted from 0; None: the reply names none."""
    label: str = ""
    percent: bool = False
    """x and y are percentages of the shown image's sides; otherwise in the agent's dialect."""

    @property
    def numbers(self) -> tuple[float, float]:
        return self.x, self.y


Found = PointAction | Refusal


def parse(
    text: str, parser: str = "strict", dialect: str = "absolute", limit: int = 1
) -> tuple[Found, ...]:
    """Read the first `limit` points of a reply: at least one item, each an action or a refusal.

    Pure; raises nothing, whatever the text.

    >>> parse('[{"point_2d": [125, 200], "label": "sign"}]')
    (PointAction(x=125, y=200, image_index=None, label='sign', percent=False),)
    >>> parse('<point x="10.5" y="20.1" alt="sign">sign</point>')
    (PointAction(x=10.5, y=20.1, image_index=None, label='sign', percent=True),)
    """
    if not text.strip():
        return (Refusal(InvalidReason.EMPTY),)
    if len(text) > MAX_TEXT:
        return (Refusal(InvalidReason.TOO_LONG),)
    if _TAG.search(text):
        found = _read_tags(text)
    elif parser == "lenient":
        found = json_anywhere(text, _points)
    else:
        found = _read_lists(text, whole=dialect != "relative_1")
    if parser == "strict":
        return tuple(islice(found, limit)) or (Refusal(InvalidReason.NO_POINT),)
    actions, refusal = gather(found, limit)
    return actions or (refusal or Refusal(InvalidReason.NO_POINT),)


# -- JSON


def _read_lists(text: str, whole: bool) -> Iterator[Found]:
    for item in json_lists(text):
        found = item if isinstance(item, Refusal) else _point(item, _KEYS[:1], ("image_index",))
        decimals = isinstance(found, PointAction) and any(type(n) is float for n in found.numbers)
        yield Refusal(InvalidReason.NOT_INTEGERS, found.numbers) if whole and decimals else found


def _points(value: Any) -> list[Found]:
    """The points in an object or a list of objects."""
    items = value if isinstance(value, list) else [value]
    return [_point(item, _KEYS, INDEX_KEYS) for item in items] or [Refusal(InvalidReason.NO_POINT)]


def _point(item: Any, keys: Iterable[str], index_keys: Iterable[str]) -> Found:
    """The point under the first of these keys in an item."""
    found = written(item, keys, 2, index_keys, InvalidReason.NO_POINT)
    if isinstance(found, Refusal):
        return found
    (x, y), index, label = found
    return PointAction(x, y, index, label)


# -- tags


def _read_tags(text: str) -> Iterator[Found]:
    end = 0
    while match := _TAG.search(text, end):
        attributes, end = _attributes(text, match.end())
        yield from _tag_points(attributes)


def _attributes(text: str, start: int) -> tuple[dict[str, str], int]:
    """The attributes that follow a position, and where they end."""
    attributes: dict[str, str] = {}
    while match := _ATTRIBUTE.match(text, start):
        attributes.setdefault(match.group(1).lower(), match.group(2))
        start = match.end()
    return attributes, start


def _tag_points(attributes: dict[str, str]) -> Iterator[Found]:
    """The points of one tag, in the order of their x. Every x needs a y with the same number."""
    named = {name: _COORDINATE.fullmatch(name) for name in attributes}
    axes = {name: match.groups() for name, match in named.items() if match}
    if not axes:
        yield Refusal(InvalidReason.NOT_TWO_NUMBERS)
    percent = any("." in attributes[name] for name in axes)
    label = clean_label(attributes.get("alt"))
    for axis, number in axes.values():
        if axis == "y" and f"x{number}" in axes:
            continue
        pair = f"[{attributes.get('x' + number, '')},{attributes.get('y' + number, '')}]"
        value, end = decode(pair)
        if fault := number_fault(value if end == len(pair) else None, 2):
            yield Refusal(fault)
        else:
            yield PointAction(value[0], value[1], None, label, percent)
