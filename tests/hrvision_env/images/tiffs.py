"""Tiled TIFF files and pyramids, which Pillow reads but does not write."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hrvision_env.images.decode import PNG_SIGNATURE

TILE = 64


def write_tiff(
    path: Path,
    levels: Sequence[np.ndarray],
    subifds: bool = False,
    orientation: int = 1,
    reduced: bool = True,
) -> Path:
    """Write [H, W, 3] uint8 arrays, the image and its smaller copies, in uncompressed tiles.

    The copies are pages, or sub-images of the first page; `reduced` marks them as copies.
    """
    out = io.BytesIO()
    out.write(b"II*\0" + struct.pack("<I", 0))
    link = 4  # where the offset of the next page goes
    below: list[int] = []
    for number, pixels in reversed(list(enumerate(levels))) if subifds else enumerate(levels):
        entries = _entries(out, pixels, int(number > 0 and reduced))
        if number == 0:
            entries[274] = (3, [orientation])
            if below:
                entries[330] = (4, below[::-1])
        offset, next_link = _write_ifd(out, entries)
        if subifds and number:
            below.append(offset)
        else:
            out.seek(link)
            out.write(struct.pack("<I", offset))
            link = next_link
    path.write_bytes(out.getvalue())
    return path


def _entries(out: io.BytesIO, pixels: np.ndarray, reduced: int) -> dict[int, tuple[int, list[int]]]:
    """Write the tiles; the tags that describe them."""
    high, wide = pixels.shape[:2]
    rows, columns = -(-high // TILE), -(-wide // TILE)
    padded = np.zeros((rows * TILE, columns * TILE, 3), np.uint8)
    padded[:high, :wide] = pixels
    offsets = []
    for y in range(rows):
        for x in range(columns):
            offsets.append(out.seek(0, io.SEEK_END))
            tile = padded[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE]
            out.write(tile.tobytes())
    return {
        254: (4, [reduced]), 256: (4, [wide]), 257: (4, [high]), 258: (3, [8, 8, 8]),
        259: (3, [1]), 262: (3, [2]), 277: (3, [3]), 284: (3, [1]), 322: (4, [TILE]),
        323: (4, [TILE]), 324: (4, offsets), 325: (4, [TILE * TILE * 3] * len(offsets)),
    }  # fmt: skip


def _write_ifd(out: io.BytesIO, entries: dict[int, tuple[int, list[int]]]) -> tuple[int, int]:
    """Where a directory begins, and where the offset of the next one goes."""
    start = out.seek(0, io.SEEK_END)
    values = start + 2 + 12 * len(entries) + 4
    head, tail = struct.pack("<H", len(entries)), b""
    for tag, (kind, numbers) in sorted(entries.items()):
        data = struct.pack(f"<{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(data) > 4:
            place = struct.pack("<I", values + len(tail))
            tail += data
        else:
            place = data.ljust(4, b"\0")
        head += struct.pack("<HHI", tag, kind, len(numbers)) + place
    out.write(head + struct.pack("<I", 0) + tail)
    return start, values - 4


def png_chunks(data: bytes) -> list[bytes]:
    """The chunks of a PNG file, each with length, kind and checksum."""
    chunks, at = [], len(PNG_SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append(data[at : at + length + 12])
        at += length + 12
    return chunks
