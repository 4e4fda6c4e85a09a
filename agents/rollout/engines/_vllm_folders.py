"""Temporary folders of this process for weights, in memory where there is room.

A folder is removed when its `Folder` is, or at the latest when Python ends. What a killed process
left is removed at the next start: the names hold the number of the process.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import weakref
from pathlib import Path

MEMORY = Path("/dev/shm")
"""A file system in memory on Linux."""
NAME = re.compile(r"hrvision-[a-z]+-(?P<space>\d+)-(?P<pid>\d+)-")


class Folder:
    """A new folder at `path`, named after what it is for."""

    def __init__(self, kind: str, n_bytes: int | None = None) -> None:
        """`n_bytes` of content are kept in memory if twice so much is free; None: never."""
        prefix = f"hrvision-{kind}-{_process_space()}-{os.getpid()}-"
        where = None if n_bytes is None else roomy(n_bytes)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
        self.remove = weakref.finalize(self, _remove, self.path, os.getpid())
        """Also called when the object is gone, and when Python ends."""


def roomy(n_bytes: int) -> str | None:
    """A folder in memory where twice so much is free, or None: the usual place."""
    there = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * n_bytes
    return str(MEMORY) if there else None


def remove_leftovers() -> list[Path]:
    """Remove the folders of this user's processes that have died; returns them."""
    removed = []
    for place in {MEMORY, Path(tempfile.gettempdir())}:
        for path in place.glob("hrvision-*"):
            if _is_left_over(path):
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
    return removed


def _is_left_over(path: Path) -> bool:
    match = NAME.match(path.name)
    if match is None or int(match["space"]) != _process_space():
        return False  # of a container that shares this memory: its processes are not seen here
    try:
        ours = path.lstat().st_uid == os.getuid() and path.is_dir()
        os.kill(int(match["pid"]), 0)
    except ProcessLookupError:
        return ours
    except (OSError, OverflowError):
        pass  # the folder has just gone, or the process is somebody else's
    return False


def _process_space() -> int:
    """Numbers of processes mean something within a space of them; 0 where there is but one."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in a process that was forked off
        shutil.rmtree(path, ignore_errors=True)
