"""A page that holds everything in one file, pictures as well: for sending to somebody."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..images import ImageError, ImageStore, resize
from ..records import ImageRef
from ..trace import ORIGINALS, Original, Picture, Record, Trace
from .index import Index, searched
from .page import PART_EPISODES, Written, fill, to_json, write
from .reading import Reading, about

LIMIT, WITH_IMAGES = 5_000, 100
"""Episodes on a page, and how many of them come with their pictures."""
MAX_SIDE, MAX_ORIGINAL = 1_024, 2_000_000
"""Pixels, larger pictures are scaled down; bytes, larger originals are left out."""


def write_page(
    trace: Trace | Sequence[Trace],
    path: Path,
    *,
    limit: int = LIMIT,
    with_images: int = WITH_IMAGES,
) -> Written:
    """Write the first `limit` episodes of a trace as one file, the first `with_images` with
    pictures, for sending to somebody. Several traces come on one page, as with `write_viewer`.

    Lines of the trace that cannot be read are in `trace.broken` afterwards, and on the page.
    Raises ValueError for a trace without an episode, OSError for a file that cannot be written.
    """
    traces = [trace] if isinstance(trace, Trace) else list(trace)
    pictures, index, reading = _Pictures(), Index(), Reading(traces)
    episodes = iter(reading)
    rows: list[str] = []
    texts: list[str] = []
    for episode in islice(episodes, limit):
        if len(rows) < with_images:
            pictures.add(episode.record, episode.trace)
        rows.append(episode.data)
        index.add(episode.record, episode.key, episode.player)
        texts.append(searched(episode.record))
    left_out = sum(1 for _ in episodes)
    index.check_some(traces[0].path, reading.broken)
    shown = min(len(rows), with_images)
    data = {
        **about(reading, index, left_out, shown),
        "folder": None,
        "starts": list(range(0, len(rows), PART_EPISODES)),
        "textsPerPart": len(texts),
    }
    parts = [(f"episodes-{n}", part) for n, part in enumerate(_cut(rows, PART_EPISODES))]
    page = fill(data, pictures.urls, pictures.originals, [*parts, ("texts-0", to_json(texts))])
    write(path, page)
    return Written(path, len(rows), shown, left_out)


def _cut(rows: list[str], size: int) -> Iterator[str]:
    for start in range(0, len(rows), size):
        yield f"[{','.join(rows[start : start + size])}]"


class _Pictures:
    """Data URLs of pictures and originals by file name, each made once."""

    def __init__(self) -> None:
        self._store = ImageStore()
        self.urls: dict[str, str] = {}
        self.originals: dict[str, str] = {}

    def add(self, record: Record, trace: Trace) -> None:
        pictures = (p for turn in record.pictures for p in turn)
        self._fill(self.urls, pictures, partial(self._url, trace))
        whole = (o for o in record.originals if o.file and not o.tiles)
        self._fill(self.originals, whole, partial(_original, trace))

    def _fill(self, urls: dict[str, str], items: Iterable[Any], read: Callable[[Any], str]) -> None:
        for item in items:
            if item.file not in urls and (url := read(item)):
                urls[item.file] = url

    def _url(self, trace: Trace, picture: Picture) -> str:
        """Empty for a picture that is missing or cannot be opened."""
        data = trace.read(picture)
        if data is None:
            return ""
        try:
            image = self._store.open(ImageRef(data=data, key=picture.file))
        except ImageError:
            return ""
        if max(image.size) > MAX_SIDE:
            scale = MAX_SIDE / max(image.size)
            wide, high = (max(1, round(side * scale)) for side in image.size)
            buffer = io.BytesIO()
            resize(image, (wide, high)).save(buffer, "JPEG", quality=85)
            data = buffer.getvalue()
        return _data_url(data)


def _original(trace: Trace, original: Original) -> str:
    path = trace.path.parent / ORIGINALS / original.file
    try:
        return _data_url(path.read_bytes()) if path.stat().st_size <= MAX_ORIGINAL else ""
    except OSError:
        return ""


def _data_url(data: bytes) -> str:
    kinds = {b"\x89PNG": "png", b"RIFF": "webp", b"GIF8": "gif"}
    return f"data:image/{kinds.get(data[:4], 'jpeg')};base64,{base64.b64encode(data).decode()}"
