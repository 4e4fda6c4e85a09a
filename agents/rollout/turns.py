"""Who is asked for a reply, and what becomes of it: the part of the loop that knows no questions.

Nobody waits for a sibling. A reply is appended, the member's step is taken, and the next turn is
asked for; what fails is tried again, then ends the one episode that it concerns.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from hrvision_env.vector import HighResVQAVectorEnv

from .batches import named
from .engines import Completion, ContinuousEngine, Failure, Reply, Sampling
from .stats import EpisodeCost, RolloutStats, kind_of


@dataclass(eq=False)
class Member:
    """A sibling while it plays."""

    place: int
    """In the vector environment."""
    number: int
    """Among its siblings."""
    root: Any = None
    """Its group's chat after the first observation; None until that is there."""
    chat: Any = None
    stops: list[str] = field(default_factory=list)
    """Why each of its replies ended."""
    cost: EpisodeCost = field(default_factory=EpisodeCost)
    tally: RolloutStats = field(default_factory=RolloutStats)
    """Its share of the counts, so that they can be kept with its group."""
    asked: float = 0.0
    """When it was last asked for a reply, seconds."""


class Turns:
    """The turns of all members that are open."""

    def __init__(
        self,
        env: HighResVQAVectorEnv,
        engine: ContinuousEngine,
        sampling: Sampling,
        retries: int,
        stats: RolloutStats,
    ) -> None:
        self.env, self.engine, self.sampling = env, engine, sampling
        self.retries, self.stats = retries, stats
        self.waiting: dict[Any, Member] = {}
        """By chat: who waits for a reply."""

    def begin(self, member: Member) -> None:
        """Ask for the first reply."""
        member.chat, member.stops = member.root.fork(member.number), []
        self._ask(member)

    def advance(self) -> None:
        """Take the replies that are ready, step who got one, and ask for the next one."""
        self._check_version()
        start = time.perf_counter()
        ready = self.engine.collect()
        self.took(start, "engine")
        self._check_version()
        now = time.perf_counter()
        texts: dict[Member, str] = {}
        for chat, reply in ready:
            if (member := self.waiting.pop(chat, None)) is None:
                raise ValueError(
                    f"engine: got a reply for member {chat.member} of group {chat.group!r}, "
                    "expected one for a chat that waits"
                )
            text = self._hear(member, reply, now - member.asked)
            if text is not None:
                texts[member] = text
        if texts:
            self._step(texts)

    def observe(self, chat: Any, member: Member) -> None:
        """Append a member's current observation. Raises what the chat raises."""
        info, seen = self.env.info(member.place), self.env.observation(member.place)
        start = time.perf_counter()
        chat.observe(seen["text"], seen["images"], info["system"], fresh=info["fresh"])
        chat.stop = tuple(info["stop"])
        self.took(start, "tokenise")
        for stats in (self.stats, member.tally):
            stats.images_encoded += len(seen["images"])

    def may_retry(self, member: Member, reason: str) -> bool:
        """Count another attempt, if the episode has one left."""
        if member.cost.retries >= self.retries:
            return False
        member.cost += EpisodeCost(retries=1)
        for stats in (self.stats, member.tally):
            stats.retry_reasons[kind_of(reason)] += 1
        return True

    def give_up(self, member: Member, reason: str) -> None:
        """End an episode that has not ended by itself."""
        if self.env.active[member.place]:
            self.env.fail(member.place, reason)

    def took(self, start: float, part: str) -> float:
        """Add the seconds since `start` to those of a part of the rollout; returns them."""
        seconds, name = time.perf_counter() - start, f"seconds_{part}"
        setattr(self.stats, name, getattr(self.stats, name) + seconds)
        return seconds

    def _check_version(self) -> None:
        """Raise when the weights are others than those that an open episode began with."""
        version = self.engine.policy_version
        for chat in self.waiting:
            if chat.policy_version != version:
                raise RuntimeError(
                    f"engine: got weights of version {version} while group {chat.group!r} is open, "
                    f"which began with version {chat.policy_version}; expected new weights only "
                    "when every group is finished, or after closing `play`"
                )

    def _ask(self, member: Member) -> None:
        member.asked = time.perf_counter()
        self.waiting[member.chat] = member
        self.engine.submit(member.chat, self.sampling)
        self.took(member.asked, "engine")

    def _hear(self, member: Member, reply: Reply, seconds: float) -> str | None:
        """Append a reply. Returns its text; None when it failed and was asked for again, or not."""
        member.cost += EpisodeCost(seconds_engine=seconds)
        if isinstance(reply, Completion):
            try:
                text: str = member.chat.reply(reply)
            except Exception as error:  # the engine broke the contract
                reply = Failure(named(error))
            else:
                member.stops.append(str(reply.stop_reason))
                member.cost += EpisodeCost(tokens=len(reply.token_ids), turns=1)
                for stats in (self.stats, member.tally):
                    stats.count_reply(member.chat.replies - 1, reply, seconds)
                return text
        if reply.again and self.may_retry(member, reply.reason):
            self._ask(member)
        else:
            self.give_up(member, reply.reason)
        return None

    def _step(self, texts: dict[Member, str]) -> None:
        env, start = self.env, time.perf_counter()
        found = {member: env.reads_box(member.place, text) for member, text in texts.items()}
        env.step({member.place: text for member, text in texts.items()})
        seconds = self.took(start, "env") / len(texts)
        for member, parsers in found.items():
            member.cost += EpisodeCost(seconds_env=seconds)
            number, turns = member.chat.replies - 1, env.episode(member.place).turns
            turn = turns[number] if len(turns) > number else None
            for stats in (self.stats, member.tally):
                stats.count_step(number, seconds, parsers, turn)
            self._follow(member)

    def _follow(self, member: Member) -> None:
        """The turn after a step, or the episode anew if that failed."""
        place = member.place
        reason = str(self.env.info(place)["error"])
        if self.env.active[place]:
            try:
                self.observe(member.chat, member)
            except Exception as error:
                reason = named(error)
            else:
                self._ask(member)
        if reason and self.may_retry(member, reason):
            self.env.restart(place)
            self.begin(member)
        elif reason:
            self.give_up(member, reason)
