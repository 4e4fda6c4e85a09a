"""The loop that turns questions into groups of trajectories: one algorithm for every engine.

A question enters as soon as a group of the vector environment is free. Its first observation is
tokenised and its images are encoded once, then the chat is forked for the siblings. Whoever gets
a reply is stepped and asked for the next one at once, whatever its siblings do; a group is handed
out as soon as its last member is done. Engines that answer whole batches get all that is open as
one batch (`batches.Batches`): then a question's siblings do go step by step.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np

from hrvision_env.records import Episode, Outcome, Sample
from hrvision_env.vector import HighResVQAVectorEnv

from .batches import continuous, named
from .codec import ImageMisfit
from .engines import Engine, Sampling
from .stats import EpisodeCost as EpisodeCost
from .stats import RolloutStats as RolloutStats
from .trajectory import Trajectory
from .turns import Member, Turns


class Progress(Protocol):
    """Called with (questions finished, questions in total) after each question."""

    def __call__(self, done: int, total: int, /) -> object: ...


@dataclass(frozen=True, eq=False)
class Group:
    """The siblings of one question. A member that failed before it said anything has an episode
    (with `Outcome.ERROR`) but no trajectory; one whose dialogue hid a part of the conversation has
    a trajectory for each part."""

    question_id: str
    trajectories: tuple[Trajectory, ...]
    episodes: tuple[Episode, ...]
    sample: Sample
    index: int = 0
    """Position in the rollout's `questions`."""
    name: str = ""
    """The chats' `group`: the question's id, with `#2` ... when it comes again."""
    costs: tuple[EpisodeCost, ...] = ()
    """One per sibling."""
    stats: RolloutStats = field(default_factory=RolloutStats)
    """What was counted while it was played."""


class Shelf(Protocol):
    """Where finished groups are kept, such as `archive.Archive`."""

    def read(self, index: int, name: str) -> Group | None:
        """The group, if it is there."""
        ...

    def write(self, group: Group) -> object: ...


def rollout(
    env: HighResVQAVectorEnv,
    engine: Engine,
    sampling: Sampling,
    *,
    questions: Sequence[int] | Sequence[str],
    retries: int = 1,
    stats: RolloutStats | None = None,
    progress: Progress | None = None,
    archive: Shelf | None = None,
) -> list[Group]:
    """Play every question (indices, or question ids) with `env.group_size` siblings, see `play`.

    The groups come in the order of `questions`. With an archive each is written as soon as it is
    finished, and those that it holds already are read instead of played: after an interruption
    the same call goes on, and its result is that of a run without one.
    """
    stats = RolloutStats() if stats is None else stats
    asked = _questions(env, questions)
    done: dict[int, Group] = {}

    def keep(group: Group) -> None:
        done[group.index] = group
        if progress is not None:
            progress(len(done), len(questions))

    def missing() -> Iterator[_Question]:
        for question in asked:
            group = archive.read(question.index, question.name) if archive is not None else None
            if group is None:
                yield question
            else:
                stats.count_read(group.stats)
                keep(group)

    with closing(_play(env, engine, sampling, missing(), retries, stats)) as groups:
        for group in groups:
            if archive is not None:
                archive.write(group)
            keep(group)
    return [done[index] for index in range(len(questions))]


def play(
    env: HighResVQAVectorEnv,
    engine: Engine,
    sampling: Sampling,
    *,
    questions: Sequence[int] | Sequence[str],
    retries: int = 1,
    stats: RolloutStats | None = None,
) -> Generator[Group, None, None]:
    """Play every question and hand out the groups as they finish, `env.num_groups` at a time.

    What fails for one member is data. A reply that failed is asked for again where that may help;
    an episode whose image, step or observation failed is begun anew; both together at most
    `retries` times per episode. Then it ends with `Outcome.ERROR` and the reason in
    `Episode.error`, and its siblings go on.

    What fails for everybody is raised: an engine that breaks down, an image that fits the
    model for no member (the configuration is wrong), weights that are loaded while groups are open
    (their episodes would be of two policies). A question that does not exist, or that the grader
    cannot grade, is found before anything is played. However this ends, Ctrl-C included, nothing
    is left behind in the engine.

    Another attempt draws the same tokens, since draws depend on nothing that went wrong: a run
    with faults that pass, such as a server that is busy, is equal to one without. A fault that
    comes from the reply itself, such as a crop that does not fit into memory, comes again.
    """
    stats = RolloutStats() if stats is None else stats
    return _play(env, engine, sampling, iter(_questions(env, questions)), retries, stats)


