"""A rollout with an archive in a process of its own; arguments: model folder, archive folder."""

import sys
from typing import Any

import torch

from agents.rollout.archive import Archive
from agents.rollout.engines import Sampling
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.loop import Group, rollout
from agents.vlm import VLM
from hrvision_env.vector import HighResVQAVectorEnv

from .conftest import ENV

QUESTIONS = [0, 1, 2, 3] * 6
MANIFEST = {"seed": 1}


def play_on(engine: Any, archive: Archive | None = None, **options: Any) -> list[Group]:
    """Two siblings of one question at a time."""
    env = HighResVQAVectorEnv(num_envs=2, group_size=2, **ENV)
    sampling = Sampling(max_tokens=16, seed=1)
    return rollout(env, engine, sampling, questions=QUESTIONS, archive=archive, **options)


def main(model: str, folder: str) -> None:
    torch.set_num_threads(1)
    play_on(
        TransformersEngine(VLM.load(model)),
        Archive(folder, MANIFEST),
        progress=lambda done, total: print(f"{done} of {total}", flush=True),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
