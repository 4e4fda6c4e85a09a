"""Play questions with agents, here or in several processes; what is finished is kept at once.

The work is cut into tasks: one agent on a chunk of one dataset's questions. A process keeps the
engine of its last task, so an agent is loaded once per process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hrvision_env.env import HighResVQAEnv
from hrvision_env.records import Episode, Sample
from hrvision_env.scripted import SCRIPTED, Agent, play
from hrvision_env.vector import HighResVQAVectorEnv

from . import workers as processes
from .metrics import Row, make_row
from .specs import AgentSpec, DatasetSpec

CHUNK = 64
"""Questions per task. An agent that plays more than these at once has tasks of four times as many
as it plays: at the end of each it waits for the last ones."""

Played = tuple[Sample, Episode]


class AgentError(RuntimeError):
    """An agent that cannot play: its model, its key, its server or what it is asked for is wrong.
    The text says what, on a line."""


@dataclass(frozen=True)
class Task:
    """One agent on some questions of one dataset."""

    agent: AgentSpec
    dataset: DatasetSpec
    questions: tuple[int, ...]
    sampled: bool
    """At the agent's temperature instead of greedily."""
    seed: int


def make_tasks(
    agents: Sequence[AgentSpec],
    datasets: Sequence[DatasetSpec],
    limit: int | None,
    *,
    sampled: bool,
    seed: int,
) -> list[Task]:
    """The first `limit` questions of every dataset for every agent, agent by agent.

    Scripted agents are not sampled: their second episode would be their first one again.
    Raises ValueError (or OSError) for a dataset or an environment that cannot be made: every
    agent is tried on the first dataset and the first agent on every one.
    """
    for agent in agents:
        HighResVQAEnv(**agent.env_for(datasets[0])).close()
    counts = {}
    for dataset in datasets:
        env = HighResVQAEnv(**agents[0].env_for(dataset))
        size = len(env.dataset)
        counts[dataset.name] = size if limit is None else min(limit, size)
        env.close()
    return [
        Task(agent, dataset, questions, draws, seed)
        for agent in agents
        for dataset in datasets
        for draws in ((False, True) if sampled and not agent.scripted else (False,))
        for questions in chunk(counts[dataset.name], agent.batch)
    ]


def chunk(count: int, batch: int = CHUNK) -> list[tuple[int, ...]]:
    """The indices below `count` in pieces for an agent that plays `batch` at once.

    >>> [len(piece) for piece in chunk(150)]
    [64, 64, 22]
    """
    size = CHUNK if batch <= CHUNK else 4 * batch
    return [tuple(range(n, min(n + size, count))) for n in range(0, count, size)]


def run_tasks(
    tasks: Sequence[Task],
    path: Path,
    *,
    workers: int = 1,
    progress: Callable[[int, int, str], None] = lambda done, total, agent: None,
) -> list[Row]:
    """Run all tasks and append a line per episode to `path` as soon as it is played. However this
    ends, what was played is there, and nothing more is asked of any server.

    `progress` is called with (episodes done, episodes in all, agent). Rows come back in the order
    of the tasks. Raises AgentError, whatever else a task raised, and WorkerDied.
    """
    total, done = sum(len(task.questions) for task in tasks), 0
    results: list[dict[int, Row]] = [{} for _ in tasks]
    with path.open("ab", buffering=0) as file:  # one write: Ctrl-C leaves no half of a line

        def keep(number: int, rows: list[Row]) -> None:
            nonlocal done
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            file.write("".join(lines).encode())
            results[number] |= {row["index"]: row for row in rows}
            done += len(rows)
            progress(done, total, tasks[number].agent.name)

        if min(workers, len(tasks)) > 1:
            processes.run(run_task, tasks, workers, keep, _close_engine)
        else:
            for number, task in enumerate(tasks):
                with closing(run_task(task)) as parts:
                    for rows in parts:
                        keep(number, rows)
    return [rows[n] for task, rows in zip(tasks, results, strict=True) for n in task.questions]


def run_task(task: Task) -> Generator[list[Row], None, None]:
    """Play one task's questions in this process; rows come as they are ready. Raises AgentError,
    and whatever is nobody's fault but ours."""
    play = _play_scripted if task.agent.scripted else _play_model
    return play(task, task.agent.env_for(task.dataset))


def _row(task: Task, index: int, played: Played, usage: dict[str, Any] | None = None) -> Row:
    sample, episode = played
    row = make_row(task.agent.name, task.dataset.name, sample, episode, task.sampled)
    return {**row, "index": index, **({"usage": usage} if usage else {})}


def _play_scripted(task: Task, env_options: dict[str, Any]) -> Generator[list[Row], None, None]:
    agent: Agent = SCRIPTED[task.agent.scripted](seed=task.seed)
    env = HighResVQAVectorEnv(num_envs=len(task.questions), **env_options)
    try:
        played = play(agent, env, task.questions)
    finally:
        env.close()
    yield [_row(task, n, one) for n, one in zip(task.questions, played, strict=True)]


def _play_model(task: Task, env_options: dict[str, Any]) -> Generator[list[Row], None, None]:
    from agents.rollout import loop
    from agents.rollout.engines.openai import ServerError

    spec = task.agent
    engine = _engine(spec)
    env = HighResVQAVectorEnv(
        num_envs=min(spec.batch, len(task.questions)), group_size=1, **env_options
    )
    groups = loop.play(env, engine, _sampling(task), questions=task.questions, retries=spec.retries)
    try:
        with closing(groups):
            for group in groups:
                index = task.questions[group.index]
                usage = _usage(engine, group.name)
                yield [_row(task, index, (group.sample, group.episodes[0]), usage)]
    except (ServerError, ValueError) as error:  # the latter: what it cannot be asked for
        _close_engine()
        raise AgentError(f"agent {spec.name!r}: {error}") from error
    except BaseException:
        _close_engine()  # whatever state it is in
        raise
    finally:
        env.close()


def _sampling(task: Task) -> Any:
    from agents.rollout.engines import Sampling

    spec = task.agent
    drawn: dict[str, Any] = {"temperature": 0.0}
    if task.sampled:
        drawn = {"temperature": spec.temperature, "top_p": spec.top_p}
        drawn |= {"top_k": spec.top_k, "min_p": spec.min_p}
    return Sampling(max_tokens=spec.max_tokens, seed=task.seed, timeout=spec.timeout, **drawn)


def _usage(engine: Any, group: str) -> dict[str, Any] | None:
    """What a question cost, of an engine that counts it."""
    if not hasattr(engine, "take_usage"):
        return None
    usage = asdict(engine.take_usage(group))
    return {key: value for key, value in usage.items() if value is not None}


_opened: dict[str, Any] = {}
"""The engine of the last task, by what it was opened with."""


def _engine(spec: AgentSpec) -> Any:
    from agents.rollout.engines import ModelSource, engine_options, open_named

    source = ModelSource(path=spec.model, dtype=spec.dtype, device=spec.device)
    key = repr((spec.engine, source, spec.options, spec.threads))
    if key not in _opened:
        _close_engine()  # its memory is needed
        try:
            if spec.engine == "transformers":
                _prepare_torch(spec.threads)
            options = engine_options(spec.engine).model_validate(spec.options)
            _opened[key] = open_named(spec.engine, source, options)
        except (ValueError, OSError, ImportError) as error:
            raise AgentError(f"agent {spec.name!r} cannot be opened: {error}") from error
    return _opened[key]


def _close_engine() -> None:
    while _opened:
        _opened.popitem()[1].close()


def _prepare_torch(threads: int) -> None:
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    if threads:
        torch.set_num_threads(threads)
