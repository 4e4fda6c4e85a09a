"""Writing and reading the folder of a trace.

A line is appended whole, by one write, and a picture is put in place by one rename, so several
writers can share a folder, and a run that was killed can go on in the same one. Pictures are named
after their pixels: what many episodes show is stored once.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..actions.rules import BoxRules
from ..images import ImageStore
from ..records import Sample
from ..running import Running
from .originals import copy_original
from .parsing import parse_line
from .record import Original, Picture, Record, record_of

if TYPE_CHECKING:
    from ..vector import HighResVQAVectorEnv

EPISODES, IMAGES, ORIGINALS = "episodes.jsonl", "images", "originals"
PNG_PIXELS = 512 * 512
"""Pictures of at most so many pixels are kept as PNG, without loss; larger ones as JPEG."""
JPEG_QUALITY = 90
_FILE = re.compile(r"[0-9a-f]{32}\.(?:png|jpg)")


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that holds no episode, and why."""

    path: Path
    line: int
    """Counted from 1."""
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


class TraceWriter:
    """Appends episodes to a folder. Holds no open file: picklable, safe in threads and forks.

    >>> writer = TraceWriter("runs/look")
    >>> writer.write(env.unwrapped.running, env.unwrapped.referee.rules)

    Raises OSError when the folder cannot be made or written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        (self.folder / IMAGES).mkdir(parents=True, exist_ok=True)

    def write(self, running: Running, rules: BoxRules | None = None, agent: str = "") -> Record:
        """Append an episode as it stands, with every image that it has shown; returns its record.

        `rules` are those that read the replies; with them, refused boxes can be drawn. `agent`
        names who played.
        """
        record = replace(self.keep(running, rules), agent=agent)
        self.append(record)
        return record

    def keep(self, running: Running, rules: BoxRules | None = None) -> Record:
        """Save every image that an episode has shown; its record is returned and not written."""
        files = [_save(shown.image, self.folder / IMAGES) for shown in running.shown]
        return record_of(running, files, rules)

    def keep_originals(
        self, sample: Sample, store: ImageStore | None = None
    ) -> tuple[Original, ...]:
        """Save the images of a sample at full resolution, each content once.

        What browsers show is copied as it is; see `originals`. An image that cannot be opened has
        no file. `store` opens them, within its memory; None: one for this call.

        >>> record = replace(writer.keep(running, rules), originals=writer.keep_originals(sample))

        Raises OSError when the folder cannot be written.
        """
        folder = self.folder / ORIGINALS
        folder.mkdir(exist_ok=True)
        with ExitStack() as stack:
            if store is None:
                store = ImageStore()
                stack.callback(store.close)
            return tuple(copy_original(ref, folder, store) for ref in sample.images)

    def append(self, record: Record) -> None:
        """Append a record that has no pictures, or whose pictures are in the folder already."""
        _append(self.folder / EPISODES, record.to_dict())

    def write_member(self, envs: HighResVQAVectorEnv, i: int) -> None:
        """Append the episode of member i of the vector environment."""
        env = envs.envs[i]
        self.write(env.running, env.referee.rules)


def encode(image: Image.Image) -> tuple[bytes, str]:
    """An image as a file, and the ending of its name: PNG when small, JPEG when large."""
    buffer = io.BytesIO()
    if _ending(image) == "png":
        image.save(buffer, "PNG")
    else:  # without colour subsampling: fine coloured detail is what the questions are about
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue(), _ending(image)


def _ending(image: Image.Image) -> str:
    return "png" if image.width * image.height <= PNG_PIXELS else "jpg"


def _save(image: Image.Image, folder: Path) -> str:
    """Store an image unless it is there already. Returns the name of its file."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=16, person=b"%dx%d" % image.size)
    path = folder / f"{digest.hexdigest()}.{_ending(image)}"
    if not path.exists():
        unfinished = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
        unfinished.write_bytes(encode(image)[0])
        unfinished.replace(path)
    return path.name


def _append(path: Path, row: Mapping[str, Any]) -> None:
    try:
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # a reply with a lone surrogate
        line = json.dumps(row).encode() + b"\n"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        # A writer that was killed may have left half a line: it stays a line of its own.
        if not _ends_a_line(file):
            line = b"\n" + line
        written = os.write(file, line)
    finally:
        os.close(file)
    if written < len(line):
        raise OSError(f"{path}: wrote {written} of {len(line)} bytes of an episode, is it full?")


def _ends_a_line(file: int) -> bool:
    size = os.lseek(file, 0, os.SEEK_END)
    if size == 0:
        return True
    os.lseek(file, size - 1, os.SEEK_SET)
    return os.read(file, 1) == b"\n"


class Trace:
    """The episodes of a file, one at a time; a line that cannot be read is noted and passed over.

    `path` is a folder with an `episodes.jsonl`, or such a file; it may be one of `TraceWriter` or
    of `benchmarks.run` (whose rows hold the episode under "episode" and no pictures).

    >>> trace = Trace("runs/look")
    >>> [record.episode.outcome for record in trace], len(trace.broken)

    Raises FileNotFoundError when there is no such file.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.path = path / EPISODES if path.is_dir() else path
        if not self.path.is_file():
            raise FileNotFoundError(f"{path}: no such file, expected {EPISODES} or its folder")
        self.broken: list[Broken] = []
        """The lines that the last pass could not read."""

    def __iter__(self) -> Iterator[Record]:
        self.broken = []
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    record = parse_line(line, number)
                except (
                    ValueError,
                    TypeError,
                    LookupError,
                    AttributeError,
                    RecursionError,
                ) as error:
                    self.broken.append(Broken(self.path, number, _reason(error)))
                else:
                    yield record

    def read(self, picture: Picture) -> bytes | None:
        """The file of a picture; None when it is not there (any more)."""
        # The name comes from the file: it must not lead out of the folder.
        if not _FILE.fullmatch(picture.file):
            return None
        try:
            return (self.path.parent / IMAGES / picture.file).read_bytes()
        except OSError:
            return None


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"key {error} is missing"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return " ".join(str(error).split())[:200]