@dataclass(frozen=True)
class _Question:
    index: int
    given: int | str
    """As `questions` has it: an index or an id."""
    name: str


def _questions(
    env: HighResVQAVectorEnv, questions: Sequence[int] | Sequence[str]
) -> list[_Question]:
    """Questions with their names. Names enter the random numbers: one that comes again draws
    others.

    Raises IndexError or KeyError for a question that does not exist, ValueError for one that the
    grader cannot grade.
    """
    first, seen = env.envs[0], Counter[str]()
    known: list[_Question] = []
    for sample in first.questions.named(questions):
        first.referee.check(sample)
        seen[sample.id] += 1
        again = "" if seen[sample.id] == 1 else f"#{seen[sample.id]}"
        known.append(_Question(len(known), questions[len(known)], f"{sample.id}{again}"))
    return known


def _play(
    env: HighResVQAVectorEnv,
    engine: Engine,
    sampling: Sampling,
    questions: Iterator[_Question],
    retries: int,
    stats: RolloutStats,
) -> Generator[Group, None, None]:
    turns = Turns(env, continuous(engine, stats.batch_reasons), sampling, retries, stats)
    try:
        yield from _Loop(turns, questions).run()
    except BaseException:
        with suppress(Exception):  # a dead engine may not even be able to forget
            turns.engine.cancel()
        raise


@dataclass(eq=False)
class _Open:
    """A question that is being played."""

    question: _Question
    members: list[Member]


