"""Work done ahead on a few threads, for whoever may need its result later."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable


class Background:
    """Runs tasks on up to `threads` daemon threads, which end when there is nothing to do.

    What a task raises is dropped. At most `limit` tasks wait; more are refused.
    """

    def __init__(self, threads: int, limit: int) -> None:
        self.threads, self.limit = threads, limit
        self._tasks: deque[Callable[[], object]] = deque()
        self._running = 0
        self._lock = threading.Lock()

    def submit(self, task: Callable[[], object]) -> bool:
        """Run a task soon; False if too many are waiting."""
        with self._lock:
            if len(self._tasks) >= self.limit:
                return False
            self._tasks.append(task)
            if self._running < self.threads:
                self._running += 1
                thread = threading.Thread(target=self._work, name="hrvision-prefetch", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system has no thread left; the next call tries again
                    self._running -= 1
        return True

    def clear(self) -> None:
        """Drop what has not begun."""
        with self._lock:
            self._tasks.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._tasks:
                    self._running -= 1
                    return
                task = self._tasks.popleft()
            with contextlib.suppress(Exception):
                task()
            del task
