"""Groups of trajectories with two images and two turns, made by `Chat` from random replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agents.config import Config, parse
from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.engines import Completion, StopReason
from agents.rollout.trajectory import Trajectory
from hrvision_env.records import Episode, Outcome

from ..conftest import FACTOR, noise_image

MakeGroup = Callable[..., list[Trajectory]]


def episode_of(name: str, reward: float) -> Episode:
    outcome = Outcome.CORRECT if reward else Outcome.WRONG
    return Episode(
        name, "test", "test", "mgpo", "brief", "", ((64, 64),), ((64, 64),), (), outcome, reward
    )


def random_reply(codec: Codec, rng: np.random.Generator, length: int) -> Completion:
    legal = np.setdiff1d(np.arange(len(codec.tokenizer)), [*codec.banned, *codec.eos])
    ids = [int(i) for i in rng.choice(legal, size=length)]
    return Completion(ids, [float(x) for x in -rng.random(length)], StopReason.LENGTH)


@pytest.fixture
def make_group() -> MakeGroup:
    """`make_group(codec, seed, members=3, turns=2)`: siblings of unequal length."""

    def make(codec: Codec, seed: int, members: int = 3, turns: int = 2) -> list[Trajectory]:
        rng = np.random.default_rng(seed)
        opening = Chat(codec, group=f"g{seed}")
        view = noise_image(4 * FACTOR, 3 * FACTOR, seed)
        opening.observe("<image>\nWhere? " + "x" * (seed % 3), [view], system="Look.")
        group = []
        for n in range(members):
            chat = opening.fork(n)
            chat.reply(random_reply(codec, rng, 3 + n))
            if turns == 2:
                crop = noise_image(2 * FACTOR, (2 + n % 2) * FACTOR, 100 * seed + n)
                chat.observe("<image>\nWhat?", [crop])
                chat.reply(random_reply(codec, rng, 2 + n % 3))
            group.append(chat.trajectories(episode_of(f"g{seed}", float(n % 2)))[0])
        return group

    return make


def small_run(folder: str, **sections: Any) -> Config:
    """A run of seconds on a random model; `sections` replace single keys, by section."""
    raw: dict[str, Any] = {
        "model": {"path": folder, "device": "cpu"},
        "env": {
            "dataset": "synthetic",
            "split": "train",
            "prompt": "brief",
            "factor": FACTOR,
            "min_pixels": 6 * FACTOR**2,
            "max_pixels": 6 * FACTOR**2,
            "box_dialect": "relative_1000",
            "min_box": 2,
            "grader": "tests.agents.training.plugins:early_letters",
        },
        "eval_env": {"split": "test"},
        "rollout": {"groups_per_step": 3, "group_size": 4, "max_tokens": 4},
        "algorithm": {"name": "mgpo"},
        "optim": {"steps": 4, "lr": 1e-3, "warmup_steps": 2},
        "eval": {"every": 2, "n": 3, "episodes": 2},
        "checkpoint": {"every": 2},
        "run_dir": "runs/never",
    }
    for name, values in sections.items():
        raw[name] = {**raw.get(name, {}), **values} if isinstance(values, dict) else values
    return parse(raw, "test")
