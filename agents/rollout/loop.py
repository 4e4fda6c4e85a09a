"""The loop that turns questions into groups of trajectories.

A wave fills the vector environment with groups. Each group's first observation is tokenised and
its images are encoded once, then the chat is forked for the siblings; in every turn all open
chats go to the engine as one batch, and their texts to the environment as one step.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hrvision_env.records import Episode, Outcome, Sample
from hrvision_env.vector import HighResVQAVectorEnv

from .chat import Chat
from .engines import Completion, Engine, Sampling
from .trajectory import Trajectory

Progress = Callable[[int, int], None]
"""Called with (questions finished, questions in total)."""


@dataclass(frozen=True, eq=False)
class Group:
    """The siblings of one question. A member that failed before it said anything has an episode
    (with `Outcome.ERROR`) but no trajectory; one whose dialogue hid a part of the conversation has
    a trajectory for each part."""

    question_id: str
    trajectories: tuple[Trajectory, ...]
    episodes: tuple[Episode, ...]
    sample: Sample


@dataclass
class RolloutStats:
    """What a rollout did and cost; pass one object to several rollouts to add them up."""

    episodes: int = 0
    errors: int = 0
    """Episodes that ended with `Outcome.ERROR`."""
    sampled_tokens: int = 0
    total_tokens: int = 0
    """Tokens of all chats, expanded, at their end."""
    episodes_with_box: int = 0
    engine_seconds: float = 0.0
    env_seconds: float = 0.0
    """Environment, tokenisation and image normalisation."""
    stop_reasons: Counter[str] = field(default_factory=Counter)

    @property
    def valid_box_rate(self) -> float:
        """Share of the episodes with a valid box; 0 when there are none."""
        return self.episodes_with_box / self.episodes if self.episodes else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Sampled tokens per second of engine time."""
        return self.sampled_tokens / self.engine_seconds if self.engine_seconds else 0.0

    def count(self, chat: Chat, episode: Episode) -> None:
        self.episodes += 1
        self.errors += episode.outcome is Outcome.ERROR
        self.sampled_tokens += sum(sum(segment.loss_mask) for segment in chat.segments)
        self.total_tokens += sum(len(segment.token_ids) for segment in chat.segments)
        self.episodes_with_box += bool(episode.boxes)
        self.stop_reasons.update(t.stop_reason for t in episode.turns if t.stop_reason)


def rollout(
    env: HighResVQAVectorEnv,
    engine: Engine,
    sampling: Sampling,
    *,
    questions: Sequence[int] | Sequence[str],
    stats: RolloutStats | None = None,
    progress: Progress | None = None,
) -> list[Group]:
    """Play every question (indices, or question ids) with `env.group_size` siblings.

    A member whose image, reply or step fails ends with `Outcome.ERROR` and the reason in
    `Episode.error`; its siblings go on. When the engine fails for everybody (of two or more) the
    failure is raised, as it is nobody's in particular. So is an observation that doesn't fit the
    model: the configuration is wrong.
    """
    stats = RolloutStats() if stats is None else stats
    groups: list[Group] = []
    seen: Counter[str] = Counter()
    for start in range(0, len(questions), env.num_groups):
        wave = _Wave(env, engine, sampling, stats)
        wave.open(questions[start : start + env.num_groups], seen)
        env.prefetch(questions[start + env.num_groups : start + 2 * env.num_groups])
        while env.active.any():
            wave.turn()
        groups += wave.close()
        if progress is not None:
            progress(len(groups), len(questions))
    return groups


@dataclass(eq=False)
class _Member:
    index: int
    """Its place in the vector environment."""
    chat: Chat
    stops: list[str] = field(default_factory=list)
    """Why each of its replies ended."""


