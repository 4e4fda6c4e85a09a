"""One run per folder: a second one that would write into it is refused."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import time
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

LOCK = ".lock"
"""In the run's folder."""
TAKEN = (errno.EACCES, errno.EAGAIN)


class RunLock:
    """Holds a run's folder from its making to `close`.

    The system gives the lock back when the process ends, in whatever way: what a killed run leaves
    is taken over. The file tells who holds it. Where the file system has no locks, nothing is held
    against other processes. Raises ValueError while another process holds it, or another run of
    this one.
    """

    def __init__(self, run_dir: Path) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.path = (run_dir / LOCK).resolve()
        if self.path in HELD:  # to open and close the file would give that one's lock back
            raise ValueError(
                f"run_dir {run_dir}: another run of this process is writing into it; close it, or "
                "take another --run_dir"
            )
        self._file = self.path.open("a+")
        try:
            # Of POSIX: forked children, e.g. workers of an engine, do not inherit it.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._holder()
            self._file.close()
            if error.errno in TAKEN:
                raise ValueError(
                    f"run_dir {run_dir}: another run is writing into it ({holder}); wait for it, "
                    "stop it, or take another --run_dir"
                ) from None
            HELD[self.path] = self
            return
        HELD[self.path] = self
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(_self()) + "\n")
        self._file.flush()

    def _holder(self) -> str:
        try:
            self._file.seek(0)
            told = json.loads(self._file.read())
            return f"process {told['pid']} on {told['host']}, since {told['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return f"see {self.path}"

    def close(self) -> None:
        """Give the folder back."""
        self._file.close()
        if HELD.get(self.path) is self:
            del HELD[self.path]


HELD: WeakValueDictionary[Path, RunLock] = WeakValueDictionary()
"""By their files, those of this process: the system's locks do not hold within one."""


def _self() -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"pid": os.getpid(), "host": platform.node(), "since": since}
