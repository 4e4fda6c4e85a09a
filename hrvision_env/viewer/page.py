"""What every page of episodes is made of: template, styles, scripts, and the data put into it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..trace import Broken

PART_EPISODES = 32
"""At most so many episodes are in one part of a page."""
MAX_NOTES = 20
"""Broken lines that are named on the page; all are counted."""
STYLES = ("base.css", "episode.css", "page.css", "look.css")
SCRIPTS = (
    "elements.js",
    "look.js",
    "tiles.js",
    "tokens.js",
    "episode.js",
    "scenes.js",
    "store.js",
    "filters.js",
    "list.js",
    "compare.js",
    "main.js",
)


@dataclass(frozen=True, slots=True)
class Written:
    """What went into a page."""

    path: Path
    episodes: int
    with_images: int
    left_out: int
    """Episodes beyond the limit."""


def told(broken: Sequence[Broken], several: bool) -> dict[str, Any]:
    """What the page says of lines that could not be read."""
    notes = [f"{f'{b.path} ' if several else ''}line {b.line}: {b.reason}" for b in broken]
    return {"broken": len(broken), "notes": notes[:MAX_NOTES]}


def fill(
    data: dict[str, Any],
    urls: dict[str, str],
    originals: dict[str, str],
    parts: Iterable[tuple[str, str]],
    loads: bool = False,
) -> str:
    """The page. `parts`: names and JSON texts.

    `loads`: it takes parts and pictures from beside it; else it asks for nothing.

    A script that was loaded by ours may run, whatever `file:` is called by a browser; what such a
    script may be, `store.js` says. Firefox wants `file:` for pictures beside the page.
    """
    style, script = read_assets(*STYLES), read_assets(*SCRIPTS)
    values = {
        "{{images-from}}": "img-src 'self' file:" if loads else "img-src data:",
        "{{script-from}}": f"'{_hash(script)}'" + (" 'strict-dynamic'" if loads else ""),
        "{{policies}}": "parts" if loads else "'none'",
        "{{style-hash}}": _hash(style),
        "{{style}}": style,
        "{{data}}": _embed(data),
        "{{images}}": _embed(urls),
        "{{originals}}": _embed(originals),
        "{{parts}}": "\n".join(
            f'<script type="application/json" id="{name}">{_escaped(part)}</script>'
            for name, part in parts
        ),
        "{{script}}": script,
    }
    page = read_assets("page.html")
    # In one pass: what is put in is never searched for placeholders.
    return re.sub(r"\{\{[a-z-]+\}\}", lambda match: values[match[0]], page)


def write(path: Path, page: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(page, "utf-8")
    unfinished.replace(path)


def read_assets(*names: str) -> str:
    """The text of files of this package, one after the other."""
    folder = resources.files(__package__)
    return "\n".join((folder / name).read_text("utf-8") for name in names)


def _hash(text: str) -> str:
    """How a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def to_json(value: Any) -> str:
    """ASCII, so that it is the same in every encoding."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _embed(value: Any) -> str:
    return _escaped(to_json(value))


def _escaped(text: str) -> str:
    """JSON that can stand inside a script element whatever its texts are: ASCII, without `<`."""
    return text.replace("<", "\\u003c")
