"""Which boxes are valid, and where they lie on the original image.

A box is checked in the frame in which it was written, the seen pixels of the shown image that it
refers to (a view or a crop), and then mapped to the original.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..checks import check_int
from ..images import DIALECTS, Frame, Numbers
from ..records import Box
from . import InvalidReason, Refusal, box, point
from .box import PARSERS, BoxAction
from .forms import FORMS
from .point import PointAction

BOX_FRAMES = ("original", "last_image")
OUTSIDE = (None, "refuse", "clamp")
SMALL = ("refuse", "grow")

_SILENT = (
    InvalidReason.EMPTY,
    InvalidReason.NO_JSON,
    InvalidReason.NO_BOX,
    InvalidReason.NO_POINT,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rules made of one reply."""

    boxes: tuple[Box, ...]
    """All valid boxes, in the order in which they were written, in pixels of the originals."""
    raw: tuple[float, ...]
    """As written, the numbers (a box: 4, a point: 2) of the first valid item; without any, of the
    first one; () if unreadable."""
    reason: InvalidReason | None
    """Why the first box is not valid; None when there is any valid one."""


@dataclass(frozen=True, slots=True)
class BoxRules:
    """Which boxes are valid. Raises ValueError at construction for a setting that is not legal.

    >>> frame = Frame(original=(2000, 1000), seen=(560, 280))
    >>> BoxRules().read('[{"bbox_2d": [112, 70, 168, 140]}]', [frame]).boxes
    (Box(x1=400.0, y1=250.0, x2=600.0, y2=500.0, image_index=0, label=''),)
    """

    parser: str = "strict"
    dialect: str = "absolute"
    form: str = "json"
    min_side: float = 28
    """Sides must be longer than this, in seen pixels."""
    box_frame: str = "original"
    """Which image a box without an index refers to: the first one shown (`original`) or the last
    one (`last_image`)."""
    max_boxes: int = 1
    """How many boxes of a reply are read."""
    outside: str | None = None
    """What happens to a box that reaches beyond the shown image: `refuse`, or `clamp` keeps what
    lies inside. None: `refuse` with the strict parser, `clamp` with the lenient one."""
    small: str = "refuse"
    """What happens to a box with a side that is too short: `refuse`, or `grow` lengthens the side
    about its centre to the next whole pixel above `min_side`, moved into the shown image."""
    max_aspect: float = 100
    """Boxes as thin as this, or thinner, are refused: longer side / shorter side."""
    point_side: float | None = None
    """When a reply holds no box but a point: it asks for the square around the point, moved into
    the shown image, with a side of this share (0..1] of the image's shorter side. None: points
    are not read."""

    def __post_init__(self) -> None:
        _check_one_of("box_parser", self.parser, PARSERS)
        _check_one_of("box_dialect", self.dialect, DIALECTS)
        _check_one_of("box_form", self.form, tuple(FORMS))
        _check_one_of("box_frame", self.box_frame, BOX_FRAMES)
        _check_one_of("box_outside", self.outside, OUTSIDE)
        _check_one_of("box_small", self.small, SMALL)
        check_int("max_boxes", self.max_boxes)
        if not _is_number(self.min_side) or self.min_side < 0:
            raise ValueError(f"min_box: got {self.min_side!r}, expected 0 or more seen pixels")
        if not _is_number(self.max_aspect) or self.max_aspect <= 1:
            raise ValueError(f"max_aspect: got {self.max_aspect!r}, expected a number above 1")
        side = self.point_side
        if side is not None and (not _is_number(side) or not 0 < side <= 1):
            raise ValueError(
                f"point_side: got {side!r}, expected None or a share above 0 and at most 1"
            )

    def read(self, text: str, frames: Sequence[Frame]) -> Reading:
        """The boxes that a reply asks for. Pure; raises nothing, whatever the text.

        `frames` are those of all images shown so far in the conversation, in the order of their
        markers; an index in the reply names one of them, counted from 0.
        """
        written = self._parse(text)
        placed = [self._place(item, frames) for item in written]
        boxes = tuple(out for out in placed if isinstance(out, Box))
        for item, out in zip(written, placed, strict=True):
            if isinstance(out, Box):
                return Reading(boxes, item.numbers, None)
        first = placed[0]
        assert not isinstance(first, Box)
        return Reading((), written[0].numbers, first)

    def _parse(self, text: str) -> Sequence[BoxAction | PointAction | Refusal]:
        items = box.parse(text, self.parser, self.dialect, self.form, self.max_boxes)
        if self.point_side is None or not self._all_silent(items):
            return items
        points = point.parse(text, self.parser, self.dialect, self.max_boxes)
        return items if self._all_silent(points) else points

    def is_silent(self, reason: InvalidReason | None) -> bool:
        """Does a reason say that a reply did not even try to point?"""
        # To the lenient parser every bracket in the text looks like broken JSON.
        stray = (InvalidReason.BAD_JSON,) if self.parser == "lenient" else ()
        return reason in (*_SILENT, *stray)

    def _all_silent(self, items: Sequence[BoxAction | PointAction | Refusal]) -> bool:
        return all(isinstance(item, Refusal) and self.is_silent(item.reason) for item in items)

    def _place(
        self, item: BoxAction | PointAction | Refusal, frames: Sequence[Frame]
    ) -> Box | InvalidReason:
        if isinstance(item, Refusal):
            return item.reason
        index = item.image_index
        if index is None:
            index = 0 if self.box_frame == "original" else len(frames) - 1
        if not 0 <= index < len(frames):
            return InvalidReason.NO_SUCH_IMAGE
        frame = frames[index]
        if isinstance(item, PointAction):
            corners = self._square(item, frame)
        else:
            corners = frame.read(item.numbers, self.dialect)
        fitted = corners if isinstance(corners, InvalidReason) else self._fit(corners, frame)
        if isinstance(fitted, InvalidReason):
            return fitted
        out = frame.box(fitted, label=item.label)
        # With `min_side=0` a side may be shorter than what a float can tell from nothing.
        return out if out.area > 0 else InvalidReason.TOO_SMALL

    @property
    def _clamps(self) -> bool:
        return (self.outside or ("clamp" if self.parser == "lenient" else "refuse")) == "clamp"

    def _fit(self, corners: Numbers, frame: Frame) -> Numbers | InvalidReason:
        """Corners in seen pixels as the rules want them, or why they cannot be."""
        wide, high = frame.seen
        x1, y1, x2, y2 = corners
        if self.parser == "lenient":
            (x1, x2), (y1, y2) = sorted((x1, x2)), sorted((y1, y2))
        if x1 >= x2 or y1 >= y2:
            return InvalidReason.INVERTED
        if self._clamps:
            x1, x2 = _into(x1, wide), _into(x2, wide)
            y1, y2 = _into(y1, high), _into(y2, high)
            if x1 >= x2 or y1 >= y2:
                return InvalidReason.INVERTED
        if x1 < 0 or y1 < 0 or x2 > wide or y2 > high:
            return InvalidReason.OUTSIDE
        if self.small == "grow":
            (x1, x2), (y1, y2) = self._grow(x1, x2, wide), self._grow(y1, y2, high)
        if min(x2 - x1, y2 - y1) <= self.min_side:
            return InvalidReason.TOO_SMALL
        if max(x2 - x1, y2 - y1) >= self.max_aspect * min(x2 - x1, y2 - y1):
            return InvalidReason.TOO_THIN
        return x1, y1, x2, y2

    def _grow(self, start: float, end: float, side: int) -> tuple[float, float]:
        """One side of a box, made long enough; as it is when the image is not long enough."""
        least = math.floor(self.min_side) + 1
        if end - start > self.min_side or least > side:
            return start, end
        return _around((start + end) / 2, least, side)

    def _square(self, action: PointAction, frame: Frame) -> Numbers | InvalidReason:
        """The square around a point, in seen pixels."""
        wide, high = frame.seen
        if action.percent:
            x, y = action.x * wide / 100, action.y * high / 100
        else:
            x, y, _, _ = frame.read((*action.numbers, *action.numbers), self.dialect)
        if self._clamps:
            x, y = _into(x, wide), _into(y, high)
        if not (0 <= x <= wide and 0 <= y <= high):
            return InvalidReason.OUTSIDE
        side = (self.point_side or 0) * min(frame.seen)
        (x1, x2), (y1, y2) = _around(x, side, wide), _around(y, side, high)
        return x1, y1, x2, y2


def _into(value: float, side: int) -> float:
    return min(max(value, 0), side)


def _around(centre: float, length: float, side: int) -> tuple[float, float]:
    """A stretch of this length around a centre, moved into 0..side."""
    start = min(max(centre - length / 2, 0), side - length)
    return start, min(start + length, side)


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -math.inf < value < math.inf


def _check_one_of(name: str, value: Any, legal: tuple[str | None, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{name}: got {value!r}, expected one of {legal}")
