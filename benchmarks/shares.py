"""Whose time it is: a process plays many questions at once, and each is given its share.

What passes while n questions are open is divided evenly among them, so that the shares of all
questions add up to the time that the process has played, however many it plays at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class Shares:
    """The time of a process that plays `count` questions in order, `at_once` of them at a time.

    >>> clock = iter([0.0, 4.0, 6.0]).__next__
    >>> shares = Shares(2, at_once=2, clock=clock)
    >>> shares.finish(1)  # 4 s with two open ones
    2.0
    >>> shares.finish(0)  # and 2 s alone
    4.0
    """

    def __init__(
        self, count: int, at_once: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        self._now = clock()
        self._passed = 0.0
        """Of a question that was open all the time."""
        self._waiting = list(range(count))[::-1]
        self._begun: dict[int, float] = {}
        for _ in range(min(at_once, count)):
            self._begin()

    def finish(self, question: int) -> float:
        """The share of a question that is over now; the next one takes its place.

        Raises KeyError for one that is not open.
        """
        before, self._now = self._now, self._clock()
        self._passed += (self._now - before) / len(self._begun)
        share = self._passed - self._begun.pop(question)
        self._begin()
        return share

    def skip(self) -> None:
        """What has passed since the last question was over is nobody's: it was not played."""
        self._now = self._clock()

    def _begin(self) -> None:
        if self._waiting:
            self._begun[self._waiting.pop()] = self._passed


def split(whole: int, parts: int) -> list[int]:
    """A whole number in as equal whole parts as there are.

    >>> split(7, 3)
    [3, 2, 2]
    """
    return [whole // parts + (number < whole % parts) for number in range(parts)]


def even(whole: float, parts: Sequence[float]) -> list[float]:
    """Divide in proportion to `parts`; evenly where they are all 0.

    >>> even(6.0, [1.0, 2.0])
    [2.0, 4.0]
    """
    total = sum(parts)
    if not total:
        return [whole / len(parts)] * len(parts)
    return [whole * part / total for part in parts]
