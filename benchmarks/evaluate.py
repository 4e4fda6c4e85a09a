"""Play questions with agents, here or in several processes; every finished chunk is kept at once.

The work is cut into tasks: one agent on a chunk of one dataset's questions. A process keeps the
model of its last task, so an agent is loaded once per process.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrvision_env.env import HighResVQAEnv
from hrvision_env.records import Episode, Sample
from hrvision_env.scripted import SCRIPTED, Agent, play
from hrvision_env.vector import HighResVQAVectorEnv

from .metrics import Row, make_row
from .specs import AgentSpec, DatasetSpec

CHUNK = 64
"""Questions per task, and episodes that run at the same time."""

Played = list[tuple[Sample, Episode]]


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
    chunks = {}
    for dataset in datasets:
        env = HighResVQAEnv(**agents[0].env_for(dataset))
        size = len(env.dataset)
        chunks[dataset.name] = chunk(size if limit is None else min(limit, size))
        env.close()
    return [
        Task(agent, dataset, questions, draws, seed)
        for agent in agents
        for dataset in datasets
        for draws in ((False, True) if sampled and agent.model else (False,))
        for questions in chunks[dataset.name]
    ]


def chunk(count: int) -> list[tuple[int, ...]]:
    """The indices below `count` in pieces of at most CHUNK.

    >>> [len(piece) for piece in chunk(150)]
    [64, 64, 22]
    """
    return [tuple(range(n, min(n + CHUNK, count))) for n in range(0, count, CHUNK)]


def run_tasks(
    tasks: Sequence[Task],
    path: Path,
    *,
    workers: int = 1,
    progress: Callable[[int, int, str], None] = lambda done, total, agent: None,
) -> list[Row]:
    """Run all tasks and append a line per episode to `path` as soon as its chunk is done.

    `progress` is called with (episodes done, episodes in all, agent). Rows come back in the order
    of the tasks. Raises what a task raised, and BrokenProcessPool when a process died.
    """
    total, done = sum(len(task.questions) for task in tasks), 0
    results: list[list[Row]] = [[] for _ in tasks]
    with path.open("a", encoding="utf-8") as file:
        for index, rows in _results(tasks, workers):
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            results[index] = rows
            done += len(rows)
            progress(done, total, tasks[index].agent.name)
    return [row for rows in results for row in rows]


def _results(tasks: Sequence[Task], workers: int) -> Iterator[tuple[int, list[Row]]]:
    numbered = list(enumerate(tasks))
    if min(workers, len(tasks)) <= 1:
        yield from map(_run_numbered, numbered)
        return
    # Fresh processes: a fork would inherit threads and locks of the libraries loaded here. Ctrl-C
    # goes to this process alone, which ends them after the task that they are at.
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        for done in as_completed([pool.submit(_run_numbered, one) for one in numbered]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _run_numbered(numbered: tuple[int, Task]) -> tuple[int, list[Row]]:
    return numbered[0], run_task(numbered[1])


def run_task(task: Task) -> list[Row]:
    """Play one task's questions in this process."""
    env = task.agent.env_for(task.dataset)
    play = _play_scripted if task.agent.scripted else _play_model
    return [
        make_row(task.agent.name, task.dataset.name, sample, episode, task.sampled)
        for sample, episode in play(task, env)
    ]


def _play_scripted(task: Task, env_options: dict[str, Any]) -> Played:
    agent: Agent = SCRIPTED[task.agent.scripted](seed=task.seed)
    env = HighResVQAVectorEnv(num_envs=len(task.questions), **env_options)
    try:
        return play(agent, env, task.questions)
    finally:
        env.close()


def _play_model(task: Task, env_options: dict[str, Any]) -> Played:
    from agents.rollout.engines import Sampling
    from agents.rollout.evaluate import evaluate

    temperature = task.agent.temperature if task.sampled else 0.0
    sampling = Sampling(task.agent.max_tokens, temperature, task.seed)
    spec = task.agent
    engine = _engine(spec.model, spec.dtype, spec.device, spec.threads)
    return evaluate(env_options, engine, task.questions, sampling, batch=CHUNK)


@functools.lru_cache(maxsize=1)
def _engine(model: str, dtype: str, device: str, threads: int) -> Any:
    import torch
    from transformers.utils import logging

    from agents.rollout.engines.transformers import TransformersEngine
    from agents.vlm import VLM

    logging.disable_progress_bar()
    if threads:
        torch.set_num_threads(threads)
    return TransformersEngine(VLM.load(model, dtype=dtype, device=device))
