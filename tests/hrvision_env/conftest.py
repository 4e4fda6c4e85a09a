"""A folder of photographs with questions, as a user would have it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from hrvision_env import HighResVQAEnv, HighResVQAVectorEnv

OPTIONS = {"A": "rubber", "B": "cotton", "C": "kevlar", "D": "leather"}

BOX = '```json\n[{"bbox_2d": [280, 280, 560, 420], "label": "there"}]\n```'

TINY: dict[str, Any] = {
    "prompt": "brief",
    "factor": 16,
    "min_pixels": 9216,
    "max_pixels": 9216,
    "box_dialect": "relative_1000",
    "min_box": 2,
}
"""The environment of the embedded model: views and crops of 96 x 96 pixels."""

Row = dict[str, Any]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth random colours, different everywhere, so that a wrong crop looks wrong."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, size=(9, 13, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def row(**changes: Any) -> Row:
    """A valid row; a value of `...` takes the key out."""
    base: Row = {
        "images": ["photos/a.jpg"],
        "question": "What is the glove made of?",
        "options": OPTIONS,
        "answer": "B",
        "boxes": [[100, 120, 220, 260]],
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def write(file: Path, rows: Sequence[Mapping[str, Any] | str]) -> Path:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three real JPEG files and `test.jsonl` with a choice, a number and a free answer."""
    (tmp_path / "photos").mkdir()
    for name, size in {"a": (1200, 900), "b": (640, 1000), "c": (1500, 700)}.items():
        picture(*size, seed=ord(name)).save(tmp_path / "photos" / f"{name}.jpg", quality=90)
    write(
        tmp_path / "test.jsonl",
        [
            row(id="glove"),
            row(id="count", images=["photos/b.jpg"], options=None, answer=3, boxes=None),
            row(id="plate", images=["photos/c.jpg"], options=None, answer=["SA 60", "SA60"]),
        ],
    )
    return tmp_path


MakeRoot = Callable[..., Path]


@pytest.fixture
def make_root(folder: Path) -> MakeRoot:
    """Replace the rows of `test.jsonl`; gives the folder."""

    def make(*rows: Mapping[str, Any] | str) -> Path:
        write(folder / "test.jsonl", rows)
        return folder

    return make


MakeEnv = Callable[..., HighResVQAEnv]


@pytest.fixture
def make(folder: Path) -> MakeEnv:
    """Environments on that folder."""

    def make_env(**options: Any) -> HighResVQAEnv:
        options = {"dataset": "jsonl", "root": str(folder), "prompt": "brief", **options}
        env = gym.make("HighResVQA-v0", **options).unwrapped
        assert isinstance(env, HighResVQAEnv)
        return env

    return make_env


@pytest.fixture
def make_vec(folder: Path) -> Callable[..., HighResVQAVectorEnv]:
    """Vector environments on that folder."""

    def make_vec_env(num_envs: int = 4, group_size: int = 2, **options: Any) -> HighResVQAVectorEnv:
        options = {"dataset": "jsonl", "root": str(folder), "prompt": "brief", **options}
        envs = gym.make_vec("HighResVQA-v0", num_envs=num_envs, group_size=group_size, **options)
        assert isinstance(envs, HighResVQAVectorEnv)
        return envs

    return make_vec_env


def play(env: HighResVQAEnv, question: str, *replies: str) -> list[tuple[Any, ...]]:
    observation, info = env.reset(options={"question_id": question})
    return [(observation, 0.0, False, False, info), *(env.step(reply) for reply in replies)]
