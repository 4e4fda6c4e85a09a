"""One episode per question: what benchmarks and the trainer's evaluation run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hrvision_env.records import Episode, Sample
from hrvision_env.vector import HighResVQAVectorEnv

from .engines import Engine, Sampling
from .loop import Progress, RolloutStats, rollout


def evaluate(
    env: Mapping[str, Any] | HighResVQAVectorEnv,
    engine: Engine,
    indices: Sequence[int] | Sequence[str],
    sampling: Sampling,
    batch: int = 64,
    *,
    stats: RolloutStats | None = None,
    progress: Progress | None = None,
) -> list[tuple[Sample, Episode]]:
    """Play the questions `indices` (indices or question ids) once each, in order.

    `env` is an open vector environment of group size 1, or the keyword arguments to open one of
    `batch` members. `sampling.temperature=0` is greedy. Failed episodes are in the result, with
    `Outcome.ERROR`.
    """
    if not isinstance(env, Mapping):
        if env.group_size != 1:
            raise ValueError(f"evaluate: got group_size {env.group_size}, expected 1")
        groups = rollout(env, engine, sampling, questions=indices, stats=stats, progress=progress)
        return [(group.sample, group.episodes[0]) for group in groups]
    if not indices:
        return []
    opened = HighResVQAVectorEnv(num_envs=min(batch, len(indices)), group_size=1, **env)
    try:
        return evaluate(opened, engine, indices, sampling, stats=stats, progress=progress)
    finally:
        opened.close()
