"""`Bounded`: a dictionary of at most so many bytes. The least recently used go first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    @property
    def n_bytes(self) -> int: ...


Item = TypeVar("Item", bound=Sized)


class Bounded(Generic[Item]):
    """Items with `n_bytes`. One that is larger than `limit` alone is not kept."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.n_bytes = 0
        """Of all that is kept."""
        self._items: OrderedDict[Hashable, Item] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._items

    def clear(self) -> None:
        self._items.clear()
        self.n_bytes = 0

    def get(self, key: Hashable) -> Item | None:
        """The item, which is then the last to go; None where there is none."""
        item = self._items.get(key)
        if item is not None:
            self._items.move_to_end(key)
        return item

    def put(self, key: Hashable, item: Item) -> None:
        """Keep an item, unless there is one under that key; others go until all fit."""
        if key not in self._items:
            self._items[key] = item
            self.n_bytes += item.n_bytes
        self._items.move_to_end(key)
        while self.n_bytes > self.limit:
            self.n_bytes -= self._items.popitem(last=False)[1].n_bytes
