"""A cache bounded by bytes that makes every value once, however many threads ask for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any, NamedTuple

Key = tuple[Any, ...]


class NoRoom(Exception):
    """Something that was to be made ahead of need would drive out what is there."""


class Costs(NamedTuple):
    """Bytes that a value holds."""

    memory: int = 0
    disk: int = 0


Make = Callable[[], tuple[Any, Costs]]


class Cache:
    """Values by key, the least recently used of them dropped when they hold too many bytes.

    The first part of a key is the value's kind. The newest value of each kind always stays, even
    when it alone is larger than the cache: it is what somebody is working with. Only a newer value
    of its kind takes its place. Threads may use a cache freely; after a fork the child calls
    `renew`.
    """

    def __init__(self, max_memory: int, max_disk: int = 0) -> None:
        self.limits = Costs(max_memory, max_disk)
        self.hits = self.evictions = 0
        self._entries: OrderedDict[Key, tuple[Any, Costs]] = OrderedDict()
        self._newest: dict[Any, Key] = {}
        self._round = 0
        self._rounds: dict[Key, int] = {}
        """In which round each value was used last."""
        self._generation = 0
        self.renew()

    def renew(self) -> None:
        """Forget other threads, as a fork does: what they were making and the locks they held."""
        self._changed = threading.Condition()
        self._making: dict[Key, Future[Any]] = {}
        self._reserved = Costs()
        held = [costs for _, costs in self._entries.values()]
        self.used = Costs(sum(c.memory for c in held), sum(c.disk for c in held))

    def once(self, key: Key, make: Make) -> Any:
        """The value of a key; made by the first who asks, while the others wait for it.

        What `make` raises is raised for all of them, and the next who asks tries again.
        """
        while True:
            with self._changed:
                if (entry := self._entries.get(key)) is not None:
                    self._entries.move_to_end(key)
                    self._newest[key[0]], self._rounds[key] = key, self._round
                    self.hits += 1
                    return entry[0]
                waiting = self._making.get(key)
                if waiting is None:
                    future, generation = Future[Any](), self._generation
                    self._making[key] = future
                else:
                    self.hits += 1
            if waiting is None:
                return self._make(key, make, future, generation)
            try:
                return waiting.result()
            except CancelledError:  # its maker was interrupted, or found no room ahead of need
                continue

    @contextmanager
    def room(self, kind: str, memory: int, disk: int = 0, ahead: bool = False) -> Iterator[None]:
        """Hold bytes for a value of a kind that is about to be made.

        Evicts what is in the way, but not the newest values of other kinds, and waits while others
        are making things that leave no room. What is larger than the whole cache gets in beside
        those alone. `ahead`: evicts only what was used in no round since the last but one, and
        waits for nobody; raises NoRoom instead.
        """
        with self._changed:
            if ahead:
                fresh = {key for key, used in self._rounds.items() if used >= self._round - 1}
                self._evict(self._left(memory, disk), fresh)
                if not self._fits(memory, disk):
                    raise NoRoom
            while not self._clear_the_way(kind, memory, disk) and self._reserved != Costs():
                self._changed.wait()
            self._reserve(memory, disk)
        try:
            yield
        finally:
            with self._changed:
                self._reserve(-memory, -disk)
                self._changed.notify_all()

    def clear(self) -> None:
        """Drop all values; those that are being made go only to who waits for them already."""
        with self._changed:
            self._generation += 1
            self._making = {}
            self._entries.clear()
            self._newest.clear()
            self._rounds.clear()
            self.used = Costs()

    def begin_round(self) -> None:
        """What was not used since the round before may make way for what is made ahead."""
        with self._changed:
            self._round += 1

    def __len__(self) -> int:
        return len(self._entries)

    def _make(self, key: Key, make: Make, future: Future[Any], generation: int) -> Any:
        try:
            value, costs = make()
        except BaseException as error:
            with self._changed:
                if self._generation == generation:
                    self._making.pop(key, None)
            if isinstance(error, Exception) and not isinstance(error, NoRoom):
                future.set_exception(error)
            else:
                future.cancel()
            raise
        with self._changed:
            if self._generation == generation:
                self._making.pop(key, None)
                self._entries[key] = (value, costs)
                self._newest[key[0]], self._rounds[key] = key, self._round
                self._hold(costs)
                self._evict(self.limits, spare=self._newest.values())
        future.set_result(value)
        return value

    # -- With the lock held

    def _hold(self, costs: Costs, sign: int = 1) -> None:
        memory, disk = self.used
        self.used = Costs(memory + sign * costs.memory, disk + sign * costs.disk)

    def _reserve(self, memory: int, disk: int) -> None:
        self._reserved = Costs(self._reserved.memory + memory, self._reserved.disk + disk)

    def _left(self, memory: int, disk: int) -> Costs:
        """What values may hold beside everything that is reserved and so many bytes."""
        return Costs(
            self.limits.memory - self._reserved.memory - memory,
            self.limits.disk - self._reserved.disk - disk,
        )

    def _fits(self, memory: int, disk: int) -> bool:
        left = self._left(memory, disk)
        return self.used.memory <= left.memory and self.used.disk <= left.disk

    def _clear_the_way(self, kind: str, memory: int, disk: int) -> bool:
        spare = [key for other, key in self._newest.items() if other != kind]
        self._evict(self._left(memory, disk), spare)
        return self._fits(memory, disk)

    def _evict(self, limits: Costs, spare: Collection[Key]) -> None:
        """Drop the oldest values until the rest is within the limits."""
        memory = max(self.used.memory - limits.memory, 0)
        disk = max(self.used.disk - limits.disk, 0)
        dropped = []
        for key, (_, costs) in self._entries.items():
            if not (memory or disk):
                break
            if ((memory and costs.memory) or (disk and costs.disk)) and key not in spare:
                memory, disk = max(memory - costs.memory, 0), max(disk - costs.disk, 0)
                dropped.append(key)
        for key in dropped:
            self._hold(self._entries.pop(key)[1], -1)
            del self._rounds[key]
            if self._newest.get(key[0]) == key:
                del self._newest[key[0]]
        self.evictions += len(dropped)
