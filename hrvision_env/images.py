"""The only place that opens, resizes or crops images and converts coordinates.

Frames
------
original   pixels of the image as stored, after EXIF transposition; every `Box` lives here
seen       pixels of the view, the resized image the agent looks at
dialect    what the agent writes: `absolute` (seen pixels), `relative_1000` or `relative_1`

Sizes are always (width, height).
"""

from __future__ import annotations

import io
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from .records import Box, ImageRef

Size = tuple[int, int]
Numbers = tuple[float, float, float, float]

DIALECTS = ("absolute", "relative_1000", "relative_1")

MAX_IMAGE_PIXELS = 300_000_000
"""Larger originals are refused: 1.2 GB decoded. Pillow's own limit (89 million) is too low for
satellite images."""

FILTER = Image.Resampling.BICUBIC
"""Of views and crops; Pillow widens its support when it shrinks, so that nothing aliases. The
same filter as in the image processors of the Qwen-VL family."""

_open_lock = threading.Lock()


class ImageError(ValueError):
    """An image that is missing, broken or too large; the message names it."""


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
class Frame:
    """One image in two sizes: the original and what the agent sees.

    >>> frame = Frame(original=(2000, 1000), seen=(560, 280))
    >>> frame.box(frame.read((125, 200, 250, 325), "relative_1000"))
    Box(x1=250.0, y1=200.0, x2=500.0, y2=325.0, image_index=0, label='')
    """

    original: Size
    seen: Size

    # Multiplying first keeps whole numbers exact: the edge of the view is the edge of the image.

    def to_original(self, x: float, y: float) -> tuple[float, float]:
        return x * self.original[0] / self.seen[0], y * self.original[1] / self.seen[1]

    def to_seen(self, x: float, y: float) -> tuple[float, float]:
        return x * self.seen[0] / self.original[0], y * self.seen[1] / self.original[1]

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
        """A box -> the numbers an agent would write: whole ones, except in `relative_1`."""
        digits = 4 if dialect == "relative_1" else None
        wide, high = self._limits(dialect)

        def number(value: float, side: int, limit: int) -> float:
            return min(max(round(value * limit / side, digits), 0), limit)

        return (
            number(box.x1, self.original[0], wide),
            number(box.y1, self.original[1], high),
            number(box.x2, self.original[0], wide),
            number(box.y2, self.original[1], high),
        )

    def box(self, corners: Numbers, image_index: int = 0, label: str = "") -> Box:
        """Corners in seen pixels -> a `Box` on the original."""
        x1, y1 = self.to_original(corners[0], corners[1])
        x2, y2 = self.to_original(corners[2], corners[3])
        return Box(x1, y1, x2, y2, image_index, label)

    def _limits(self, dialect: str) -> Size:
        """What the right and the bottom edge are called in a dialect."""
        if dialect == "absolute":
            return self.seen
        if dialect not in DIALECTS:
            raise ValueError(f"dialect: got {dialect!r}, expected one of {', '.join(DIALECTS)}")
        return (1000, 1000) if dialect == "relative_1000" else (1, 1)


def resize(image: Image.Image, size: Size) -> Image.Image:
    """The whole image at another size; the same object when nothing changes."""
    return image if image.size == size else image.resize(size, FILTER)


def crop(
    image: Image.Image, box: Box, factor: int, min_pixels: int, max_pixels: int
) -> Image.Image:
    """Cut a box out of the original and bring it into the pixel budget, in one resampling.

    Enlarges when the region is small. No margin; sub-pixel corners are honoured.
    """
    region = (
        max(box.x1, 0.0),
        max(box.y1, 0.0),
        min(box.x2, float(image.width)),
        min(box.y2, float(image.height)),
    )
    wide, high = region[2] - region[0], region[3] - region[1]
    if not (wide > 0 and high > 0):
        raise ImageError(f"crop: {box} lies outside the image of {image.width}x{image.height}")
    size = fit_size(max(round(wide), 1), max(round(high), 1), factor, min_pixels, max_pixels)
    return image.resize(size, FILTER, box=region)


