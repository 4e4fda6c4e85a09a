"""What a run says and writes before its first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hrvision_env.curation.facts import facts

from ..config import Config, changed
from ..devices import dtype_of
from ..fingerprint import fingerprint
from ..vlm import VLM
from .about_run import describe_run
from .algorithm import get_algorithm
from .evaluation import Evaluator
from .health import Health
from .opening import dialect_warnings
from .ranks import Ranks
from .rollouts import Read, Sampled
from .silence import Silence
from .symptoms import Limits
from .tracking import Tracker


def open_tracker(config: Config, run_dir: Path, ranks: Ranks) -> Tracker | Silence:
    """The main process's tracker; the others are silent.

    Raises ImportError for a tracking service that is not installed.
    """
    if not ranks.main:
        return Silence()
    health = Health(Limits(mismatch=config.optim.mismatch_warn))
    return Tracker(run_dir, config.tracking, config.model_dump(), health)


def opening_lines(
    config: Config, policy: VLM, source: Sampled | Read, ranks: Ranks, changes: list[str]
) -> list[str]:
    """Warnings and the like, for the reader. `changes`: `changes_of` a resumed run."""
    lines = dialect_warnings(config, policy)
    if config.scale.deepspeed and config.scale.processes != ranks.world:
        lines += [
            f"warning: scale.processes: the config is meant for {config.scale.processes}, "
            f"{ranks.world} were started"
        ]
    if config.optim.minibatches > 1 and get_algorithm(config.algorithm.name).one_update:
        lines += [
            f"warning: optim.minibatches: got {config.optim.minibatches}, and the loss of "
            f"{config.algorithm.name} has no ratio: only the first update of a step is exact, "
            "1 is what it is meant for"
        ]
    lines += changes
    return lines + (source.warnings if isinstance(source, Read) else [])


def changes_of(config: Config, run_dir: Path) -> list[str]:
    """Warnings of differences of the config from the one that the run began with."""
    try:
        found = changed(run_dir / "config.yaml", config)
    except ValueError as error:
        return [f"warning: {error}; what it says is not compared"]
    return [f"warning: the run began with {line}" for line in found]


def describe(
    config: Config,
    run_dir: Path,
    source: Sampled | Read,
    evaluator: Evaluator | None,
    steps: int,
) -> list[str]:
    """Write what made the run into its folder; warnings of what was otherwise before."""
    data = {"dataset": source.data}
    if evaluator is not None:
        data["evaluation"] = facts(evaluator.asked)
    dtype = dtype_of(config.model.dtype, config.model.device)
    more: dict[str, Any] = {"steps": steps, "dtype": dtype}
    if config.model.lora or config.algorithm.options.kl:  # a checkpoint is not all that it takes
        more["model"] = fingerprint(config.model.path)
    return describe_run(run_dir, config, data, source.played_in, more)
