"""Eight questions on images of different sizes, as a dataset plug-in, and where their boxes lie."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hrvision_env.datasets import Samples
from hrvision_env.records import Box, ImageRef, Sample

SIZES = (
    (192, 192),
    (256, 128),
    (128, 320),
    (224, 160),
    (160, 288),
    (320, 320),
    (96, 256),
    (288, 96),
)
"""Width and height, pixels."""


def load(split: str) -> Samples:
    """Noise, and a choice of four; answers are A, B, C, D, A, ..."""
    return Samples([_sample(n, split) for n in range(len(SIZES))], "tests")


def _sample(n: int, split: str) -> Sample:
    width, height = SIZES[n]
    pixels = np.random.default_rng(n).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Sample(
        id=f"q{n}",
        question=f"Question {n}{'?' * n}",
        images=(ImageRef(image=Image.fromarray(pixels), key=f"vllm{n}"),),
        answers=("ABCD"[n % 4],),
        answer_kind="choice",
        options={"A": "one", "B": "two", "C": "three", "D": "four"},
        boxes=(Box(10, 10, 60, 60),),
        source="tests",
        split=split,
    )


def box_text(member: int) -> str:
    """A box of its own for every sibling, tall or wide, in thousandths of the view."""
    x, y = 40 * member, 500 - 40 * member
    width, height = (600, 300) if member % 2 else (250, 450)
    return f'[{{"bbox_2d": [{x}, {y}, {x + width}, {y + height}]}}]'
