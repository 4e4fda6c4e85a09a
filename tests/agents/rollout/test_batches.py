"""Engines that only answer whole batches, asked as if they were continuous."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agents.rollout.batches import Batches, continuous
from agents.rollout.codec import Codec
from agents.rollout.engines import ContinuousEngine, Failure, Sampling
from agents.rollout.engines.scripted import ScriptedEngine
from agents.rollout.engines.transformers import TransformersEngine
from agents.vlm import VLM

from ..helpers import opening
from .faulty import OneByOne, Wrapped

SAMPLING = Sampling(max_tokens=6, seed=2)


@pytest.fixture(scope="module")
def engine(qwen3_folder: str) -> TransformersEngine:
    return TransformersEngine(VLM.load(qwen3_folder))


def ask(engine: Any, fault: Callable[[Any, int], Any], size: int = 3) -> tuple[Batches, Wrapped]:
    """Batches with the chats of one group submitted."""
    wrapped = Wrapped(engine, fault)
    batches = Batches(wrapped)
    root = opening(engine.codec, 0)
    for member in range(size):
        batches.submit(root.fork(member), SAMPLING)
    return batches, wrapped


def test_what_waits_is_one_batch(engine: TransformersEngine) -> None:
    batches, wrapped = ask(engine, lambda *_: None)
    assert isinstance(batches, ContinuousEngine)
    chats = [chat for chat, _ in batches._waiting]
    ready = batches.collect()
    assert [chat for chat, _ in ready] == chats and wrapped.sizes == [3]
    assert [reply for _, reply in ready] == engine.generate(chats, SAMPLING)
    assert batches.collect() == [] and wrapped.sizes == [3]


def test_replies_of_two_samplings_come_in_the_order_of_asking(engine: TransformersEngine) -> None:
    root, other = opening(engine.codec, 0), Sampling(max_tokens=2, seed=2)
    chats, wrapped = [root.fork(n) for n in range(4)], Wrapped(engine)
    batches = Batches(wrapped)
    for chat, sampling in zip(chats, [SAMPLING, other, SAMPLING, other], strict=True):
        batches.submit(chat, sampling)
    ready = batches.collect()
    assert [chat for chat, _ in ready] == chats and wrapped.sizes == [2, 2]
    assert [len(reply.token_ids) for _, reply in ready[1::2]] == [2, 2]  # type: ignore[union-attr]


def test_what_is_cancelled_is_not_generated(engine: TransformersEngine) -> None:
    batches, wrapped = ask(engine, lambda *_: None)
    batches.cancel()
    assert batches.collect() == [] and wrapped.sizes == []


def test_who_fails_alone_is_a_failure(engine: TransformersEngine) -> None:
    batches, wrapped = ask(engine, lambda chat, _: MemoryError("no room") if chat.member else None)
    replies = [reply for _, reply in batches.collect()]
    assert wrapped.sizes == [3, 2, 1, 1, 1]
    assert replies[1:] == [Failure("MemoryError: no room")] * 2
    assert replies[0] == engine.generate([opening(engine.codec, 0).fork(0)], SAMPLING)[0]


def test_a_failure_of_the_batch_alone_harms_nobody(engine: TransformersEngine) -> None:
    def fault(chat: Any, time: int) -> Exception | None:
        return RuntimeError("out of memory") if chat.member == 2 and time == 1 else None

    batches, wrapped = ask(engine, fault)
    assert not [reply for _, reply in batches.collect() if isinstance(reply, Failure)]
    assert wrapped.sizes == [3, 2, 1] and batches.reasons == {"RuntimeError": 1}


class Small(ScriptedEngine):
    """Has room for `rows` chats at once; `alive` says what of a failed call is still in memory."""

    def __init__(self, codec: Codec, rows: int) -> None:
        super().__init__(codec, lambda _: "A")
        self.rows = rows
        self.sizes: list[int] = []
        self.held: list[weakref.ref[Any]] = []
        self.alive: list[int] = []

    def generate(self, chats: Any, sampling: Sampling) -> list[Any]:
        self.alive.append(sum(ref() is not None for ref in self.held))
        self.sizes.append(len(chats))
        if len(chats) > self.rows:
            try:
                self._compute()
            except MemoryError as error:
                raise RuntimeError("the model failed") from error
        return super().generate(chats, sampling)

    def _compute(self) -> None:
        cache = np.zeros(1000)
        self.held.append(weakref.ref(cache))
        raise MemoryError(f"no room beside {cache.nbytes} bytes")


def test_what_a_failed_batch_held_is_free_before_its_halves(qwen3_folder: str) -> None:
    # Fault of an earlier version: the exception's traceback kept the call's memory.
    small = Small(Codec.from_pretrained(qwen3_folder), rows=2)
    batches, _ = ask(small, lambda *_: None, size=7)
    gc.disable()
    try:
        ready = batches.collect()
    finally:
        gc.enable()
    assert [reply for _, reply in ready] == small.generate([ready[0][0]], SAMPLING) * 7
    assert small.sizes[:-1] == [7, 4, 2, 2, 3, 2, 1]
    assert len(small.held) == 3 and set(small.alive) == {0}
    assert batches.reasons == {"RuntimeError": 3}


def test_one_bad_chat_of_many_costs_few_calls(engine: TransformersEngine) -> None:
    batches, wrapped = ask(
        engine, lambda chat, _: ValueError("bad") if chat.member == 5 else None, size=8
    )
    replies = [reply for _, reply in batches.collect()]
    assert wrapped.sizes == [8, 4, 4, 2, 1, 1, 2]
    assert [n for n, reply in enumerate(replies) if isinstance(reply, Failure)] == [5]
    assert batches.reasons == {"ValueError": 3}


def test_chats_that_were_given_up_are_let_go(engine: TransformersEngine) -> None:
    batches, _ = ask(engine, lambda chat, _: ValueError("bad") if chat.member else None)
    gc.disable()
    try:
        chats = [weakref.ref(chat) for chat, _ in batches.collect()]
        assert [ref() for ref in chats] == [None] * 3
    finally:
        gc.enable()
    assert not batches._failed


def test_where_it_was_raised_is_in_the_report(engine: TransformersEngine) -> None:
    batches, _ = ask(engine, lambda *_: MemoryError("no room"))
    with pytest.raises(MemoryError) as caught:
        batches.collect()
    assert {"collect", "_generate", "generate"} <= {entry.name for entry in caught.traceback}


def test_a_failure_of_all_is_raised_and_nothing_waits(engine: TransformersEngine) -> None:
    errors = iter(MemoryError(f"no room {n}") for n in range(9))
    batches, _ = ask(engine, lambda *_: next(errors))
    with pytest.raises(MemoryError, match="no room 0"):
        batches.collect()
    assert batches.collect() == []


def test_one_that_fails_is_not_everybody(engine: TransformersEngine) -> None:
    batches, wrapped = ask(engine, lambda *_: ValueError("bad"), size=1)
    assert [reply for _, reply in batches.collect()] == [Failure("ValueError: bad")]
    assert wrapped.sizes == [1]  # asking it alone would be the same again


def test_those_that_failed_before_are_no_sign_of_a_breakdown(engine: TransformersEngine) -> None:
    batches, _ = ask(engine, lambda chat, _: ValueError("bad") if chat.member else None)
    failed = [chat for chat, reply in batches.collect() if isinstance(reply, Failure)]
    assert len(failed) == 2
    for chat in failed:
        batches.submit(chat, SAMPLING)
    assert [reply for _, reply in batches.collect()] == [Failure("ValueError: bad")] * 2


def test_too_few_replies_are_noticed(engine: TransformersEngine) -> None:
    batches, wrapped = ask(engine, lambda *_: None)
    wrapped.generate = lambda chats, sampling: []  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="got 0 replies, expected 3"):
        batches.collect()


def test_ctrl_c_is_no_failure(engine: TransformersEngine) -> None:
    batches, wrapped = ask(engine, lambda *_: KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        batches.collect()
    assert wrapped.sizes == [3] and batches.collect() == []


def test_a_continuous_engine_is_used_as_it_is(qwen3_folder: str) -> None:
    scripted = ScriptedEngine(Codec.from_pretrained(qwen3_folder), lambda _: "A")
    one_by_one = OneByOne(scripted)
    assert continuous(one_by_one) is one_by_one
    assert isinstance(continuous(scripted), Batches)
    scripted.load_weights(None, version=3)
    assert Batches(one_by_one).policy_version == 3
    assert Batches(scripted).open_chat("q").policy_version == 3
