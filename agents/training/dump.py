"""What a run leaves when an update stops it, so that the update can be computed again.

`run_dir/failure/step_000012/` holds the weights under which the update was computed (those that it
skipped changed nothing), the groups of the step, the config, and in `failure.json` the reason, the
random numbers and what came out. `python -m agents.replay` with that folder computes it anew.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from ..config import Config
from ..failures import FAILURES, told
from ..rollout.archive import Archive
from ..rollout.loop import Group
from .learner import Learner
from .ranks import Ranks
from .saved_policy import save_policy
from .update import Tried

FOLDER = "failure"
"""In the run's folder."""
RECORD = "failure.json"
WEIGHTS = "weights"
GROUPS = "rollouts"


def numbers(learner: Learner) -> dict[str, float]:
    """What came out of the newest update, over all processes: loss, gradient norm, mismatch.

    The gradient norm is left out where the loss was not finite or the update was not made.
    """
    tried = learner.updater.tried
    if tried is None:
        return {}
    loss = sum(chain.from_iterable(learner.ranks.gather(tried.losses)))
    found = {"loss": loss, **tried.mismatch}
    last = learner.optimizer.last
    if math.isfinite(loss) and last is not None and last.skipped:
        found["grad_norm"] = last.grad_norm
    return found


def keep_for_replay(
    run_dir: Path, config: Config, learner: Learner, groups: Sequence[Group], why: str
) -> str:
    """`dump`, and how to use it; or why there is none. Every process has to call it."""
    try:
        folder = dump(run_dir, config, learner, groups, why)
    except FAILURES as error:
        return f"what it came from could not be kept: {told(error)}"
    return f"to compute it again: python -m agents.replay {folder}"


def dump(
    run_dir: Path, config: Config, learner: Learner, groups: Sequence[Group], why: str
) -> Path:
    """Write the folder of an update that stopped the run after `learner.step` steps; returns it.

    Every process has to call it, with its share of the groups. Raises OSError.
    """
    folder = run_dir / FOLDER / f"step_{learner.step + 1:06d}"
    ranks, tried = learner.ranks, learner.updater.tried
    found = numbers(learner)
    ranks.told(lambda: _begin(folder, config))
    with ranks.together():
        _keep_groups(folder / GROUPS / _name(ranks), groups)
    with ranks.together():
        save_policy(learner.policy, folder / WEIGHTS, main=ranks.main)
    rngs = ranks.gather(tried.rng if tried else learner.rng)
    record = _record(learner, tried, found, rngs[0], why)
    ranks.told(lambda: (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n"))
    return folder


def _begin(folder: Path, config: Config) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / GROUPS).mkdir(parents=True)
    (folder / "config.yaml").write_text(config.to_yaml())


def _name(ranks: Ranks) -> str:
    return f"rank_{ranks.rank:04d}"


def _keep_groups(folder: Path, groups: Sequence[Group]) -> None:
    archive = Archive(folder, {"questions": [group.question_id for group in groups]})
    for n, group in enumerate(groups):
        archive.write(replace(group, index=n))


def _record(
    learner: Learner, tried: Tried | None, found: dict[str, float], rng: Any, why: str
) -> dict[str, Any]:
    return {
        "reason": why,
        "step": learner.step + 1,
        "update": tried.number if tried else None,
        "numbers": found,
        "rng": rng,
    }


def read_record(folder: Path) -> dict[str, Any]:
    """What failure.json says. Raises ValueError for a broken one."""
    path = folder / RECORD
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    return found


def read_groups(folder: Path) -> list[Group]:
    """The groups of the step in the order of its questions, of all processes."""
    shares = [list(Archive(part)) for part in sorted((folder / GROUPS).iterdir())]
    rows = zip_longest(*shares)
    return [group for group in chain.from_iterable(rows) if group is not None]
