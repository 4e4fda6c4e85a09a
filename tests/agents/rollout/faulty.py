"""Engines that answer one by one or break down, datasets and dialogues that fail on demand."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from agents.rollout.batches import named
from agents.rollout.engines import Failure, Reply, Sampling
from agents.rollout.loop import Group
from hrvision_env.datasets import Samples
from hrvision_env.dialogues import End, UserTurn
from hrvision_env.dialogues.mgpo import Dialogue as Mgpo
from hrvision_env.records import ImageRef, Sample
from hrvision_env.vector import HighResVQAVectorEnv

from . import questions
from .conftest import ENV

Where = tuple[str, int, int]
"""Group, member and number of a reply."""


def make_env(num_envs: int = 4, group_size: int = 2, **changes: Any) -> HighResVQAVectorEnv:
    return HighResVQAVectorEnv(num_envs=num_envs, group_size=group_size, **{**ENV, **changes})


def flaky_env(num_envs: int = 4) -> HighResVQAVectorEnv:
    """Groups of two siblings; images and steps that fail on demand.

    Nothing is opened ahead: whether the loop or a thread meets the fault would be chance.
    """
    env = make_env(num_envs, 2, dataset=f"{__name__}:load", dialogue=f"{__name__}:Dialogue")
    env.prefetch = lambda questions: None  # type: ignore[method-assign]
    return env


def where(chat: Any) -> Where:
    return (chat.group, chat.member, chat.replies)


class Wrapped:
    """An engine that asks `fault(chat, time)` before each reply, `time` counted from 1.

    An exception is raised, a reply is given instead of the engine's own; None lets it answer.
    """

    def __init__(self, engine: Any, fault: Callable[[Any, int], Any] = lambda *_: None) -> None:
        self.engine, self.fault = engine, fault
        self.asked: Counter[Where] = Counter()
        self.sizes: list[int] = []
        """Of the batches, in chats."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def generate(self, chats: Sequence[Any], sampling: Sampling) -> list[Reply]:
        self.sizes.append(len(chats))
        replies: list[Reply] = []
        for chat in chats:
            self.asked[where(chat)] += 1
            reply = self.fault(chat, self.asked[where(chat)])
            if isinstance(reply, BaseException):
                raise reply
            replies.append(reply)
        missing = [n for n, reply in enumerate(replies) if reply is None]
        answers = self.engine.generate([chats[n] for n in missing], sampling)
        for n, reply in zip(missing, answers, strict=True):
            replies[n] = reply
        return replies


class OneByOne(Wrapped):
    """The same as a continuous engine: one reply at a time, of whoever `choose(waiting)` picks."""

    def __init__(
        self,
        engine: Any,
        choose: Callable[[list[Any]], int] = lambda waiting: 0,
        fault: Callable[[Any, int], Any] = lambda *_: None,
    ) -> None:
        super().__init__(engine, fault)
        self.choose = choose
        self.waiting: list[tuple[Any, Sampling]] = []
        self.events: list[tuple[str, Where]] = []

    def submit(self, chat: Any, sampling: Sampling) -> None:
        self.waiting.append((chat, sampling))
        self.events.append(("ask", where(chat)))

    def collect(self) -> list[tuple[Any, Reply]]:
        chat, sampling = self.waiting.pop(self.choose([chat for chat, _ in self.waiting]))
        self.events.append(("reply", where(chat)))
        try:
            return [(chat, self.generate([chat], sampling)[0])]
        except Exception as error:
            return [(chat, Failure(named(error)))]

    def cancel(self) -> None:
        self.waiting.clear()


class Memory:
    """An archive in memory."""

    def __init__(self) -> None:
        self.groups: dict[int, Group] = {}

    def read(self, index: int, name: str) -> Group | None:
        group = self.groups.get(index)
        assert group is None or group.name == name
        return group

    def write(self, group: Group) -> None:
        self.groups[group.index] = group


class Flaky:
    """Fails the first `times` times it is called in a place; `calls` counts them."""

    def __init__(self, times: int, error: BaseException, place: str = "") -> None:
        self.times, self.error, self.place = times, error, place
        self.calls: Counter[str] = Counter()

    def __call__(self, place: str = "") -> None:
        self.calls[place] += 1
        if place == self.place and self.calls[place] <= self.times:
            raise self.error


picture = Flaky(0, OSError())
"""Asked with a question's id whenever its image is read."""
step = Flaky(0, RuntimeError())
"""Asked with a question's id whenever the dialogue reacts to a reply."""


def load(split: str) -> Samples:
    """The four questions of `questions`, with images that are read by a function."""
    known = questions.load(split)
    return Samples([_reading(known[n]) for n in range(len(known))], "tests")


def load_mixed(split: str) -> Samples:
    """The same, the last one without options."""
    known = load(split)
    last = replace(known[3], answer_kind="short", options={})
    return Samples([*(known[n] for n in range(3)), last], "tests")


def _reading(sample: Sample) -> Sample:
    buffer = io.BytesIO()
    image = sample.images[0].image
    assert image is not None
    image.save(buffer, "PNG")

    def read() -> bytes:
        picture(sample.id)
        return buffer.getvalue()

    ref = ImageRef(read=read, key=f"{sample.id}.png", size=image.size)
    return replace(sample, images=(ref,))


class Dialogue(Mgpo):
    """MGPO, with a step that fails on demand."""

    def next(self, sample: Sample, reply: Any) -> UserTurn | End:
        step(sample.id)
        return super().next(sample, reply)


def check_same(groups: Sequence[Group], others: Sequence[Group]) -> None:
    """Trajectories and episodes are equal; log-probs but for rounding."""
    assert [g.name for g in groups] == [g.name for g in others]
    assert [g.index for g in groups] == [g.index for g in others]
    for one, two in zip(groups, others, strict=True):
        assert one.episodes == two.episodes
        assert len(one.trajectories) == len(two.trajectories)
        for a, b in zip(one.trajectories, two.trajectories, strict=True):
            assert (a.group, a.member, a.reward) == (b.group, b.member, b.reward)
            assert np.array_equal(a.token_ids, b.token_ids)
            assert [i.hash for i in a.images] == [i.hash for i in b.images]
            assert np.abs(a.logprobs - b.logprobs).max() < 1e-5
