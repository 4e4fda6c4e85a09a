"""Boxes and answers as an agent would write them: the reverse of what `actions` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .actions.forms import FORMS, TOOL
from .images import Frame, Numbers
from .records import Box

CUT = 0.9
"""Of the longest side that is allowed, where an image is too thin: leaves room for rounding."""
INDEXED = tuple(form.name for form in FORMS.values() if form.indexed)
"""Forms that can say which image a box is on."""


def write_boxes(form: str, boxes: Sequence[tuple[Numbers, int | None]]) -> str:
    """Boxes as a reply holds them: numbers in the agent's dialect, and which image (None: unsaid).

    >>> write_boxes("json", [((1, 2, 3, 4), None), ((5, 6, 7, 8), 1)])
    '[{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [5, 6, 7, 8], "image_index": 1}]'
    >>> write_boxes("tag", [((1, 2, 3, 4), None)])
    '<box>[1, 2, 3, 4]</box>'

    Raises ValueError for an unknown form, and for an index in a form that has no place for it.
    """
    if form not in INDEXED and any(index is not None for _, index in boxes):
        raise ValueError(f"form {form!r}: got an image index, expected {' or '.join(INDEXED)}")
    items: list[dict[str, Any]] = [
        {"bbox_2d": list(numbers)} | ({} if index is None else {"image_index": index})
        for numbers, index in boxes
    ]
    if form == "json":
        return json.dumps(items)
    if form == "tool":
        calls = [json.dumps({"name": TOOL, "arguments": item}) for item in items]
        return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)
    if form == "tag":
        return "\n".join(f"<box>{json.dumps(item['bbox_2d'])}</box>" for item in items)
    if form == "qwen":
        corners = [item["bbox_2d"] for item in items]
        return "\n".join(
            f"<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>" for x1, y1, x2, y2 in corners
        )
    raise ValueError(f"form: got {form!r}, expected json, qwen, tag or tool")


def write_answer(answer: str) -> str:
    r"""An answer as a final reply holds it, in `\boxed{}`; in tags when braces would break it."""
    if set(answer) & set("{}\\"):
        return f"<answer>{answer}</answer>"
    return f"\\boxed{{{answer}}}"


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all of some boxes of one image."""
    return Box(
        min(box.x1 for box in boxes),
        min(box.y1 for box in boxes),
        max(box.x2 for box in boxes),
        max(box.y2 for box in boxes),
        boxes[0].image_index,
    )


def large_enough(box: Box, frame: Frame, min_side: float, max_aspect: float = 100) -> Box:
    """The box, grown about its centre until it is valid and moved into the shown image.

    `min_side` in seen pixels, exclusive; rounding to the dialect's whole numbers is allowed for.
    Where the image itself is thinner than `max_aspect`, the box is cut to a part that is not.
    """
    left, top, right, bottom = shown(frame)
    scale_x, scale_y = (right - left) / frame.seen[0], (bottom - top) / frame.seen[1]
    wide, high = box.width / scale_x / max_aspect, box.height / scale_y / max_aspect
    x = _stretch((box.x1, box.x2), (left, right), frame.seen[0], max(min_side, high))
    y = _stretch((box.y1, box.y2), (top, bottom), frame.seen[1], max(min_side, wide))
    x, y = (
        _cut(x, scale_x, (y[1] - y[0]) / scale_y * max_aspect),
        _cut(y, scale_y, (x[1] - x[0]) / scale_x * max_aspect),
    )
    return Box(x[0], y[0], x[1], y[1], box.image_index, box.label)


def shown(frame: Frame) -> Numbers:
    """Corners in original pixels of what a frame shows."""
    return frame.region or (0, 0, *frame.original)


Span = tuple[float, float]
"""Start and end along one axis, in original pixels."""


def _stretch(span: Span, whole: Span, seen: int, least: float) -> Span:
    """At least `least` seen pixels long, within `whole`, which is `seen` pixels long as seen."""
    margin = 2 * max(1.0, seen / 1000)
    length = whole[1] - whole[0]
    needed = min((least + margin) * length / seen, length)
    centre, side = (span[0] + span[1]) / 2, min(max(span[1] - span[0], needed), length)
    start = min(max(centre - side / 2, whole[0]), whole[1] - side)
    return start, start + side


def _cut(span: Span, scale: float, most: float) -> Span:
    """Shorter than `most` seen pixels, of `scale` original pixels each."""
    if (span[1] - span[0]) / scale < most:
        return span
    centre, half = (span[0] + span[1]) / 2, most * CUT * scale / 2
    return centre - half, centre + half
