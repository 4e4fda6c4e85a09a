"""`Ranks`: the processes that train together, each with its share of the questions.

Everything they tell each other here is small (counts, records of episodes, a flag) and goes over
the CPU, by a group of its own: weights and gradients are DeepSpeed's business (`zero.py`). What one
rank sampled is its own; what is made of all of it (counts of a loss, metrics, whether to stop) is
the same on every rank, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, TypeVar

from ..failures import told
from .interrupt import Interrupted
from .optimizer import TrainingError

T = TypeVar("T")
GONE: Any = object()
"""Stands where a shorter share has nothing."""


class SharedFailure(TrainingError):
    """What went wrong on one rank, raised by all of them at the same place."""

    main = True
    """Whether it is raised by the rank that talks."""


@dataclass(frozen=True)
class Ranks:
    """One of `world` processes; every method but the properties is called by all of them.

    A rank that does not call what the others call leaves them waiting: after
    `scale.timeout_minutes` they give up.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    """Number of this process on its machine: which GPU it takes."""
    group: Any = None
    """The group of `torch.distributed` that small messages go through."""

    @property
    def main(self) -> bool:
        """Whether this is the one that writes files and talks."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """What each rank has, in their order, on all of them; values are pickled."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value, group=self.group)
        return found

    def told(self, make: Callable[[], T]) -> T:
        """What the main rank makes, on all of them; only there `make` is called.

        What it raises is raised by all, as SharedFailure.
        """
        made: list[T] = []
        with self.together():
            made += [make()] if self.main else []
        return self.gather(made)[0][0]

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over the ranks, by name; a name that a rank lacks counts as 0 there."""
        if self.world == 1:
            return dict(values)
        parts = self.gather(dict(values))
        names = dict.fromkeys(chain.from_iterable(parts))
        return {name: _sum([part.get(name, 0.0) for part in parts]) for name in names}

    def any(self, flag: bool) -> bool:
        """Whether it is true on one of them."""
        return any(self.gather(bool(flag)))

    def share(self, items: Sequence[T]) -> list[T]:
        """This rank's part of a list that all have; see `collect`.

        >>> Ranks(rank=1, world=2).share(["a", "b", "c", "d", "e"])
        ['b', 'd']
        """
        return list(items[self.rank :: self.world])

    def place(self, index: int) -> int:
        """Where the item number `index` of this rank's share stands in the whole list."""
        return index * self.world + self.rank

    def collect(self, items: Sequence[T]) -> list[T]:
        """What all ranks have made of their shares, in the order of the whole list."""
        rows = zip_longest(*self.gather(list(items)), fillvalue=GONE)
        return [item for row in rows for item in row if item is not GONE]

    @contextmanager
    def together(self) -> Iterator[None]:
        """A region in which a rank works for itself, and all leave it in the same way.

        What one of them raises is raised by all: an interruption as it is, anything else as
        SharedFailure (with one process: unchanged). Nothing inside may call another method.
        """
        if self.world == 1:
            yield
            return
        failed: BaseException | None = None
        try:
            yield
        except (Exception, Interrupted) as error:
            failed = error
        text = "" if failed is None else f"rank {self.rank}: {told(failed)}"
        found = [(t, i) for t, i in self.gather((text, isinstance(failed, Interrupted))) if t]
        if real := [text for text, interrupted in found if not interrupted]:
            shared = SharedFailure("; ".join(real))
            shared.main = self.main
            raise shared from failed
        if found:
            raise Interrupted from failed


def _sum(values: Sequence[float]) -> float:
    """Exact and in any order; infinities of both signs and overflows as `+` has them."""
    try:
        return math.fsum(values)
    except (ValueError, OverflowError):
        return float(sum(values))


ALONE = Ranks()
"""Training in one process."""
