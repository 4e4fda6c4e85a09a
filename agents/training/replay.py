"""A training step again, from what a run kept: for looking at an update with a debugger."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..config import load
from .checkpoint import checkpoints_in, read_state
from .learner import Learner
from .opening import seed_everything
from .rollouts import episode_metrics
from .steps import ROLLOUTS, read_step
from .tracking import read_metrics


@dataclass(frozen=True)
class Replayed:
    """One step's metrics, computed again and as the run logged them."""

    step: int
    begun_after: int
    """Steps of the checkpoint that it was computed from; 0: from the start."""
    again: dict[str, float | None]
    logged: dict[str, float | None]
    """Those of the same names; None for a value that was not finite."""

    @property
    def different(self) -> list[str]:
        """Names of the metrics that are not equal to the last bit."""
        return [name for name, value in self.again.items() if self.logged.get(name) != value]


def replay(run_dir: str | Path, step: int) -> Replayed:
    """Compute step `step` (as metrics.jsonl counts) of a run with `rollout.archive: 1` again.

    From the newest checkpoint before it, or the start, through the archived rollouts; nothing in
    the folder is changed. On the same machine and versions every metric is equal to the last bit.
    Raises ConfigError, ValueError for a step that the run did not log, ArchiveError for one whose
    rollouts it didn't keep.
    """
    folder = Path(run_dir)
    config = load(folder / "config.yaml")
    rows = [r for r in read_metrics(folder / "metrics.jsonl") if r["split"] == "train"]
    logged = next((row for row in rows if row["step"] == step), None)
    if logged is None:
        there = f"{rows[0]['step']} to {rows[-1]['step']}" if rows else "none"
        raise ValueError(f"{folder}: got step {step}, expected one that was logged: {there}")
    root = Path(config.rollout.source) if config.rollout.source else folder / ROLLOUTS
    before = [(int(p.name.removeprefix("step_")), p) for p in checkpoints_in(folder)]
    start = max(((n, p) for n, p in before if n < step), default=(0, None))
    seed_everything(config)
    learner = Learner(config, start[1])
    if start[1] is not None:
        learner.load_state_dict(read_state(start[1]))
    metrics: dict[str, float] = {}
    while learner.step < step:
        groups = read_step(root, learner.step + 1)
        metrics = {**learner.learn(groups), **episode_metrics(groups)}
    again = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    return Replayed(step, start[0], again, {name: logged.get(name) for name in again})
