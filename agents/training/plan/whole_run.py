"""A run from its first to its last step: evaluations, checkpoints, hours, and room on the disk."""

from __future__ import annotations

from dataclasses import dataclass

from ...config import Config
from .cards import Card
from .memory import checkpoint_bytes
from .seconds import ASSUMED, Range
from .shapes import Shapes
from .work import itemsize_of


@dataclass(frozen=True)
class WholeRun:
    """Seconds and bytes of all steps together."""

    steps: int | None
    """None: one pass over a dataset that a plan does not open."""
    evaluations: int
    checkpoints: int
    evaluation: Range
    """Seconds of one."""
    checkpoint: Range
    """Seconds for which training waits for one."""
    checkpoint_bytes: int
    disk: int
    """Bytes in `run_dir` at most: checkpoints that are kept, the best one, the one that is being
    written, and the trained model. Pictures, episodes and archived rollouts are not in it."""
    seconds: Range | None
    """Of everything; None without a number of steps."""


def run_of(config: Config, shapes: Shapes, card: Card, step: Range, evaluation: Range) -> WholeRun:
    """`step`, `evaluation`: seconds of one."""
    steps, itemsize = config.optim.steps, itemsize_of(config)
    size = checkpoint_bytes(shapes, itemsize)
    evaluations = times(steps, config.eval.every) + 1 if steps and config.eval.every else 0
    checkpoints = times(steps, config.checkpoint.every) if steps else 0
    wait = _waiting(config, card, size)
    seconds = None
    if steps:
        seconds = scaled(step, steps) + scaled(evaluation, evaluations) + scaled(wait, checkpoints)
    kept = min(config.checkpoint.keep, checkpoints or config.checkpoint.keep)
    best = config.checkpoint.best and config.eval.every > 0
    model = (shapes.total - shapes.parameters["adapters"]) * itemsize
    disk = (kept + best + 1) * size + model
    return WholeRun(steps, evaluations, checkpoints, evaluation, wait, size, disk, seconds)


def times(steps: int, every: int) -> int:
    """How often something comes that is due every so many steps (0: never) and after the last."""
    return -(-steps // every) if every else 1


def scaled(seconds: Range, count: int) -> Range:
    return Range(seconds.best * count, seconds.usual * count, seconds.worst * count)


def _waiting(config: Config, card: Card, size: int) -> Range:
    """For the copy in main memory, or for the disk where there is none."""
    at, share = ASSUMED.disk, ASSUMED.link
    if config.checkpoint.background:
        values = (card.host * share.best, card.host * share.usual, card.host * share.worst)
    else:
        values = (at.best, at.usual, at.worst)
    return Range(*(size / value for value in values))
