"""Work for processes. A module of its own: each of them loads it, and nothing else."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator


class Untold(Exception):
    """One that cannot be unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def work(item: int) -> Iterator[int]:
    if item == 3:
        raise Untold("not", "portable")
    yield item
    yield item * 10


def stubborn(item: int) -> Iterator[int]:
    yield os.getpid()
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


def nothing() -> None:
    pass
