"""Originals beside a trace, as a browser can show them without holding all of their pixels.

JPEG, PNG, WebP, GIF of at most MAX_PIXELS    the file as it is
other formats, images made in memory, and     one file: PNG when small, JPEG when large
what browsers show otherwise than agents see
everything larger                             a folder of tiles, each level half the size

Names are digests of the content, so an image that many samples share is stored once, whoever
stores it first. Tiles are made from the smallest parts up: of a large image at most some tiles are
in memory beside what the store holds.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from PIL import Image

from ..images import Budget, ImageError, ImageStore
from ..images.decode import Header, loaded, read_header
from ..records import Box, ImageRef
from .record import Original, Tiles

MAX_PIXELS = 30_000_000
"""Of an image that is kept as one file: what a phone still decodes, 120 MB."""
LOSSLESS_PIXELS = 4_000_000
"""Images made in memory are kept as PNG up to this size."""
TILE = 512
JPEG_QUALITY = 90
_BROWSERS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif"}
_CHUNK = 1 << 20


def copy_original(ref: ImageRef, folder: Path, store: ImageStore) -> Original:
    """Put an image into a folder unless it is there; one that cannot be opened has no file.

    Raises OSError when the folder cannot be written.
    """
    try:
        ref = loaded(ref)
        size = store.size(ref)
        header = None if ref.path is None and ref.data is None else read_header(ref)
    except Exception:  # broken files raise almost any type; the episode says what is wrong
        return Original("", (0, 0))
    if size[0] * size[1] > MAX_PIXELS:
        return _tiled(ref, size, folder, store)
    ending = _shown_as_it_is(header)
    if ending and not _moves(ref):
        name = f"{_digest(ref)}.{ending}"
        if not (folder / name).exists():
            _place(folder / name, _bytes(ref))
        return Original(name, size)
    return _encoded(ref, size, folder, store)


def _shown_as_it_is(header: Header | None) -> str:
    """The ending of a file that browsers show as we do; empty for others.

    They turn a JPEG upright as its metadata say, other formats not reliably. What is transparent
    lies on white for an agent, and on the ground of the page in a browser.
    """
    if header is None or header.keyed or header.mode not in ("1", "L", "P", "RGB"):
        return ""
    ending = _BROWSERS.get(header.format, "")
    return ending if ending == "jpg" or header.orientation == 1 else ""


def _moves(ref: ImageRef) -> bool:
    """Whether a browser plays several frames; an agent sees the first. Those of an MPO are no film:
    browsers read it as JPEG."""
    with Image.open(io.BytesIO(_bytes(ref))) as image:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _encoded(ref: ImageRef, size: tuple[int, int], folder: Path, store: ImageStore) -> Original:
    try:
        image = store.open(ref)
    except ImageError:
        return Original("", size)
    small = size[0] * size[1] <= LOSSLESS_PIXELS
    name = f"{_digest_of_pixels(image)}.{'png' if small else 'jpg'}"
    if not (folder / name).exists():
        _place(folder / name, _encode(image, name[-3:]))
    return Original(name, size)


# -- Tiles


def _tiled(ref: ImageRef, size: tuple[int, int], folder: Path, store: ImageStore) -> Original:
    levels = 1 + max(0, math.ceil(math.log2(max(size) / TILE)))
    made = Original(_digest(ref), size, Tiles(TILE, levels, "jpg"))
    final = folder / made.file
    if final.exists():
        return made
    unfinished = folder / _unfinished(made.file)
    try:
        _tile(ref, size, (levels - 1, 0, 0), unfinished, store)
        with suppress(OSError):  # somebody else was first
            unfinished.rename(final)
    except ImageError:
        return Original("", size)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if not final.exists():
        raise OSError(f"{final}: the tiles could not be put in place")
    return made


def _tile(
    ref: ImageRef, size: tuple[int, int], place: tuple[int, int, int], folder: Path, s: ImageStore
) -> Image.Image:
    """Write a tile and all that it is made of. `place`: level, column, row."""
    level, column, row = place
    left, top = column * TILE, row * TILE
    wide = min(TILE, math.ceil(size[0] / 2**level) - left)
    high = min(TILE, math.ceil(size[1] / 2**level) - top)
    if level == 0:
        box = Box(left, top, left + wide, top + high)
        image = s.crop(ref, box, Budget(1, 1, TILE * TILE))[0]
    else:
        whole = Image.new("RGB", (2 * wide, 2 * high))
        for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
            if x * TILE < 2 * wide and y * TILE < 2 * high:
                part = _tile(ref, size, (level - 1, 2 * column + x, 2 * row + y), folder, s)
                _extend(whole, part, x * TILE, y * TILE)
        image = whole.reduce(2)
    path = folder / f"{level}" / f"{column}_{row}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encode(image, "jpg"))
    return image


def _extend(whole: Image.Image, part: Image.Image, x: int, y: int) -> None:
    """Paste; an odd edge is repeated, so that it stays as bright when it is halved."""
    whole.paste(part, (x, y))
    if x + part.width == whole.width - 1:
        edge = part.crop((part.width - 1, 0, part.width, part.height))
        whole.paste(edge, (x + part.width, y))
    if y + part.height == whole.height - 1:
        edge = whole.crop((x, y + part.height - 1, whole.width, y + part.height))
        whole.paste(edge, (x, y + part.height))


# -- Bytes and names


def _encode(image: Image.Image, ending: str) -> bytes:
    buffer = io.BytesIO()
    if ending == "png":
        image.save(buffer, "PNG")
    else:  # without colour subsampling: fine coloured detail is what the questions are about
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _bytes(ref: ImageRef) -> bytes:
    if ref.data is not None:
        return ref.data
    assert ref.path is not None
    return ref.path.read_bytes()


def _digest(ref: ImageRef) -> str:
    """Of the file; of an image in memory, of its pixels."""
    digest = hashlib.blake2b(digest_size=16)
    if ref.data is not None:
        digest.update(ref.data)
    elif ref.path is not None:
        with ref.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    else:
        image = ref.image if ref.make is None else ref.make()
        assert image is not None
        return _digest_of_pixels(image)
    return digest.hexdigest()


def _digest_of_pixels(image: Image.Image) -> str:
    person = b"%dx%d" % image.size
    return hashlib.blake2b(image.tobytes(), digest_size=16, person=person).hexdigest()


def _place(path: Path, data: bytes) -> None:
    unfinished = path.with_name(_unfinished(path.name))
    unfinished.write_bytes(data)
    unfinished.replace(path)


def _unfinished(name: str) -> str:
    return f".{name}.{os.getpid()}-{threading.get_ident()}"
