"""A training step again, from what a run kept: for looking at an update with a debugger.

What several processes computed is computed by one, without DeepSpeed: equal up to rounding then.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from ..config import Config, load
from ..config_sections import Scale
from .checkpoint import checkpoints_in, step_of
from .dump import WEIGHTS, numbers, read_groups, read_record
from .learner import Learner
from .opening import seed_everything
from .optimizer import TrainingError
from .played import episode_metrics
from .steps import ROLLOUTS, read_step
from .tracking import read_metrics
from .update import Tried


@dataclass(frozen=True)
class Replayed:
    """One step's metrics, computed again and as the run logged them."""

    step: int
    begun_after: int
    """Steps of the checkpoint that it was computed from; 0: from the start."""
    again: dict[str, float | None]
    logged: dict[str, float | None]
    """Those of the same names; in metrics None for a value that was not finite."""
    notes: tuple[str, ...] = ()

    @property
    def different(self) -> list[str]:
        """Names of the metrics that are not equal to the last bit."""
        return [name for name in self.again if not self._equal(name)]

    def _equal(self, name: str) -> bool:
        one, other = self.again[name], self.logged.get(name)
        if one is None or other is None:
            return one is other
        return one == other or (math.isnan(one) and math.isnan(other))


def replay(run_dir: str | Path, step: int) -> Replayed:
    """Compute step `step` (as metrics.jsonl counts) of a run with `rollout.archive: 1` again.

    From the newest checkpoint before it, or the start, through the archived rollouts; nothing in
    the folder is changed. On the same machine and versions every metric is equal to the last bit;
    not so before a resumption that changed `optim.steps` under a schedule, or another setting.
    Raises ConfigError, ValueError for a step that the run did not log, ArchiveError for one whose
    rollouts it didn't keep.
    """
    folder = Path(run_dir)
    config = _alone(folder)
    rows = [r for r in read_metrics(folder / "metrics.jsonl") if r["split"] == "train"]
    logged = next((row for row in rows if row["step"] == step), None)
    if logged is None:
        there = f"{rows[0]['step']} to {rows[-1]['step']}" if rows else "none"
        raise ValueError(f"{folder}: got step {step}, expected one that was logged: {there}")
    root = Path(config.rollout.source) if config.rollout.source else folder / ROLLOUTS
    before = [(step_of(path), path) for path in checkpoints_in(folder)]
    start = max(((n, p) for n, p in before if n < step), default=(0, None))
    seed_everything(config)
    learner = Learner(config, start[1], steps=_steps(folder))
    if start[1] is not None:
        learner.resume(start[1])
    metrics: dict[str, float] = {}
    while learner.step < step:
        groups = read_step(root, learner.step + 1)
        metrics = {**learner.learn(groups), **episode_metrics(groups)}
    again = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    return Replayed(step, start[0], again, {name: logged.get(name) for name in again})


def replay_dump(folder: str | Path) -> Replayed:
    """Compute the update again that stopped a run, from the folder that `dump` wrote.

    Nothing in it is changed. Where ratios start from the trainer's log-probs before the step
    (`optim.importance`, `Algorithm.old_policy`) and the update is not the first of its step, they
    are those of the weights that it found.
    Raises ConfigError, ValueError, ArchiveError for a folder that is not whole.
    """
    folder = Path(folder)
    record, config = read_record(folder), _alone(folder)
    seed_everything(config)
    learner = Learner(config, folder / WEIGHTS)
    learner.step, learner.rng = record["step"] - 1, record["rng"]
    if record["update"] is not None:
        learner.updater.only = Tried(record["update"], record["rng"], [])
    broken = _watch_gradients(learner)
    with suppress(TrainingError):  # as it did
        learner.learn(read_groups(folder))
    again: dict[str, float | None] = {**numbers(learner)}
    logged = {name: record["numbers"].get(name) for name in again}
    which = "the step" if record["update"] is None else f"update {record['update'] + 1} of the step"
    notes = (
        f"{which}, by the weights that it found",
        f"the run stopped: {record['reason']}",
        *_findings(learner, broken),
    )
    return Replayed(record["step"], record["step"] - 1, again, logged, notes)


def _steps(folder: Path) -> int:
    """Of the whole run, as it noted them; 0 where it did not."""
    try:
        return int(json.loads((folder / "versions.json").read_text()).get("steps") or 0)
    except (OSError, ValueError, AttributeError, TypeError):
        return 0


def _alone(folder: Path) -> Config:
    """The config of a run, for one process."""
    return load(folder / "config.yaml").model_copy(update={"scale": Scale()})


def _watch_gradients(learner: Learner) -> set[str]:
    """Names of the weights with a gradient that is not finite, as they come up."""
    broken: set[str] = set()

    def look(name: str, gradient: Tensor) -> None:
        if not bool(gradient.isfinite().all()):
            broken.add(name)

    for name, weight in learner.policy.trainable():
        weight.register_hook(partial(look, name))
    return broken


def _findings(learner: Learner, broken: set[str]) -> list[str]:
    """Where the numbers that are not finite are."""
    named = dict(learner.policy.trainable())
    weights = [name for name, weight in named.items() if not bool(weight.isfinite().all())]
    rows = {"weights": weights, "gradients": [name for name in named if name in broken]}
    return [
        f"{what} that are not finite: {len(names)} of {len(named)} tensors"
        + (f", the first {names[0]}" if names else "")
        for what, names in rows.items()
    ]
