"""Make rollouts and keep them: `python -m agents.collect CONFIG --out DIR --steps 1:8`.

CONFIG and `--section.key value` are those of `agents.train`; the engine is any that the config
names. `--steps A:B` plays the questions of training steps A to B, both included, counted from 1, a
folder each: `agents.train` with `--rollout.source DIR` learns from them, on another machine if you
like; the engine must be one that can be trained with. `--questions 0:64` (64 excluded, counted from
0; or `3,5`, or question ids) plays these into DIR itself. The same command goes on where it was
stopped, and plays again what is broken or failed as a whole.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

# Before torch is loaded, as in agents.train.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import rich.progress

from hrvision_env.curation.facts import facts
from hrvision_env.records import Outcome
from hrvision_env.vector import HighResVQAVectorEnv

from .config import Config, load
from .failures import FAILURES, told
from .fingerprint import fingerprint
from .rollout.archive import Archive, ArchiveError
from .rollout.engines import Engine
from .rollout.loop import RolloutStats, play
from .rollout.stats import kind_of
from .training.about_run import versions
from .training.interrupt import Interrupt, Interrupted
from .training.opening import (
    check_engine,
    open_engine,
    open_env,
    open_questions,
    seed_everything,
)
from .training.rollouts import manifest_of, sampling_of
from .training.steps import step_folder

LINE_SECONDS = 5.0
"""At most one line of progress in this time."""


@dataclass
class Collected:
    """What is in the folder, whenever it was played."""

    groups: int = 0
    failed: int = 0
    """Episodes."""
    lost: int = 0
    """Groups that failed with all their episodes."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why episodes failed, see `stats.kind_of`."""

    def count(self, errors: Sequence[str], episodes: int) -> None:
        """A group of so many episodes, some of which ended by `errors`."""
        self.groups += 1
        self.failed += len(errors)
        self.lost += len(errors) == episodes
        self.reasons.update(map(kind_of, errors))


@dataclass(frozen=True)
class Job:
    """What is played into one folder."""

    folder: Path
    step: int
    """Counted from 0; decides the draws."""
    questions: tuple[Any, ...]


