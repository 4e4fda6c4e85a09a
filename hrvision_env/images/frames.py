"""Sizes and coordinates: how large an image is shown, and where its pixels are on the original.

No pixels here, only numbers. Sizes are (width, height).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..checks import check_pixels
from ..records import Box

Size = tuple[int, int]
Numbers = tuple[float, float, float, float]

DIALECTS = ("absolute", "relative_1000", "relative_1")


def fit_size(
    width: int,
    height: int,
    factor: int = 28,
    min_pixels: int = 256 * 28 * 28,
    max_pixels: int = 1280 * 28 * 28,
) -> Size:
    """The size at which a model looks at an image: multiples of `factor` within the budget.

    The numbers of `smart_resize` in the Qwen-VL image processors, so that they change nothing,
    with two differences: it refuses no aspect ratio, and where rounding takes `smart_resize` out
    of the budget the sides are computed in whole numbers: `max_pixels` is never exceeded.

    >>> fit_size(7680, 4320, max_pixels=1_000_000)
    (1316, 728)
    """
    wide, high = round(width / factor) * factor, round(height / factor) * factor
    if wide * high > max_pixels:
        shrink = math.sqrt((height * width) / max_pixels)
        wide = max(factor, math.floor(width / shrink / factor) * factor)
        high = max(factor, math.floor(height / shrink / factor) * factor)
    elif wide * high < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        wide = math.ceil(width * grow / factor) * factor
        high = math.ceil(height * grow / factor) * factor
    if min(wide, high) > 0 and min_pixels <= wide * high <= max_pixels:
        return wide, high
    # floor(sqrt(max_pixels * width / height)); a float may land just below a multiple.
    wide = max(factor, math.isqrt(max_pixels * width // height) // factor * factor)
    high = max(factor, math.isqrt(max_pixels * height // width) // factor * factor)
    wide = min(wide, max(factor, max_pixels // high // factor * factor))
    return wide, min(high, max(factor, max_pixels // wide // factor * factor))


@dataclass(frozen=True, slots=True)
class Budget:
    """How large views and crops are: sides in multiples of `factor`, area within two limits.

    `factor` is patch size x merge size of the model, so that a side of k * factor pixels makes k
    image tokens. Raises ValueError when no image fits.

    >>> Budget(max_pixels=1_000_000).fit(7680, 4320)
    (1316, 728)
    """

    factor: int = 28
    min_pixels: int = 256 * 28 * 28
    max_pixels: int = 1280 * 28 * 28

    def __post_init__(self) -> None:
        check_pixels(self.factor, self.min_pixels, self.max_pixels)

    def fit(self, width: int, height: int) -> Size:
        """The size at which an image of this size is shown: `fit_size` with this budget."""
        return fit_size(width, height, self.factor, self.min_pixels, self.max_pixels)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image as it is shown: which part of which original, and at what size.

    original      size of the original, in pixels
    seen          size of the shown image, in pixels
    region        corners in original pixels of the part that is shown; None: the whole image
    image_index   which image of the sample the original is

    >>> frame = Frame(original=(2000, 1000), seen=(560, 280))
    >>> frame.box(frame.read((125, 200, 250, 325), "relative_1000"))
    Box(x1=250.0, y1=200.0, x2=500.0, y2=325.0, image_index=0, label='')
    >>> nested = Frame((2000, 1000), (560, 280), region=(500.0, 250.0, 1000.0, 500.0))
    >>> nested.box((0, 0, 280, 140))  # the left upper quarter of a crop
    Box(x1=500.0, y1=250.0, x2=750.0, y2=375.0, image_index=0, label='')
    """

    original: Size
    seen: Size
    region: Numbers | None = None
    image_index: int = 0

    def to_original(self, x: float, y: float) -> tuple[float, float]:
        """Seen pixels -> original pixels."""
        x1, y1, x2, y2 = self._corners()
        return _stretch(x, self.seen[0], x1, x2), _stretch(y, self.seen[1], y1, y2)

    def to_seen(self, x: float, y: float) -> tuple[float, float]:
        """Original pixels -> seen pixels; outside the shown image for what is not shown."""
        x1, y1, x2, y2 = self._corners()
        return (x - x1) * self.seen[0] / (x2 - x1), (y - y1) * self.seen[1] / (y2 - y1)

    def read(self, numbers: Numbers, dialect: str) -> Numbers:
        """Four numbers as the agent wrote them -> corners in seen pixels."""
        wide, high = self._limits(dialect)
        x1, y1, x2, y2 = numbers
        return (
            x1 * self.seen[0] / wide,
            y1 * self.seen[1] / high,
            x2 * self.seen[0] / wide,
            y2 * self.seen[1] / high,
        )

    def write(self, box: Box, dialect: str) -> Numbers:
        """A box -> the numbers an agent would write: whole ones, except in `relative_1`.

        Cut to the shown image.
        """
        digits = 4 if dialect == "relative_1" else None
        wide, high = self._limits(dialect)
        left, top, right, bottom = self._corners()

        def number(value: float, start: float, end: float, limit: int) -> float:
            return min(max(round((value - start) * limit / (end - start), digits), 0), limit)

        return (
            number(box.x1, left, right, wide),
            number(box.y1, top, bottom, high),
            number(box.x2, left, right, wide),
            number(box.y2, top, bottom, high),
        )

    def box(self, corners: Numbers, label: str = "") -> Box:
        """Corners in seen pixels -> a `Box` on the original."""
        x1, y1 = self.to_original(corners[0], corners[1])
        x2, y2 = self.to_original(corners[2], corners[3])
        return Box(x1, y1, x2, y2, self.image_index, label)

    def _corners(self) -> Numbers:
        return self.region or (0, 0, *self.original)

    def _limits(self, dialect: str) -> Size:
        """What the right and the bottom edge are called in a dialect."""
        if dialect == "absolute":
            return self.seen
        if dialect not in DIALECTS:
            raise ValueError(f"dialect: got {dialect!r}, expected one of {', '.join(DIALECTS)}")
        return (1000, 1000) if dialect == "relative_1000" else (1, 1)


def _stretch(value: float, side: int, start: float, end: float) -> float:
    """0..side -> start..end. Multiplying before dividing keeps whole numbers exact, and what
    lies inside the shown image never lands outside its region by a rounding error."""
    out = start + value * (end - start) / side
    return min(out, end) if value <= side else out
