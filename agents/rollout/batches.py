"""`Batches`: engines that answer whole batches, as if they took requests one by one."""

from __future__ import annotations

import traceback
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .engines import ContinuousEngine, Engine, Failure, Reply, Sampling
from .stats import kind_of


def continuous(engine: Engine, reasons: Counter[str] | None = None) -> ContinuousEngine:
    """The engine itself where it takes requests at any time, else its `Batches`."""
    can = all(callable(getattr(engine, name, None)) for name in ("submit", "collect", "cancel"))
    return engine if can else Batches(engine, reasons)  # type: ignore[return-value]


def named(error: BaseException) -> str:
    """An exception as a reason: `MemoryError: no room`."""
    return f"{type(error).__name__}: {error}"


class Batches:
    """`submit`, `collect` and `cancel` on top of `generate`: what waits is one batch.

    Nobody's next turn begins before the whole batch is done, so on an engine that could work
    continuously this is the lock-step form of the same work.

    `reasons` counts, by `stats.kind_of`, the batches that failed and were asked again in halves.
    """

    def __init__(self, engine: Engine, reasons: Counter[str] | None = None) -> None:
        self.engine = engine
        self.reasons: Counter[str] = Counter() if reasons is None else reasons
        self._waiting: list[tuple[Any, Sampling]] = []
        self._failed: weakref.WeakSet[Any] = weakref.WeakSet()
        """Chats whose last reply failed."""

    @property
    def policy_version(self) -> int:
        return self.engine.policy_version

    @policy_version.setter
    def policy_version(self, version: int) -> None:
        self.engine.policy_version = version

    def submit(self, chat: Any, sampling: Sampling) -> None:
        """Put a chat into the next batch."""
        self._waiting.append((chat, sampling))

    def collect(self) -> list[tuple[Any, Reply]]:
        """Generate for all that waits; in the order in which it was submitted.

        When the engine raises, each half of the batch is asked again, and so on: too large a
        batch is soon small enough, and those that fail alone are failures. When all fail, and two
        or more of them for the first time, it is nobody's failure in particular: the first is
        raised.
        """
        waiting, self._waiting = self._waiting, []
        batches: dict[Sampling, list[Any]] = {}
        for chat, sampling in waiting:
            batches.setdefault(sampling, []).append(chat)
        replies: dict[Any, Reply] = {}
        for sampling, chats in batches.items():
            replies |= zip(chats, self._replies(chats, sampling), strict=True)
        return [(chat, replies[chat]) for chat, _ in waiting]

    def cancel(self) -> None:
        """Forget what waits."""
        self._waiting = []
        self._failed.clear()

    def generate(self, chats: Sequence[Any], sampling: Sampling) -> list[Reply]:
        """One reply per chat, in order, as the engine gives them."""
        return self.engine.generate(chats, sampling)

    def open_chat(self, group: str) -> Any:
        return self.engine.open_chat(group)

    def load_weights(self, source: Any, version: int) -> None:
        self.engine.load_weights(source, version)

    def sleep(self) -> None:
        self.engine.sleep()

    def wake(self) -> None:
        self.engine.wake()

    def close(self) -> None:
        self.engine.close()

    def _replies(self, chats: list[Any], sampling: Sampling) -> list[Reply]:
        fresh = sum(chat not in self._failed for chat in chats)
        replies, first = self._answers(chats, sampling)
        if first and fresh > 1 and all(isinstance(reply, Failure) for reply in replies):
            raise first
        del first  # as below
        for chat, reply in zip(chats, replies, strict=True):
            (self._failed.add if isinstance(reply, Failure) else self._failed.discard)(chat)
        return replies

    def _answers(
        self, chats: list[Any], sampling: Sampling
    ) -> tuple[list[Reply], Exception | None]:
        """Replies, in halves where the whole fails; and what it raised, if it did."""
        try:
            return self._generate(chats, sampling), None
        except Exception as error:
            failure = error
        # Outside of the handler, and without what the failed call held: the halves need the memory.
        _let_go(failure)
        try:
            if len(chats) == 1:
                return [Failure(named(failure))], failure
            self.reasons[kind_of(named(failure))] += 1
            middle = (len(chats) + 1) // 2
            halves = (chats[:middle], chats[middle:])
            replies = [reply for half in halves for reply in self._answers(half, sampling)[0]]
            return replies, failure
        finally:
            del failure  # its traceback holds this call and its chats: a circle otherwise

    def _generate(self, chats: list[Any], sampling: Sampling) -> list[Reply]:
        replies = self.engine.generate(chats, sampling)
        if len(replies) != len(chats):
            raise ValueError(f"engine: got {len(replies)} replies, expected {len(chats)}")
        return replies


def _let_go(error: BaseException) -> None:
    """Drop the local variables of the calls that raised; their lines stay for the report."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        if (one := todo.pop()) is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            todo += [one.__cause__, one.__context__]