def main(words: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 done but some groups failed with all their episodes, 2 bad input or a
    broken engine, 130 stopped by Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(
        "python -m agents.collect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", metavar="CONFIG", help="as for agents.train")
    parser.add_argument("--out", type=Path, required=True, help="folder of the rollouts")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--steps", help="A:B, both included, counted from 1")
    what.add_argument("--questions", help="A:B (B excluded), or indices or ids with commas")
    given, overrides = parser.parse_known_args(words)
    try:
        config = load(given.config, overrides)
        with Interrupt() as interrupt, interrupt.anywhere():
            found = collect(config, given.out, steps=given.steps, questions=given.questions)
    except Interrupted:
        print("stopped: the groups that were finished are kept; the same command goes on")
        return 130
    except FAILURES as error:
        print(f"error: {told(error)}", file=sys.stderr)
        return 2
    print(f"{given.out}: {found.groups} groups, {found.failed} episodes failed")
    for reason, times in found.reasons.most_common():
        print(f"  {times} x {reason}")
    if found.lost:
        print(f"{found.lost} groups failed as a whole; the same command plays them again")
    return 1 if found.lost else 0


def collect(
    config: Config, out: Path, *, steps: str | None = None, questions: str | None = None
) -> Collected:
    """Play what is not there yet, or is there broken, or failed with all its episodes.

    Raises what opening a run does, what the engine raises, and ArchiveError for a folder with other
    rollouts in it.
    """
    if steps is not None:
        check_engine(config.engine.name)
    seed_everything(config)
    with closing(open_env(config)) as env:
        jobs = jobs_of(config, out, env, steps, questions)
        data = facts(env.envs[0].dataset)
        notes = {"config": config.model_dump(mode="json"), "versions": versions(), "data": data}
        shelves = []
        weights = fingerprint(config.model.path)
        for job in jobs:
            manifest = manifest_of(config, job.step, job.questions)
            manifest["model"]["weights"] = weights
            manifest["data"] = data["hash"]
            shelves.append(Archive(job.folder, manifest, notes))
        found, stats = Collected(), RolloutStats()
        progress = Progress(sum(len(job.questions) for job in jobs))
        with closing(open_engine(config)) as engine, progress:
            for job, shelf in zip(jobs, shelves, strict=True):
                fill(config, job, shelf, env, engine, stats, progress, found)
    return found


def fill(
    config: Config,
    job: Job,
    shelf: Archive,
    env: HighResVQAVectorEnv,
    engine: Engine,
    stats: RolloutStats,
    progress: Progress,
    found: Collected,
) -> None:
    """Play a job's missing questions, one group in memory at a time beyond those being played."""
    todo = [n for n in range(len(job.questions)) if not is_done(shelf, n, found)]
    progress.add(len(job.questions) - len(todo), stats)
    groups = play(
        env,
        engine,
        sampling_of(config, job.step),
        questions=[job.questions[n] for n in todo],
        retries=config.rollout.retries,
        stats=stats,
    )
    with closing(groups):
        for group in groups:
            shelf.write(replace(group, index=todo[group.index]))
            failed = (e for e in group.episodes if e.outcome is Outcome.ERROR)
            found.count([e.error for e in failed], len(group.episodes))
            progress.add(1, stats)


def is_done(shelf: Archive, number: int, found: Collected) -> bool:
    """Whether a group is there to stay; it is then counted."""
    try:
        errors = shelf.errors(number)
    except ArchiveError as error:
        print(f"played again: {error}", flush=True)
        return False
    if errors is None or all(errors):
        return False
    found.count(list(filter(None, errors)), len(errors))
    return True


def jobs_of(
    config: Config,
    out: Path,
    env: HighResVQAVectorEnv,
    steps: str | None,
    questions: str | None,
) -> list[Job]:
    """Folders and their questions. Raises ValueError for a range that cannot be read."""
    if questions is not None:
        return [Job(out, 0, _questions(questions, len(env.envs[0].dataset)))]
    first, colon, last = (steps or "").partition(":")
    if not first.isdigit() or (colon and not last.isdigit()) or int(first) < 1:
        raise ValueError(
            f"--steps: got {steps!r}, expected A:B, both included and counted from 1, such as 1:8"
        )
    numbers = range(int(first), int(last or first) + 1)
    if not numbers:
        raise ValueError(f"--steps: got {steps!r}, expected A:B with A not above B")
    asked = open_questions(config, env)
    return [Job(step_folder(out, n), n - 1, tuple(asked.at(n - 1))) for n in numbers]


def _questions(text: str, size: int) -> tuple[Any, ...]:
    first, colon, last = text.partition(":")
    if colon and first.isdigit() and last.isdigit():
        found: tuple[Any, ...] = tuple(range(int(first), min(int(last), size)))
    else:
        parts = text.split(",")
        found = tuple(map(int, parts)) if all(p.isdigit() for p in parts) else tuple(parts)
    if not found or len(set(found)) < len(found):
        raise ValueError(
            f"--questions: got {text!r} of {size} questions, expected A:B, or indices or ids with "
            "commas, none twice"
        )
    return found


class Progress:
    """A bar on a terminal, a line now and then elsewhere: groups done, speed, time that is left."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.began = self.last = time.monotonic()
        self.bar = rich.progress.Progress(
            *rich.progress.Progress.get_default_columns(), rich.progress.MofNCompleteColumn()
        )
        self.task = self.bar.add_task("groups", total=total)

    def __enter__(self) -> Progress:
        if self.bar.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def add(self, groups: int, stats: RolloutStats) -> None:
        """`groups` more are done; those that were there already took no time."""
        self.done += groups
        self.bar.update(self.task, completed=self.done)
        now = time.monotonic()
        early = now - self.last < LINE_SECONDS and self.done < self.total
        if early or self.bar.console.is_terminal:
            return
        self.last = now
        rate = stats.groups / max(1e-9, now - self.began)
        left = f"  {(self.total - self.done) / rate:.0f} s left" if rate else ""
        speed = f"  {stats.tokens_per_second:.0f} tokens/s" if rate else ""
        print(f"{self.done}/{self.total} groups{speed}{left}", flush=True)


if __name__ == "__main__":
    from transformers.utils import logging

    logging.disable_progress_bar()
    sys.exit(main())
