"""The work of a benchmark, cut into tasks: one agent on a chunk of one dataset's questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hrvision_env.env import HighResVQAEnv

from .ablations import LENT, playable
from .rows import Key
from .specs import AgentSpec, DatasetSpec

CHUNK = 64
"""Questions per task. An agent that plays more than these at once has tasks of four times as many
as it plays: at the end of each it waits for the last ones."""


class AgentError(RuntimeError):
    """An agent that cannot play: its model, its key, its server or what it is asked for is wrong.
    The text says what, on a line."""


@dataclass(frozen=True)
class Pictures:
    """Whose pictures are kept: of the first `count` questions of every dataset."""

    folder: Path
    count: int


@dataclass(frozen=True)
class Task:
    """One agent on some questions of one dataset."""

    agent: AgentSpec
    dataset: DatasetSpec
    questions: tuple[int, ...]
    sampled: bool
    """At the agent's temperature instead of greedily."""
    seed: int
    draws: int = 1
    """Episodes per question; their draws differ, and they share what they have in common."""
    pictures: Pictures | None = None
    """None: no pictures are kept."""

    @property
    def episodes(self) -> int:
        return len(self.questions) * self.draws

    def keys_of(self, question: int) -> list[Key]:
        """Of the rows of one question."""
        name, training = self.agent.name, self.agent.training
        return [
            (name, self.dataset.name, training, self.sampled, draw, question)
            for draw in range(self.draws)
        ]

    def row_keys(self) -> list[Key]:
        """Of all rows, in the order of the finished file."""
        return [key for question in self.questions for key in self.keys_of(question)]


def make_tasks(
    agents: Sequence[AgentSpec],
    datasets: Sequence[DatasetSpec],
    limit: int | None,
    *,
    samples: int,
    seed: int,
    pictures: Pictures | None = None,
) -> list[Task]:
    """The first `limit` questions of every dataset for every agent, agent by agent: once greedily,
    and `samples` times at the agent's temperature.

    Scripted agents are not sampled: their second episode would be their first one again; nor are
    ablations, which are compared by greedy episodes. An ablation of what a dataset sets itself is
    not played on it: it would be its agent again.
    Raises ValueError (or OSError) for a dataset or an environment that cannot be made, and for a
    question that an environment cannot ask or grade: all of them are looked at.
    """
    asked = {
        (env_key(agent), dataset.name): check_questions(agent, dataset, limit)
        for agent in {env_key(agent): agent for agent in agents}.values()
        for dataset in datasets
    }
    return [
        Task(agent, dataset, questions, draws > 0, seed, max(draws, 1), pictures)
        for agent in agents
        for dataset in datasets
        if not is_same(agent, agents, dataset)
        for draws in ((0, samples) if samples and is_sampled(agent) else (0,))
        for questions in chunk(asked[env_key(agent), dataset.name], agent.batch)
    ]


def is_sampled(agent: AgentSpec) -> bool:
    """Whether an agent is played at its temperature as well, where that is asked for."""
    return not agent.scripted and not agent.variant_of


def is_same(agent: AgentSpec, agents: Iterable[AgentSpec], dataset: DatasetSpec) -> bool:
    """Whether an ablation plays a dataset by the rules of its agent: the dataset sets them."""
    env = agent.env_for(dataset)
    return any(env == own.env_for(dataset) for own in agents if own.name == agent.variant_of)


def env_key(agent: AgentSpec) -> str:
    """Agents of one key play by the same rules."""
    return repr(sorted(agent.env.items())) + repr(agent.condition)


def check_questions(agent: AgentSpec, dataset: DatasetSpec, limit: int | None) -> tuple[int, ...]:
    """The questions that an agent plays. Raises ValueError or OSError when it cannot; of an
    ablation the error says which."""
    try:
        return _check_questions(agent, dataset, limit)
    except ValueError as error:
        if not agent.variant_of:
            raise
        what = "=".join(agent.condition)
        raise ValueError(f"--ablate {what}, agent {agent.variant_of!r}: {error}") from error


def _check_questions(agent: AgentSpec, dataset: DatasetSpec, limit: int | None) -> tuple[int, ...]:
    env = HighResVQAEnv(**agent.env_for(dataset))
    try:
        count = len(env.dataset) if limit is None else min(limit, len(env.dataset))
        questions = playable(env, range(count))
        for number in questions:
            env.referee.check(env.dataset[number])
    finally:
        env.close()
    return questions


def left_out(tasks: Sequence[Task], agents: Sequence[AgentSpec]) -> list[str]:
    """Which agents play fewer questions of a dataset than others, or none of them, and why: a
    sentence each."""
    played: dict[tuple[str, str], set[int]] = {}
    for task in tasks:
        played.setdefault((task.dataset.name, task.agent.name), set()).update(task.questions)
    said = []
    for dataset in {task.dataset.name: task.dataset for task in tasks}.values():
        most = max(len(asked) for (name, _), asked in played.items() if name == dataset.name)
        for agent in {agent.name: agent for agent in agents}.values():
            count = len(played.get((dataset.name, agent.name), ()))
            if count == most:
                continue
            same = is_same(agent, agents, dataset)
            why = "it sets that itself" if same else LENT[agent.env_for(dataset)["crop"]]
            said.append(
                f"{agent.name}: plays {count} of {most} questions of {dataset.name}; {why}."
            )
    return said


def chunk(questions: Sequence[int], batch: int = CHUNK) -> list[tuple[int, ...]]:
    """Questions in pieces for an agent that plays `batch` at once.

    >>> [len(piece) for piece in chunk(range(150))]
    [64, 64, 22]
    """
    size = CHUNK if batch <= CHUNK else 4 * batch
    return [tuple(questions[n : n + size]) for n in range(0, len(questions), size)]
