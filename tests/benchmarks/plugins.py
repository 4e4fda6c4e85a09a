"""Datasets of another package: one of grey pictures, and one whose loader kills the process, as a
system without memory does."""

from __future__ import annotations

import os
from typing import NoReturn

from PIL import Image

from hrvision_env import ImageRef, Sample
from hrvision_env.datasets import Samples


def deadly(split: str) -> NoReturn:
    os._exit(9)


def pictures(split: str, *, size: int = 2) -> Samples:
    return Samples(
        [
            Sample(f"{split}{n}", "What?", (_picture(f"{split}{n}"),), ("grey",))
            for n in range(size)
        ],
        "pictures",
    )


def _picture(key: str) -> ImageRef:
    return ImageRef(image=Image.new("RGB", (300, 200), "grey"), key=key)
