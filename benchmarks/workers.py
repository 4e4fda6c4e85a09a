"""Work in several processes: what is ready is handed over at once, and nobody is left behind.

Ctrl-C and errors end all processes: each breaks off what it is at, as a single process would, and
what it has handed over by then is kept. A process whose parent is gone, however it went, ends.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NoReturn

GRACE_SECONDS = 15.0
"""What a process gets to close its engine; Ctrl-C during the wait cuts it short."""

Work = Callable[[Any], Iterator[Any]]


class WorkerDied(RuntimeError):
    """A process ended by itself or was killed, by a system without memory for instance."""


class _Stopped(BaseException):
    """The parent wants this process to end."""


def run(
    work: Work,
    items: Sequence[Any],
    workers: int,
    keep: Callable[[int, Any], object],
    close: Callable[[], object],
) -> None:
    """Call `keep(n, part)` in this process for every part that `work(items[n])` yields in another.

    Each process does one item after the other, and `close()` at its end. `work`, `close`, items
    and parts are pickled. Raises what `work` raised, and WorkerDied.
    """
    inbox: queue.SimpleQueue[tuple[_Worker, str, Any]] = queue.SimpleQueue()
    todo = iter(enumerate(items))
    crew: list[_Worker] = []
    try:
        for numbered in [next(todo) for _ in range(min(workers, len(items)))]:
            crew.append(_Worker(work, close, inbox))
            crew[-1].give(numbered)
        while any(worker.number is not None for worker in crew):
            worker, what, value = inbox.get()
            if what == "part":
                keep(worker.number or 0, value)
            elif what == "done":
                worker.give(next(todo, None))
            elif what == "raised":
                raise value
            elif worker.number is not None:
                raise WorkerDied(f"a process died, {worker.exit_text()}; out of memory?")
    finally:
        try:
            _end(crew)
        finally:
            _rest(inbox, keep)


def _end(crew: Sequence[_Worker]) -> None:
    """Ask all to end, wait a while, insist."""
    limit = time.monotonic() + GRACE_SECONDS
    try:
        for worker in crew:
            worker.process.terminate()  # one that has nothing to do any more ignores it
        for worker in crew:
            worker.process.join(max(0.0, limit - time.monotonic()))
    finally:
        for worker in crew:
            worker.process.kill()
        for worker in crew:
            worker.process.join()
            worker.reader.join(2)  # a child of the process may hold the pipe open


def _rest(
    inbox: queue.SimpleQueue[tuple[_Worker, str, Any]], keep: Callable[[int, Any], object]
) -> None:
    """What the processes handed over before they ended."""
    while not inbox.empty():
        worker, what, value = inbox.get()
        if what == "part":
            keep(worker.number or 0, value)


class _Worker:
    """A process as its parent sees it."""

    def __init__(self, work: Work, close: Callable[[], object], inbox: queue.SimpleQueue) -> None:
        self.number: int | None = None
        """Of the item that it is at."""
        # A fresh process: a fork would inherit threads and locks of the libraries loaded here.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, close))
        resource_tracker.ensure_running()  # or it is started below, and unblocks the signal
        # Ctrl-C in a terminal goes to every process; only this one listens to it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        # Read by a thread: Ctrl-C in the middle of a message would make the rest of it unreadable.
        self.reader = threading.Thread(target=self._read, args=(inbox,), daemon=True)
        self.reader.start()

    def give(self, numbered: tuple[int, Any] | None) -> None:
        """The next item; None: there is none."""
        self.number, item = numbered or (None, None)
        with suppress(OSError):  # it died, which the reader finds out
            self.pipe.send(item)

    def exit_text(self) -> str:
        self.process.join(2)
        code = self.process.exitcode
        return f"killed by signal {-code}" if code and code < 0 else f"exit code {code}"

    def _read(self, inbox: queue.SimpleQueue) -> None:
        with suppress(EOFError, OSError):
            while True:
                inbox.put((self, *self.pipe.recv()))
        inbox.put((self, "gone", None))


def _serve(pipe: Connection, work: Work, close: Callable[[], object]) -> None:
    """What a process does."""
    line = _Line(pipe)
    signal.signal(signal.SIGTERM, line.stop)
    threading.Thread(target=line.listen, daemon=True).start()
    try:
        while (item := line.items.get()) is not None:
            try:
                for part in work(item):
                    line.send("part", part)
            except Exception as error:
                line.send("raised", _portable(error))
            else:
                line.send("done", None)
    except _Stopped:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        close()


class _Line:
    """A process's line to its parent."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.sending = self.stopping = False

    def listen(self) -> NoReturn:
        """Take items; the line is cut when the parent is gone, and then nobody wants the rest."""
        with suppress(BaseException):
            while True:
                self.items.put(self.pipe.recv())
        os._exit(1)

    def send(self, what: str, value: Any) -> None:
        """A whole message, whatever signal comes meanwhile."""
        self.sending = True
        try:
            self.pipe.send((what, value))
        finally:
            self.sending = False
        if self.stopping:
            raise _Stopped

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True
        if not self.sending:
            raise _Stopped


def _portable(error: Exception) -> Exception:
    """The error, or its text where it cannot travel; where it came from is in its notes."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"In a process:\n{text}")
    return error
