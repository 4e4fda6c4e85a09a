"""Play tasks, here or in several processes; what is finished is kept at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from hrvision_env.lines import append_lines

from . import workers as processes
from .playing import close_engine, engine_key, run_task
from .rows import Key, Row, line_of, row_key
from .tasks import AgentError, Pictures, Task, chunk, make_tasks

__all__ = ["AgentError", "Pictures", "Task", "chunk", "make_tasks", "run_tasks"]


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
    of the tasks, whatever the order they were played in. Raises AgentError, whatever else a task
    raised, WorkerDied, and OSError when the disk is full.
    """
    todo = cut(by_engine(tasks), workers)
    total, done = sum(task.episodes for task in todo), 0
    found: dict[Key, Row] = {}

    def keep(number: int, rows: list[Row]) -> None:
        nonlocal done
        append_lines(path, b"".join(line_of(row) for row in rows))
        found.update((row_key(row), row) for row in rows)
        done += len(rows)
        progress(done, total, todo[number].agent.name)

    if min(workers, len(todo)) > 1:
        processes.run(run_task, todo, workers, keep, close_engine)
    else:
        for number, task in enumerate(todo):
            with closing(run_task(task)) as parts:
                for rows in parts:
                    keep(number, rows)
    return [found[key] for task in tasks for key in task.row_keys()]


def by_engine(tasks: Sequence[Task]) -> list[Task]:
    """The tasks, those of one engine side by side: a process opens it once."""
    first: dict[str, int] = {}
    for task in tasks:
        first.setdefault(engine_key(task.agent), len(first))
    return sorted(tasks, key=lambda task: first[engine_key(task.agent)])


def cut(tasks: Sequence[Task], workers: int) -> list[Task]:
    """Tasks for all processes: where there are fewer than these, each is cut in pieces.

    >>> [task.questions for task in cut([replace(task, questions=(0, 1, 2, 3, 4))], 2)]
    [(0, 1, 2), (3, 4)]
    """
    if not tasks or len(tasks) >= workers:
        return list(tasks)
    pieces = math.ceil(workers / len(tasks))
    found = []
    for task in tasks:
        size = max(1, math.ceil(len(task.questions) / pieces))
        parts = (task.questions[n : n + size] for n in range(0, len(task.questions), size))
        found += [replace(task, questions=part) for part in parts]
    return found
