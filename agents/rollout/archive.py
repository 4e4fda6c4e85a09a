"""Rollouts on disk: made on one machine they train on another, and a step can be replayed.

A folder holds `manifest.json` (what made the rollouts) and one safetensors file per group, named
by its place among the questions; see `packing` for what is in it. A file appears by one rename,
complete or not at all, so a run that was killed goes on where it was.

>>> archive = Archive("rollouts", {"model": "m", "seed": 0})
>>> rollout(env, engine, sampling, questions=[3, 4], archive=archive)
>>> [group.question_id for group in Archive("rollouts")]  # elsewhere, one group in memory
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hrvision_env.records import Outcome

from .loop import Group
from .packing import differences, pack, unpack

FORMAT = 2
"""Version of the files; another one is refused."""
MANIFEST = "manifest.json"
LEFTOVER_SECONDS = 3600.0
"""Unfinished files older than this are of a writer that was killed."""


class ArchiveError(ValueError):
    """A folder or a file that cannot be used; the text names it and says what is wrong."""


class OtherRollouts(ArchiveError):
    """The folder holds rollouts that were made with something else."""


class Archive:
    """The groups of one rollout in a folder, in the order of their questions.

    `manifest` says what the rollouts are made with, as JSON can hold it (nested mappings); None
    takes a folder that exists as it is. `notes` are kept beside it and never compared. Raises
    OtherRollouts for a folder that holds rollouts made with something else, naming the keys that
    differ, and ArchiveError for one with groups, or to be taken as it is, but without a manifest.
    """

    def __init__(
        self,
        folder: str | Path,
        manifest: Mapping[str, Any] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        path = self.folder / MANIFEST
        wanted = None if manifest is None else jsonable({"format": FORMAT, **manifest})
        if wanted is not None and not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._files():  # nobody knows what made them
                raise ArchiveError(
                    f"{self.folder}: holds groups, but lacks {MANIFEST}: what made them is not "
                    "known; take another folder, or remove this one"
                )
            content = jsonable({**wanted, "notes": notes or {}})
            _replace(path, json.dumps(content, indent=2).encode() + b"\n")
        self.manifest = _read_manifest(path)
        self.notes: dict[str, Any] = self.manifest.pop("notes", {})
        if wanted is not None:
            self._check_same(wanted)
        if self.manifest.get("format") != FORMAT:
            got = self.manifest.get("format")
            raise ArchiveError(f"{path}: got format {got!r}, expected {FORMAT}")
        if wanted is not None:
            self._clear_up()

    def _check_same(self, wanted: dict[str, Any]) -> None:
        if found := list(differences(self.manifest, wanted)):
            raise OtherRollouts(
                f"{self.folder}: holds rollouts that were made with something else: "
                f"{'; '.join(found)}; take another folder, or remove this one"
            )

    def _clear_up(self) -> None:
        for path in self.folder.glob(".*.safetensors.*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink()

    def write(self, group: Group) -> None:
        """Keep a group; one that is there already is replaced.

        Raises OSError that names the file when it cannot be written.
        """
        arrays, record = pack(group)
        text = json.dumps(record)
        metadata = {"group": text, "digest": _digest(text, arrays)}
        target = self._path(group.index)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            save_file(arrays, unfinished, metadata=metadata)
            # The library makes files that are for one account alone; the manifest is as wished.
            unfinished.chmod((self.folder / MANIFEST).stat().st_mode & 0o666)
            unfinished.replace(target)
        except SafetensorError as error:
            raise OSError(f"{target}: cannot be written: {error}") from error
        finally:
            unfinished.unlink(missing_ok=True)

    def read(self, index: int, name: str) -> Group | None:
        """The group of question number `index`, or None when it has to be played.

        That is so when it has not been written, or when every episode in it failed. Raises
        ArchiveError for a file that is broken or holds another group than `name`.
        """
        path = self._path(index)
        if not path.is_file():
            return None
        group = read_group(path)
        if all(episode.outcome is Outcome.ERROR for episode in group.episodes):
            return None
        if (group.index, group.name) != (index, name):
            raise ArchiveError(
                f"{path}: holds group {group.name!r} of question number {group.index}, "
                f"expected {name!r} of number {index}"
            )
        return group

    def errors(self, index: int) -> list[str] | None:
        """Why each episode of a group failed ("" for those that did not); None without a group.

        The file is checked whole, but no image is opened. Raises ArchiveError for a broken one.
        """
        path = self._path(index)
        if not path.is_file():
            return None
        record, _ = _content(path)
        failed = str(Outcome.ERROR)
        return [e["error"] or failed if e["outcome"] == failed else "" for e in record["episodes"]]

    def check(self) -> None:
        """Raise ArchiveError unless every group is there, each in a file that is not cut short."""
        expected = len(self.manifest.get("questions", ()))
        if len(self) < expected or not expected:
            raise ArchiveError(
                f"{self.folder}: holds {len(self)} of {expected} groups: it was not finished"
            )
        for path in self._files():
            with _told(path), safe_open(path, framework="np"):
                pass

    def __contains__(self, index: int) -> bool:
        """Whether the group of question number `index` has been written."""
        return self._path(index).is_file()

    def __iter__(self) -> Iterator[Group]:
        """One group at a time; only the last one is in memory."""
        for path in self._files():
            yield read_group(path)

    def at(self, places: Sequence[int]) -> Iterator[Group]:
        """Those at some places of the order, one at a time."""
        files = self._files()
        yield from (read_group(files[place]) for place in places)

    def __len__(self) -> int:
        return len(self._files())

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.safetensors"))

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.safetensors"


def read_group(path: Path) -> Group:
    """The group in one file. Raises ArchiveError that names the file and what is wrong with it."""
    record, arrays = _content(path)
    with _told(path):
        return unpack(record, arrays.__getitem__)


def _content(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `pack` made of the group in a file. Raises ArchiveError."""
    with _told(path):
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if not {"group", "digest"} <= metadata.keys():
                raise ArchiveError(f"{path}: is a safetensors file, but holds no group")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _digest(metadata["group"], arrays) != metadata["digest"]:
            raise ArchiveError(f"{path}: its content is not what was written: the digest differs")
        return json.loads(metadata["group"]), arrays


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever reading a file raises names the file."""
    try:
        yield
    except ArchiveError:
        raise
    except (SafetensorError, OSError) as error:
        raise ArchiveError(f"{path}: cannot be read, perhaps cut short: {error}") from error
    except KeyError as error:
        raise ArchiveError(f"{path}: lacks {error}") from error
    except (ValueError, TypeError, LookupError) as error:
        raise ArchiveError(f"{path}: {error}") from error


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    state = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        state.update(name.encode())
        state.update(np.ascontiguousarray(arrays[name]).data.cast("B"))
    return state.hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise ArchiveError(f"{path.parent}: is no archive of rollouts: lacks {path.name}") from None
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ArchiveError(f"{path}: got {type(found).__name__}, expected an object")
    return found


def _replace(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def jsonable(value: Mapping[str, Any]) -> dict[str, Any]:
    """As it will be read: tuples are lists, paths are text."""
    found: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return found