class ImageStore:
    """Opens images, at most once while they stay in the cache.

    A least-recently-used cache bounded by decoded bytes, whatever the number of images; the
    newest image is always kept. Images come out as RGB, EXIF-transposed, without metadata, and
    are shared by reference: do not modify them. The cache is left out of pickles.
    """

    def __init__(self, max_bytes: int = 1 << 30, max_image_pixels: int = MAX_IMAGE_PIXELS) -> None:
        self.max_bytes = max_bytes
        self.max_image_pixels = max_image_pixels
        self.bytes = 0
        self._cache: OrderedDict[str, Image.Image] = OrderedDict()

    def open(self, ref: ImageRef, sample_id: str = "") -> Image.Image:
        """The original as RGB. Raises ImageError naming the sample and the image."""
        if (cached := self._cache.get(ref.key)) is not None:
            self._cache.move_to_end(ref.key)
            return cached
        try:
            image = self._decode(ref)
        except FileNotFoundError as error:
            raise self._error(ref, sample_id, "the file does not exist") from error
        except Exception as error:  # decoders raise almost any type on broken data
            reason = str(error) if isinstance(error, ImageError) else repr(error)
            raise self._error(ref, sample_id, reason) from error
        self._keep(ref.key, image)
        return image

    def _decode(self, ref: ImageRef) -> Image.Image:
        if ref.image is not None:
            return self._finish(ref.image)
        if ref.make is not None:
            return self._finish(ref.make())
        source: Any = io.BytesIO(ref.data) if ref.data is not None else ref.path
        with _open_lock:  # Pillow's own limit is a global; ours is checked before pixels are read
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(source)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
        with image:
            return self._finish(image)

    def _finish(self, image: Image.Image) -> Image.Image:
        pixels = image.width * image.height
        if not 0 < pixels <= self.max_image_pixels:
            raise ImageError(
                f"got {image.width}x{image.height} = {pixels} pixels, "
                f"expected between 1 and {self.max_image_pixels}"
            )
        image.load()
        try:
            upright = ImageOps.exif_transpose(image)
        except Exception:  # EXIF that cannot be read does not say how the image is turned
            upright = image.copy()
        out = to_rgb(upright)  # a copy in any case: the caller's image stays as it is
        out.info = {}
        return out

    def _keep(self, key: str, image: Image.Image) -> None:
        self._cache[key] = image
        self.bytes += _bytes(image)
        while self.bytes > self.max_bytes and len(self._cache) > 1:
            _, old = self._cache.popitem(last=False)
            self.bytes -= _bytes(old)

    def _error(self, ref: ImageRef, sample_id: str, reason: str) -> ImageError:
        where = f"sample {sample_id!r}: " if sample_id else ""
        return ImageError(f"{where}image {ref.key!r}: {reason}")

    def __len__(self) -> int:
        return len(self._cache)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "bytes": 0, "_cache": OrderedDict()}


def _bytes(image: Image.Image) -> int:
    return image.width * image.height * 4  # Pillow pads RGB to four bytes


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> RGB. Transparency lies on white; more than 8 bits are scaled down."""
    mode = image.mode
    if mode in ("RGBa", "La"):
        image = image.convert("RGBA" if mode == "RGBa" else "LA")
    keyed = image.mode in ("1", "L", "P", "RGB") and "transparency" in image.info
    if keyed or image.mode in ("RGBA", "LA", "PA"):
        layer = image.convert("RGBA")
        white = Image.new("RGB", layer.size, "white")
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    if mode == "RGB":
        return image
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_to_8_bits(np.asarray(image), mode)).convert("RGB")
    if mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        assert converted is not None  # only None when done in place
        return converted
    return image.convert("RGB")


def _to_8_bits(values: np.ndarray, mode: str) -> np.ndarray:
    """[H, W] of any range -> uint8: 16 bits keep their scale, unusual ranges are stretched."""
    values = np.nan_to_num(values.astype(np.float64))
    low, high = float(values.min()), float(values.max())
    if mode.startswith("I;16") or (mode == "I" and low >= 0 and 255 < high <= 65535):
        values = values / 257
    elif mode == "F" and low >= 0 and high <= 1:
        values = values * 255
    elif low < 0 or high > 255:
        values = (values - low) * (255 / (high - low))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
