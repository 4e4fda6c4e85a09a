"""A page with a folder of parts: it loads the episodes that somebody looks at, and no others."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from ..trace import IMAGES, ORIGINALS, Trace
from .index import Index, searched
from .page import PART_EPISODES, Written, fill, to_json, write
from .reading import Reading, about, names_in

VIEWER_LIMIT = 100_000
"""Episodes of a page; their list alone takes some hundred bytes each."""
PART_BYTES, PART_TEXTS = 256_000, 500
"""How much one part holds: bytes of episodes, about; episodes whose texts are for the search."""
_PART = re.compile(r"(?:episodes|texts)-\d+\.js")


def write_viewer(
    trace: Trace | Sequence[Trace], path: Path, *, limit: int = VIEWER_LIMIT
) -> Written:
    """Write a page for the first `limit` episodes, and beside it a folder NAME_files with them.

    The page holds the list; episodes are loaded when they are opened, by scripts, which a page from
    file:// may do. Pictures are shown where they lie: the page, its folder and the folder of the
    trace move together. What an earlier call wrote is replaced.

    `episodes.html#agent=mgpo&outcome=wrong&compare=grpo` opens with these filters; the keys are
    agent, dataset, question, category, outcome, step, training, drawn, verdict, box, crop,
    disagree, q, sort, and `episode`, a line of the file. Where there are greedy and sampled replies
    the page begins with the greedy ones; `drawn=all` shows both.

    Several traces come on one page, to compare their agents: lines are counted on from one file to
    the next, and agents of the same name are called after their folders.

    >>> write_viewer(Trace("runs/bench"), Path("runs/bench/episodes.html")).episodes

    Lines of the trace that cannot be read are in `trace.broken` afterwards, and on the page.
    Raises ValueError for a trace without an episode, OSError for files that cannot be written.
    """
    folder = path.with_name(f"{path.stem}_files")
    _check_ours(folder)
    unfinished = path.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        traces = [trace] if isinstance(trace, Trace) else list(trace)
        index, reading, parts = Index(), Reading(traces), _Parts(unfinished)
        episodes = iter(reading)
        for episode in islice(episodes, limit):
            parts.add(episode.data, searched(episode.record))
            index.add(episode.record, episode.key, episode.player)
        parts.close()
        with_pictures = reading.with_pictures
        left_out = sum(1 for _ in episodes)
        index.check_some(traces[0].path, reading.broken)
        data = {
            **about(reading, index, left_out, with_pictures),
            "folder": quote(folder.name),
            "starts": parts.starts,
            "textsPerPart": PART_TEXTS,
            "images": [_address(one.path.parent / IMAGES, path) for one in traces],
            "originals": [_address(one.path.parent / ORIGINALS, path) for one in traces],
        }
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    write(path, fill(data, {}, {}, [], loads=True))
    return Written(path, len(index), with_pictures, left_out)


class _Parts:
    """The files of the folder. Each calls the page with its number and a text of JSON."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.starts: list[int] = []
        """Position of the first episode of each file."""
        self._rows: list[str] = []
        self._texts: list[str] = []
        self._bytes = self._count = 0

    def add(self, data: str, text: str) -> None:
        """An episode as JSON, and what a search looks through."""
        if len(self._rows) == PART_EPISODES or self._bytes + len(data) > PART_BYTES:
            self._close_rows()
        self._rows.append(data)
        self._bytes += len(data)
        self._texts.append(text)
        self._count += 1
        if len(self._texts) == PART_TEXTS:
            self._close_texts()

    def close(self) -> None:
        self._close_rows()
        self._close_texts()

    def _close_rows(self) -> None:
        if self._rows:
            self._write(f"episodes-{len(self.starts)}", f"[{','.join(self._rows)}]")
            self.starts.append(self._count - len(self._rows))
            self._rows, self._bytes = [], 0

    def _close_texts(self) -> None:
        if self._texts:
            number = (self._count - len(self._texts)) // PART_TEXTS
            self._write(f"texts-{number}", to_json(self._texts))
            self._texts = []

    def _write(self, name: str, content: str) -> None:
        # As a text: `__proto__` in an object literal would be more than a name.
        (self._folder / f"{name}.js").write_text(f"hrvision({to_json(name)},{to_json(content)});\n")


def _check_ours(folder: Path) -> None:
    """Raises FileExistsError where a folder of that name holds anything else."""
    strange = [name for name in names_in(folder) if not _PART.fullmatch(name)]
    if strange or (folder.exists() and not folder.is_dir()):
        found = f"it holds {min(strange)!r}" if strange else "it is no folder"
        raise FileExistsError(f"{folder}: would be replaced, but {found}, which is not of a page")


def _address(folder: Path, page: Path) -> str:
    """A folder as seen from the page; both may be moved together."""
    try:
        relative = os.path.relpath(folder.resolve(), page.resolve().parent)
    except ValueError:  # on another drive
        return f"{folder.resolve().as_uri()}/"
    return f"{quote(Path(relative).as_posix())}/"
