"""One episode per question: what benchmarks and the trainer's evaluation run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from hrvision_env.records import Episode, Sample
from hrvision_env.vector import HighResVQAVectorEnv

from .engines import Engine, Sampling
from .loop import Progress, play
from .stats import RolloutStats


def evaluate(
    env: Mapping[str, Any] | HighResVQAVectorEnv,
    engine: Engine,
    indices: Sequence[int] | Sequence[str],
    sampling: Sampling,
    batch: int = 64,
    *,
    retries: int = 1,
    stats: RolloutStats | None = None,
    progress: Progress | None = None,
) -> list[tuple[Sample, Episode]]:
    """Play the questions `indices` (indices or question ids) once each, in order.

    `env` is an open vector environment of group size 1, or the keyword arguments to open one of
    `batch` members. `sampling.temperature=0` is greedy. What fails is tried again `retries` times,
    see `loop.play`; failed episodes are in the result, with `Outcome.ERROR`. Tokens and images are
    let go as soon as an episode is over.
    """
    if isinstance(env, Mapping):
        if not indices:
            return []
        with closing(HighResVQAVectorEnv(min(batch, len(indices)), 1, **env)) as opened:
            return evaluate(
                opened, engine, indices, sampling, retries=retries, stats=stats, progress=progress
            )
    if env.group_size != 1:
        raise ValueError(f"evaluate: got group_size {env.group_size}, expected 1")
    done: dict[int, tuple[Sample, Episode]] = {}
    groups = play(env, engine, sampling, questions=indices, retries=retries, stats=stats)
    with closing(groups):
        for group in groups:
            done[group.index] = (group.sample, group.episodes[0])
            if progress is not None:
                progress(len(done), len(indices))
    return [done[index] for index in range(len(indices))]
