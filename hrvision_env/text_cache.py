"""Texts on disk, shared by all processes: judgements of a judge, replies of a server."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 30.0
"""Seconds to wait for another process that writes; `HASTE` once that was in vain."""
HASTE = 1.0


class TextCache:
    """Texts by key in one SQLite file. Safe to share between threads.

    What cannot be written is kept in memory, with a warning, and written when the file can be
    used again; what is on disk is always looked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._memory: dict[str, str] = {}
        self._lock = threading.Lock()
        self._patience = PATIENCE
        self._warned = False

    def get(self, key: str) -> str | None:
        """The text of a key; None for one that is not there, or is no text."""
        with self._lock:
            if key in self._memory:  # newer than what is on disk
                return self._memory[key]
        try:
            with self._open() as table:
                row = table.execute("SELECT text FROM texts WHERE key = ?", (key,)).fetchone()
        except (sqlite3.Error, OSError) as error:
            self._complain(error)
            return None
        return row[0] if row and isinstance(row[0], str) else None

    def put(self, key: str, text: str) -> None:
        """Keep a text, in place of what the key had."""
        with self._lock:
            self._memory[key] = text
            rows = list(self._memory.items())
        try:
            with self._open() as table:
                table.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            self._complain(error)
            return
        self._patience = PATIENCE
        with self._lock:
            for name, written in rows:
                if self._memory.get(name) == written:
                    del self._memory[name]

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own for each use, since threads and forks cannot share one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        opened = sqlite3.connect(self.path, timeout=self._patience)
        with contextlib.closing(opened) as table, table:
            table.execute("CREATE TABLE IF NOT EXISTS texts (key TEXT PRIMARY KEY, text TEXT)")
            yield table

    def _complain(self, error: Exception) -> None:
        self._patience = HASTE
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"cache {self.path}: {error}; texts that cannot be written are kept in memory, and "
            "lost at the end unless it can be used again",
            stacklevel=3,
        )
