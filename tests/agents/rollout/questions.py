"""A small dataset for the loop, in the form of an outside plug-in; one image cannot be opened."""

from pathlib import Path

import numpy as np
from PIL import Image

from hrvision_env.datasets import Samples
from hrvision_env.records import Box, ImageRef, Sample

SIDE = 192
BOX = (48, 96, 96, 144)
"""The gold box of every question, pixels of the original."""
BOX_TEXT = '[{"bbox_2d": [250, 500, 500, 750]}]'
"""The same as the agent writes it, in thousandths."""


def load(split: str, broken: int = -1) -> Samples:
    """Four choice questions with answers A, B, C, D; the image of number `broken` is missing."""
    return Samples([_sample(n, split, n == broken) for n in range(4)], "tests")


def _sample(n: int, split: str, broken: bool) -> Sample:
    pixels = np.random.default_rng(n).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    missing = ImageRef(path=Path("nowhere.png"))
    return Sample(
        id=f"q{n}",
        question=f"Question {n}?",
        images=(missing if broken else ImageRef(image=Image.fromarray(pixels), key=f"i{n}"),),
        answers=("ABCD"[n],),
        answer_kind="choice",
        options={"A": "one", "B": "two", "C": "three", "D": "four"},
        boxes=(Box(*BOX),),
        source="tests",
        split=split,
    )
