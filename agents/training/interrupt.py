"""Ctrl-C and SIGTERM end a run in order: a checkpoint first, then exit."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ECHO = 5.0
"""Seconds in which a launcher passes on a signal that went to its processes, too."""


class Interrupted(BaseException):
    """The run was asked to end. Not an Exception: a failed episode must not swallow it."""


class Interrupt:
    """Holds a request to end until a place where the state on disk would be whole.

    Inside `anywhere` it is raised at once, elsewhere by the next `check`. A second signal acts
    as it would without this class; of a process that was `launched` only after `ECHO` seconds:
    Ctrl-C reaches all processes of a terminal, and launchers tell theirs once more.

    >>> with Interrupt() as interrupt:
    ...     with interrupt.anywhere():
    ...         play_episodes()  # can be given up half-way
    ...     update_weights()  # not
    ...     interrupt.check()
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, *, launched: bool = False) -> None:
        self.requested = False
        self._echo = ECHO if launched else 0.0
        self._since = 0.0
        self._loose = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        for number in self.SIGNALS:
            try:
                self._before[number] = signal.signal(number, self._handle)
            except ValueError:  # not in the main thread: whoever runs us handles signals
                break
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            if time.monotonic() - self._since >= self._echo:
                self._restore()
                signal.raise_signal(number)
            return
        self.requested, self._since = True, time.monotonic()
        if not self._echo:
            self._restore()
        if self._loose:
            raise Interrupted

    def check(self) -> None:
        """Raise Interrupted when a request has come."""
        if self.requested:
            raise Interrupted

    @contextmanager
    def anywhere(self) -> Iterator[None]:
        """A region that may be left at any point."""
        self.check()
        self._loose = True
        try:
            yield
        finally:
            self._loose = False
