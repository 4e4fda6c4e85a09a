"""A trace as one page: a single HTML file for looking at episodes, without a server or a network.

The page holds the episodes as JSON and shows one at a time; it makes no request. Every text that
came from a model or a dataset is shown as text (`textContent`), never as markup, and a content
security policy lets nothing run but the page's own script.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

from ..images import ImageError, ImageStore, resize
from ..records import ImageRef
from ..trace import Picture, Record, Trace
from .rows import Row, describe

LIMIT, WITH_IMAGES = 5_000, 100
"""Episodes on a page, and how many of them come with their pictures."""
MAX_SIDE = 1_024
"""Pixels; larger pictures are scaled down for the page."""
MAX_NOTES = 20
"""Broken lines that are named on the page; all are counted."""
_STYLES = ("base.css", "episode.css", "page.css")
_SCRIPTS = ("elements.js", "episode.js", "list.js")


@dataclass(frozen=True, slots=True)
class Written:
    """What went into a page."""

    path: Path
    episodes: int
    with_images: int
    left_out: int
    """Episodes beyond the limit."""


def write_page(
    trace: Trace, path: Path, *, limit: int = LIMIT, with_images: int = WITH_IMAGES
) -> Written:
    """Write the first `limit` episodes of a trace as a page, the first `with_images` with pictures.

    Lines of the trace that cannot be read are in `trace.broken` afterwards, and on the page.
    Raises ValueError for a trace without an episode, OSError for a file that cannot be written.
    """
    pictures = _Pictures(trace)
    records = iter(trace)
    episodes: list[Row] = []
    for record in islice(records, limit):
        if len(episodes) < with_images:
            pictures.add(record)
        episodes.append(describe(record))
    left_out = sum(1 for _ in records)
    if not episodes:
        broken = [f", {len(trace.broken)} broken lines, first {b}" for b in trace.broken[:1]]
        raise ValueError(f"{trace.path}: holds no episode{''.join(broken)}")
    shown = min(len(episodes), with_images)
    data = {
        "title": str(trace.path.parent.name or trace.path.name),
        "file": str(trace.path),
        "episodes": episodes,
        "withImages": shown,
        "leftOut": left_out,
        "broken": len(trace.broken),
        "notes": [f"line {b.line}: {b.reason}" for b in trace.broken[:MAX_NOTES]],
    }
    path.write_text(_fill(data, pictures.urls), "utf-8")
    return Written(path, len(episodes), shown, left_out)


class _Pictures:
    """Data URLs of pictures by file name, each made once."""

    def __init__(self, trace: Trace) -> None:
        self._trace, self._store = trace, ImageStore()
        self.urls: dict[str, str] = {}

    def add(self, record: Record) -> None:
        for picture in (p for turn in record.pictures for p in turn):
            if picture.file not in self.urls and (url := self._url(picture)):
                self.urls[picture.file] = url

    def _url(self, picture: Picture) -> str:
        """Empty for a picture that is missing or cannot be opened."""
        data = self._trace.read(picture)
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
        kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _fill(data: dict[str, Any], urls: dict[str, str]) -> str:
    style, script = read_assets(*_STYLES), read_assets(*_SCRIPTS)
    values = {
        "{{script-hash}}": _hash(script),
        "{{style-hash}}": _hash(style),
        "{{style}}": style,
        "{{data}}": _embed(data),
        "{{images}}": _embed(urls),
        "{{script}}": script,
    }
    page = read_assets("page.html")
    # In one pass: what is put in is never searched for placeholders.
    return re.sub(r"\{\{[a-z-]+\}\}", lambda match: values[match[0]], page)


def read_assets(*names: str) -> str:
    """The text of files of this package, one after the other."""
    folder = resources.files(__package__)
    return "\n".join((folder / name).read_text("utf-8") for name in names)


def _hash(text: str) -> str:
    """How a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embed(value: Any) -> str:
    """JSON that can stand inside a script element whatever its texts are: ASCII, without `<`."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
