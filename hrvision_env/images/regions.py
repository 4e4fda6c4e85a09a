"""Originals too large to be held in memory: read in rectangles, resampled in strips.

`resample` gives the pixels that Pillow's `resize` of the whole image gives. Pillow resamples rows
first and columns after that, with 8 bits in between; so rows can be done a strip at a time. A
rectangle is read with a margin as wide as the filter reaches, and corners are rounded to 32 bits
like Pillow's own before they are moved, which then costs no precision. (Pillow 13 takes the columns
first where an image is much taller than wide; there pixels differ by what rounding does.)
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from .decode import Level, turn
from .frames import Numbers, Size
from .pixels import FILTER, to_rgb

Rect = tuple[int, int, int, int]
"""Left, top, right, bottom in whole pixels; half open."""

STRIP_PIXELS = 1 << 23
"""Of an original are in memory at a time: 24 MB as stored, 32 MB in Pillow."""

_REACH = 2
"""Pixels that the bicubic filter looks to each side, at scale 1."""


class Original(Protocol):
    """An image whose pixels stay outside memory."""

    @property
    def size(self) -> Size:
        """Upright."""

    def read(self, rect: Rect) -> Image.Image:
        """A part of the upright image, RGB."""


def resampling_bytes(original: Original, size: Size, box: Numbers) -> int:
    """Memory that `resample` takes: a strip as stored and in Pillow, rows of the new width, and
    the result; 4 bytes per pixel of each."""
    left, right = _reach(box[0], box[2], size[0], original.size[0])
    top, bottom = _reach(box[1], box[3], size[1], original.size[1])
    strip = min(STRIP_PIXELS, (right - left) * (bottom - top))
    return 4 * (2 * strip + size[0] * (bottom - top + size[1]))


def resample(original: Original, size: Size, box: Numbers) -> Image.Image:
    """A box of the original at another size."""
    x1, y1, x2, y2 = (float(np.float32(corner)) for corner in box)
    left, right = _reach(x1, x2, size[0], original.size[0])
    top, bottom = _reach(y1, y2, size[1], original.size[1])
    rows = Image.new("RGB", (size[0], bottom - top))
    step = 1 << max((STRIP_PIXELS // (right - left)).bit_length() - 1, 0)
    start = top
    while start < bottom:
        end = min((start // step + 1) * step, bottom)  # on a grid, like the tiles of a file
        strip = original.read((left, start, right, end))
        part = (x1 - left, 0, x2 - left, end - start)
        rows.paste(strip.resize((size[0], end - start), FILTER, box=part), (0, start - top))
        start = end
    return rows.resize(size, FILTER, box=(0, y1 - top, size[0], y2 - top))


def _reach(start: float, end: float, size: int, limit: int) -> tuple[int, int]:
    """The pixels that the filter looks at, from first to behind the last."""
    margin = math.ceil(_REACH * max((end - start) / size, 1)) + 1
    return max(math.floor(start) - margin, 0), min(math.ceil(end) + margin, limit)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the pixels of a decoded image lie in a file or a message: rows of interleaved samples."""

    size: Size  # pixels, as stored
    mode: str  # Pillow's: L, LA, RGB, RGBA, CMYK, or I;16

    @property
    def pixel_bytes(self) -> int:
        return {"L": 1, "LA": 2, "I;16": 2, "RGB": 3}.get(self.mode, 4)

    @property
    def n_bytes(self) -> int:
        return self.size[0] * self.size[1] * self.pixel_bytes

    def image(self, data: bytes | bytearray, size: Size) -> Image.Image:
        """A rectangle of this layout as RGB."""
        return to_rgb(Image.frombytes(self.mode, size, data))


class Spilled:
    """A decoded image in a file without a name, which is gone when nobody needs it any more."""

    def __init__(self, file: int, layout: Layout, orientation: int) -> None:
        """Takes over the descriptor `file`."""
        self.size = layout.size[::-1] if orientation > 4 else layout.size
        self._file, self._layout, self._orientation = file, layout, orientation
        weakref.finalize(self, os.close, file)

    def read(self, rect: Rect) -> Image.Image:
        left, top, right, bottom = stored_rect(rect, self._layout.size, self._orientation)
        stride, pixel = self._layout.size[0] * self._layout.pixel_bytes, self._layout.pixel_bytes
        if right - left == self._layout.size[0]:
            data = self._bytes(top * stride, (bottom - top) * stride)
        else:
            length = (right - left) * pixel
            starts = range(top * stride + left * pixel, bottom * stride, stride)
            data = b"".join(self._bytes(start, length) for start in starts)
        return turn(self._layout.image(data, (right - left, bottom - top)), self._orientation)

    def _bytes(self, start: int, length: int) -> bytes:
        """Reads at a place of its own: threads and forked processes share the descriptor."""
        data = os.pread(self._file, length, start)
        while len(data) < length:  # Linux gives at most 2 GB at a time
            more = os.pread(self._file, length - len(data), start + len(data))
            if not more:
                raise OSError(f"a decoded image ends after {start + len(data)} bytes")
            data += more
        return data


Fetch = Callable[[Level, Rect], Image.Image]
"""Reads a rectangle of a level, both as stored, as RGB."""


@dataclass(frozen=True, slots=True)
class Tiled:
    """An image in a file that is read in places; nothing of it is kept."""

    size: Size
    level: Level
    orientation: int
    fetch: Fetch

    def read(self, rect: Rect) -> Image.Image:
        stored = stored_rect(rect, self.level.size, self.orientation)
        return turn(self.fetch(self.level, stored), self.orientation)


def stored_rect(rect: Rect, stored: Size, orientation: int) -> Rect:
    """Where a rectangle of the upright image lies in the image as stored."""
    x1, y1, x2, y2 = rect
    if orientation > 4:  # across the main diagonal
        x1, y1, x2, y2 = y1, x1, y2, x2
    wide, high = stored
    if orientation in (2, 3, 7, 8):
        x1, x2 = wide - x2, wide - x1
    if orientation in (3, 4, 6, 7):
        y1, y2 = high - y2, high - y1
    return x1, y1, x2, y2
