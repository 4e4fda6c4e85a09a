"""A run in a process that is killed in the middle of something, and says of what.

The process notes what it is doing in a file, which outlives it. SIGKILL comes from a thread of its
own: nothing of ours can answer it, flush or clean up, as when another process had sent it.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START = "the run"
"""From its beginning to its end."""


@dataclass(frozen=True)
class Kill:
    """When the signal comes: so long after the beginning of the n-th of something."""

    what: str
    number: int
    seconds: float


class Notes:
    """What the process is doing, innermost last, for main thread and writer."""

    def __init__(self, path: Path, kill: Kill | None) -> None:
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.kill, self.seen = kill, Counter[str]()
        self.doing: dict[str, list[str]] = {}
        self.lock = threading.Lock()

    def begin(self, what: str) -> None:
        with self.lock:
            self.doing.setdefault(threading.current_thread().name, []).append(what)
            self._write()
            self.seen[what] += 1
            kill = self.kill
        if kill is not None and (what, self.seen[what]) == (kill.what, kill.number):
            threading.Thread(target=_end, args=(kill.seconds,), daemon=True).start()

    def end(self) -> None:
        with self.lock:
            self.doing[threading.current_thread().name].pop()
            self._write()

    def _write(self) -> None:
        text = "; ".join(f"{name}: {' > '.join(doing)}" for name, doing in self.doing.items())
        os.pwrite(self.handle, text.encode().ljust(400)[:400], 0)


def _end(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def watch(notes: Notes, owner: Any, name: str, what: str) -> None:
    """Have calls of a function noted."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def noted(*words: Any, **options: Any) -> Any:
        notes.begin(what)
        try:
            return inner(*words, **options)
        finally:
            notes.end()

    setattr(owner, name, noted)


def watch_everything(notes: Notes) -> list[str]:
    """Note every stage of a run; returns their names."""
    from agents.training import beginning, checkpoint, saved_policy, whole_folder
    from agents.training.evaluation import Evaluator
    from agents.training.learner import Learner
    from agents.training.optimizer import Optimizer
    from agents.training.publish import Publisher
    from agents.training.tracking import Tracker
    from agents.training.trainer import Trainer

    stages: dict[str, tuple[Any, str]] = {
        "rolling out": (Trainer, "_rollout"),
        "updating": (Learner, "learn"),
        "stepping": (Optimizer, "step"),
        "publishing": (Publisher, "publish"),
        "evaluating": (Evaluator, "run"),
        "logging": (Tracker, "log"),
        "saving traces": (Tracker, "played"),
        "opening": (Trainer, "_open"),
        "describing": (beginning, "describe_run"),
        "copying": (checkpoint.Checkpoints, "save"),
        "writing a checkpoint": (checkpoint.Writing, "run"),
        "writing weights": (checkpoint, "write_tensors"),
        "writing moments": (checkpoint, "write_moments"),
        "hashing": (checkpoint, "seal"),
        "renaming": (checkpoint, "appear"),
        "removing an old one": (checkpoint, "remove"),
        "handing to the disk": (whole_folder, "_to_disk"),
        "exporting": (saved_policy, "save_model"),
    }
    for what, (owner, name) in stages.items():
        watch(notes, owner, name, what)
    return list(stages)


def run(config: Any, run_dir: Path, noted: Path, kill: Kill | None) -> None:
    """Train to the end, or to the kill."""
    from agents.training.trainer import Trainer

    notes = Notes(noted, kill)
    watch_everything(notes)
    notes.begin(START)
    Trainer(config, run_dir).fit()