class _Loop:
    """Which questions are being played: at most one per group of the environment."""

    def __init__(self, turns: Turns, questions: Iterator[_Question]) -> None:
        self.turns, self.env, self.coming = turns, turns.env, questions
        self.ahead: deque[_Question] = deque()
        """Questions to come whose images are being opened."""
        self.open: dict[int, _Open] = {}
        """By the group's number in the environment."""
        self.begun = False
        """Whether the environment was reset."""
        self.fits = False
        """Whether any first observation fitted the model."""

    def run(self) -> Iterator[Group]:
        """Groups as they finish; each is handed out before its place is used again."""
        yield from self._fill()
        while self.turns.waiting:
            self.turns.advance()
            yield from self._finished()
            yield from self._fill()

    def _fill(self) -> Iterator[Group]:
        while free := [n for n in range(self.env.num_groups) if n not in self.open]:
            if not (questions := self._next(len(free))):
                return
            if not self.begun and len(questions) > 1:  # side by side: nothing was opened ahead
                self.env.prefetch(question.given for question in questions)
            self._begin(dict(zip(free, questions, strict=False)))
            self._look_ahead()
            yield from self._finished()  # those whose image failed

    def _next(self, count: int) -> list[_Question]:
        known = [self.ahead.popleft() for _ in range(min(count, len(self.ahead)))]
        return [*known, *islice(self.coming, count - len(known))]

    def _look_ahead(self) -> None:
        """Have the images of questions to come opened, by the half environment at least: the store
        drops what was not used for two calls."""
        missing = self.env.num_groups - len(self.ahead)
        if 2 * missing >= self.env.num_groups:
            more = list(islice(self.coming, missing))
            self.ahead.extend(more)
            if more:
                self.env.prefetch(question.given for question in more)

    def _begin(self, questions: dict[int, _Question]) -> None:
        """Play questions in free groups. One that fails is begun anew, in the end given up."""
        size = self.env.group_size
        for group, question in questions.items():
            members = [Member(group * size + number, number) for number in range(size)]
            self.open[group] = _Open(question, members)
        todo = list(questions)
        while todo:
            failed = self._reset(todo)
            todo = [group for group, reason in failed.items() if self._again(group, reason)]

    def _again(self, group: int, reason: str) -> bool:
        """Whether a group that could not begin may try again; it is given up otherwise."""
        members = self.open[group].members
        if all(self.turns.may_retry(member, reason) for member in members):
            return True
        for member in members:
            self.turns.give_up(member, reason)
        return False

    def _reset(self, groups: list[int]) -> dict[int, str]:
        """Begin the episodes of some groups and ask for their first replies.

        Returns why others could not begin. Raises when no image has fitted the model so far.
        """
        start = time.perf_counter()
        self.env.reset(options=self._reset_options(groups))
        self.begun = True
        seconds = self.turns.took(start, "env") / len(groups) / self.env.group_size
        failed: dict[int, str] = {}
        unfit: list[ImageMisfit] = []
        for group in groups:
            members = self.open[group].members
            for member in members:
                member.cost += EpisodeCost(seconds_env=seconds)
            if not self.env.active[members[0].place]:
                failed[group] = str(self.env.info(members[0].place)["error"])
            elif error := self._enter(self.open[group]):
                unfit += [error] if isinstance(error, ImageMisfit) else []
                failed[group] = named(error)
        if unfit and not self.fits:
            raise unfit[0]
        return failed

    def _enter(self, opened: _Open) -> Exception | None:
        """Tokenise a group's first observation, once, and begin its members' turns; returns what
        was raised if it doesn't fit."""
        chat = self.turns.engine.open_chat(opened.question.name)
        try:
            self.turns.observe(chat, opened.members[0])
        except Exception as error:
            return error
        self.fits = True
        for member in opened.members:
            member.root = chat
            self.turns.begin(member)
        return None

    def _reset_options(self, groups: list[int]) -> dict[str, Any]:
        given = [self.open[group].question.given for group in groups]
        options: dict[str, Any] = {"question_id" if isinstance(given[0], str) else "index": given}
        if self.begun:  # the first time, everybody: nothing stays open of what was played before
            mask = np.zeros((self.env.num_groups, self.env.group_size), dtype=np.bool_)
            mask[groups] = True
            options["reset_mask"] = mask.ravel()
        return options

    def _finished(self) -> Iterator[Group]:
        for group in list(self.open):
            if not any(self.env.active[member.place] for member in self.open[group].members):
                yield self._freeze(self.open.pop(group))

    def _freeze(self, opened: _Open) -> Group:
        episodes, trajectories, tally = list[Episode](), list[Trajectory](), RolloutStats()
        for member in opened.members:
            episode, parts = self._records(member)
            episodes.append(episode)
            trajectories += parts
            tally.add(member.tally)
        for stats in (self.turns.stats, tally):
            stats.count_group(episodes, trajectories)
        sample = self.env.sample(opened.members[0].place)
        return Group(
            question_id=sample.id,
            trajectories=tuple(trajectories),
            episodes=tuple(episodes),
            sample=sample,
            index=opened.question.index,
            name=opened.question.name,
            costs=tuple(member.cost for member in opened.members),
            stats=tally,
        )

    def _records(self, member: Member) -> tuple[Episode, list[Trajectory]]:
        episode = self.env.episode(member.place)
        # A step that failed may have left no turn behind.
        turns = zip(episode.turns, member.stops, strict=False)
        episode = replace(
            episode, turns=tuple(replace(turn, stop_reason=stop) for turn, stop in turns)
        )
        if member.chat is None:
            return episode, []
        # Greedy replies are scored by the model's own distribution, T = 1.
        sampling = self.turns.sampling
        temperature = sampling.temperature or 1.0
        try:
            return episode, member.chat.trajectories(episode, temperature, sampling.truncated)
        except ValueError as error:  # the engine broke the contract
            failed = replace(episode, outcome=Outcome.ERROR, reward=0.0, error=named(error))
            return failed, []
