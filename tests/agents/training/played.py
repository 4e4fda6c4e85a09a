"""Groups for training, played by the environment and the rollout loop with a script that points.

A random model finds no box, so none of its episodes would hold a crop. The script's replies differ
in length and box from sibling to sibling; some boxes are invalid, some answers come early.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.engines import Sampling
from agents.rollout.engines.scripted import ScriptedEngine
from agents.rollout.loop import rollout
from agents.training.tree import Credited
from hrvision_env.datasets import Samples
from hrvision_env.records import ImageRef, Sample
from hrvision_env.vector import HighResVQAVectorEnv

from ..conftest import FACTOR

SIZES = ((192, 128), (96, 192), (256, 128), (128, 128))
"""Of the originals in pixels, width and height: their views differ in shape."""


def load(split: str, images: int = 1) -> Samples:
    """Three questions of `images` images each; the second one shows its first image twice."""
    return Samples([_sample(n, split, images) for n in range(3)], "tests")


def _sample(n: int, split: str, images: int) -> Sample:
    shown = tuple(_image(0 if n == 1 else n + k) for k in range(images))
    return Sample(
        id=f"q{n}",
        question="What is it" + " there" * n + "?",
        images=shown,
        answers=("A",),
        answer_kind="choice",
        options={"A": "one", "B": "two"},
        source="tests",
        split=split,
    )


def _image(n: int) -> ImageRef:
    width, height = SIZES[n % len(SIZES)]
    pixels = np.random.default_rng(n).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return ImageRef(image=Image.fromarray(pixels), key=f"i{n}")


def reply(chat: Chat) -> str:
    """Some words, then a box (every fifth an invalid one), and in the end an answer."""
    rng = np.random.default_rng([ord(chat.group[1]), chat.member, chat.replies])
    words = " ".join(rng.choice(["look", "user", "there", "ser"], rng.integers(0, 8)))
    if chat.replies == 2 or rng.random() < 0.1:
        return rf"{words} \boxed{{{rng.choice(['A', 'B'])}}}"
    left, top = rng.integers(0, 500, 2)
    right, bottom = (left, top) if rng.random() < 0.2 else rng.integers(600, 1000, 2)
    return f'{words} [{{"bbox_2d": [{left}, {top}, {right}, {bottom}]}}]'


def play(
    codec: Codec, dialogue: str, images: int = 1, members: int = 4, questions: int = 3
) -> list[list[Credited]]:
    """A credited group per question; every reply has an advantage of its own."""
    env = HighResVQAVectorEnv(
        num_envs=questions * members,
        group_size=members,
        dataset="tests.agents.training.played:load",
        images=images,
        dialogue=dialogue,
        max_turns=3 if dialogue == "free" else None,
        prompt="brief",
        factor=FACTOR,
        min_pixels=6 * FACTOR**2,
        max_pixels=9 * FACTOR**2,
        box_dialect="relative_1000",
        min_box=2,
    )
    engine = ScriptedEngine(codec, reply)
    groups = rollout(env, engine, Sampling(max_tokens=64), questions=list(range(questions)))
    rng = np.random.default_rng(0)
    return [
        [Credited(t, tuple(rng.normal(size=len(t.replies)))) for t in group.trajectories]
        for group in groups
    ]
