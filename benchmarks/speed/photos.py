"""Image files to measure with: photograph-like content at any size, and datasets made of them.

Content: colours that change slowly over the image, patches of middle size, edges of many objects
with sharp outlines, and fine grain as of a sensor. As JPEG (quality 90) that comes to 0.2
bytes per pixel, as PNG to 2, like photographs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZES = {
    "2k": (2048, 1536),
    "4k": (3840, 2160),
    "8k": (7680, 4320),
    "16k": (16384, 12288),
}
FORMATS = {"jpeg": ".jpg", "png": ".png"}
BAND_PIXELS = 8 << 20
TINY = (64, 64)


@dataclass(frozen=True)
class Photos:
    """A folder with a tiny image as question 0 and `count` files of one size as the others."""

    root: Path
    size: str
    format: str
    count: int

    @property
    def pixels(self) -> tuple[int, int]:
        return SIZES[self.size]

    def path(self, index: int) -> Path:
        """The file of a question."""
        name = f"{index}{FORMATS[self.format]}" if index else "tiny.png"
        return self.root / name


def make_photos(folder: Path, size: str, kind: str, count: int) -> Photos:
    """Write one file and link the others to it: every name is an image of its own to a cache."""
    photos = Photos(folder / f"{size}-{kind}-{count}", size, kind, count)
    photos.root.mkdir()
    photograph(*TINY).save(photos.path(0))
    source = folder / f"{size}{FORMATS[kind]}"
    if not source.exists():
        write_photo(source, size)
    rows = []
    for index in range(count + 1):
        if index:
            photos.path(index).symlink_to(source)
        rows.append({"images": [photos.path(index).name], "question": "What?", "answer": "x"})
    text = "\n".join(json.dumps(row) for row in rows)
    (photos.root / "test.jsonl").write_text(text)
    return photos


def write_photo(path: Path, size: str) -> None:
    options = {"quality": 90} if path.suffix == ".jpg" else {"compress_level": 1}
    photograph(*SIZES[size]).save(path, **options)  # type: ignore[arg-type]


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Large images are mirrored copies of one band: no seam shows, and a PNG cannot make use of
    the repetition."""
    patch = _patch(width, min(height, BAND_PIXELS // width), seed)
    out = Image.new("RGB", (width, height))
    for number, y in enumerate(range(0, height, patch.height)):
        band = patch.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if number % 2 else patch
        out.paste(band, (0, y))
    return out


def _patch(width: int, height: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)

    def smooth(cell: int) -> Image.Image:
        cells = rng.integers(0, 256, (height // cell + 2, width // cell + 2, 3), dtype=np.uint8)
        return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)

    image = Image.blend(smooth(256), smooth(24), 0.25)
    draw = ImageDraw.Draw(image)
    for _ in range(width * height // 8000):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        wide, high = (int(side) for side in rng.integers(4, 60, size=2))
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        draw.ellipse((x, y, x + wide, y + high), fill=colour)
    grain = rng.normal(0, 4, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