class _Wave:
    """As many groups as the environment holds, from reset to the last answer."""

    def __init__(
        self, env: HighResVQAVectorEnv, engine: Engine, sampling: Sampling, stats: RolloutStats
    ) -> None:
        self.env, self.engine, self.sampling, self.stats = env, engine, sampling, stats
        self.members: list[_Member] = []

    def open(self, questions: Sequence[int] | Sequence[str], seen: Counter[str]) -> None:
        """Reset the environment to `questions` and open a chat for each member."""
        start = time.perf_counter()
        env = self.env
        key = "question_id" if isinstance(questions[0], str) else "index"
        observations, _ = env.reset(options={key: list(questions)})
        for first in range(0, len(questions) * env.group_size, env.group_size):
            info = env.info(first)
            name = str(info["question_id"])
            seen[name] += 1
            # The group's name enters the random numbers: a repeated question draws others.
            root = Chat(self.engine.codec, name if seen[name] == 1 else f"{name}#{seen[name]}")
            root.policy_version = self.engine.policy_version
            root.stop = tuple(info["stop"])
            if env.active[first]:  # otherwise its image could not be opened
                text, images = observations["text"][first], observations["images"][first]
                root.observe(text, images, system=info["system"])
            self.members += [_Member(first + n, root.fork(n)) for n in range(env.group_size)]
        self.stats.env_seconds += time.perf_counter() - start

    def turn(self) -> None:
        """One reply and one step of every open member."""
        speakers = [member for member in self.members if self.env.active[member.index]]
        start = time.perf_counter()
        completions = self._generate(speakers)
        replied = time.perf_counter()
        texts: dict[int, str] = {}
        for member, completion in completions:
            member.chat.reply(completion)
            member.stops.append(str(completion.stop_reason))
            texts[member.index] = member.chat.codec.reply_text(completion.token_ids)
        observations = self.env.step(texts)[0]
        for member, _ in completions:
            n = member.index
            if self.env.active[n]:
                info = self.env.info(n)
                member.chat.stop = tuple(info["stop"])
                text, images = observations["text"][n], observations["images"][n]
                member.chat.observe(text, images, info["system"], fresh=info["fresh"])
        self.stats.engine_seconds += replied - start
        self.stats.env_seconds += time.perf_counter() - replied

    def _generate(self, members: list[_Member]) -> list[tuple[_Member, Completion]]:
        """The replies of all together, or after a failure of each alone; who fails is out."""
        try:
            chats = [member.chat for member in members]
            return list(zip(members, self.engine.generate(chats, self.sampling), strict=True))
        except Exception as error:
            failure = error
        done = []
        reasons: dict[int, str] = {}
        for member in members:
            try:
                done.append((member, self.engine.generate([member.chat], self.sampling)[0]))
            except Exception as error:
                reasons[member.index] = f"{type(error).__name__}: {error}"
        if not done and len(members) > 1:
            raise failure
        for index, reason in reasons.items():
            self.env.fail(index, reason)
        return done

    def close(self) -> list[Group]:
        """Freeze what was played."""
        groups = []
        size = self.env.group_size
        for first in range(0, len(self.members), size):
            members = self.members[first : first + size]
            episodes = [self._episode(member) for member in members]
            # Greedy replies are scored by the model's own distribution, T = 1.
            temperature = self.sampling.temperature or 1.0
            trajectories = [
                trajectory
                for member, episode in zip(members, episodes, strict=True)
                for trajectory in member.chat.trajectories(episode, temperature)
            ]
            for member, episode in zip(members, episodes, strict=True):
                self.stats.count(member.chat, episode)
            sample = self.env.sample(members[0].index)
            groups.append(Group(sample.id, tuple(trajectories), tuple(episodes), sample))
        return groups

    def _episode(self, member: _Member) -> Episode:
        episode = self.env.episode(member.index)
        # A step that failed may have left no turn behind.
        turns = zip(episode.turns, member.stops, strict=False)
        return replace(episode, turns=tuple(replace(t, stop_reason=stop) for t, stop in turns))
