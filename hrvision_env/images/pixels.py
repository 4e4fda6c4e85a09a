"""Operations on the pixels of one image: whole-image resize, crop, any mode to RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageCms

from ..records import Box
from .frames import Numbers, Size, fit_size

MAX_IMAGE_PIXELS = 300_000_000
"""Larger originals are refused: 1.2 GB decoded. Pillow's own limit (89 million) is too low for
satellite images."""

FILTER = Image.Resampling.BICUBIC
"""Of views and crops; Pillow widens its support when it shrinks, so that nothing aliases. The
same filter as in the image processors of the Qwen-VL family."""


class ImageError(ValueError):
    """An image that is missing, broken or too large; the message names it."""


def resize(image: Image.Image, size: Size) -> Image.Image:
    """The whole image at another size; the same object when nothing changes."""
    return image if image.size == size else image.resize(size, FILTER)


def clip(box: Box, size: Size) -> Numbers:
    """The corners of a box, cut to an image. Raises ImageError when nothing is left."""
    wide, high = size
    region = (
        max(box.x1, 0.0),
        max(box.y1, 0.0),
        min(box.x2, float(wide)),
        min(box.y2, float(high)),
    )
    if not (region[0] < region[2] and region[1] < region[3]):
        raise ImageError(f"crop: {box} lies outside the image of {wide}x{high}")
    return region


def crop(
    image: Image.Image, box: Box, factor: int, min_pixels: int, max_pixels: int
) -> Image.Image:
    """Cut a box out of the original and bring it into the pixel budget, in one resampling.

    Enlarges when the region is small. No margin; sub-pixel corners are honoured.
    """
    region = clip(box, image.size)
    wide, high = region[2] - region[0], region[3] - region[1]
    size = fit_size(max(round(wide), 1), max(round(high), 1), factor, min_pixels, max_pixels)
    return image.resize(size, FILTER, box=region)


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
    if mode.startswith("I;16"):
        return _FROM_16_BITS[values]
    values = np.nan_to_num(values.astype(np.float64))
    low, high = float(values.min()), float(values.max())
    if mode == "I" and low >= 0 and 255 < high <= 65535:
        values = values / 257
    elif mode == "F" and low >= 0 and high <= 1:
        values = values * 255
    elif low < 0 or high > 255:
        values = (values - low) * (255 / (high - low))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_FROM_16_BITS = np.rint(np.arange(65536) / 257).astype(np.uint8)
