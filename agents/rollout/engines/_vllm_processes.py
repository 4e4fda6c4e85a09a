"""The processes of vLLM's core and its workers: whether they live, and that they are gone."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, NamedTuple

POLL = 0.2
"""Seconds between two looks at whether the engine's process lives."""
PATIENCE = 30.0
"""Seconds that killed processes may take to be gone: the driver frees a GPU's memory first."""


class Process(NamedTuple):
    """Numbers are used again, together with a time of start they are not."""

    pid: int
    started: int
    """Clock ticks since the machine's start."""


class Watch:
    """Wakes whoever waits for a core that has died, and ends one that hangs.

    vLLM notices a death in a thread of its own, and says so to the next caller; one that is
    waiting for an answer already would wait for ever.
    """

    def __init__(self, client: Any, error: type[Exception]) -> None:
        """`client`: vLLM's for a core in a process of its own; `error`: what a death raises."""
        self._client, self._error = client, error
        self._limit = float("inf")
        self.hung = False
        """Whether the core was ended because it had given no output for too long."""
        cores = [process.pid for process in client.resources.engine_manager.processes]
        self.processes = [process for pid in cores for process in tree(pid)]
        threading.Thread(target=self._run, daemon=True, name="vllm-watch").start()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """What is done meanwhile may take so long."""
        self._limit = time.monotonic() + seconds
        try:
            yield
        finally:
            self._limit = float("inf")

    def _run(self) -> None:
        resources = self._client.resources
        while not resources.engine_dead:
            if time.monotonic() > self._limit and not self.hung:
                self.hung = True
                end(self.processes, 0)
            time.sleep(POLL)
        self._client.outputs_queue.put_nowait(self._error())
        for future in list(self._client.utility_results.values()):
            if not future.done():
                future.set_exception(self._error())


def tree(pid: int) -> list[Process]:
    """A process and its descendants, as far as they live."""
    started = _started(pid)
    if started is None:
        return []
    children: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):
            children += [int(n) for n in (thread / "children").read_text().split()]
    below = [process for child in children for process in tree(child)]
    return [Process(pid, started), *below]


def end(processes: Iterable[Process], patience: float = PATIENCE) -> list[Process]:
    """Kill processes and wait until they are gone; those that are not after `patience` seconds."""
    left = [process for process in processes if _started(process.pid) == process.started]
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    until = time.monotonic() + patience
    while left and time.monotonic() < until:
        time.sleep(0.05)
        left = [process for process in left if _started(process.pid) == process.started]
    return left


@contextmanager
def interrupts_kept_away() -> Iterator[None]:
    """Processes that are started meanwhile never see an interrupt from the keyboard.

    It goes to every process at the terminal; when the core should end is for the engine to say.
    """
    resource_tracker.ensure_running()  # whose start would let interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _started(pid: int) -> int | None:
    """Clock ticks; None for a process that is no more, or only waits to be read off."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
