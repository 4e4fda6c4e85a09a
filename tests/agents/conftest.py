"""Tiny random models on the real transformers classes, one folder per family.

`model_folder` goes through every file of `agents/families`. The tokenizer of Qwen2.5-VL has the
special tokens before the bytes and its head is untied; the others have them after the bytes and
tied embeddings.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from agents.families import families
from agents.families.random_model import MERGE, special_names, write_random_model

torch.set_num_threads(1)  # two spinning threads beside another busy process cost 10x the time

SPECIAL = special_names()
PATCH = 8
FACTOR = PATCH * MERGE
ODD_ONE = "qwen25_vl"


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Family -> model folder, written when it is first asked for."""
    known: dict[str, str] = {}

    def folder(family: str) -> str:
        if family not in known:
            odd = family == ODD_ONE
            where = tmp_path_factory.mktemp(family)
            known[family] = write_random_model(
                where, family, patch=PATCH, tied=not odd, special_first=odd
            )
        return known[family]

    return folder


@pytest.fixture(scope="session")
def qwen3_folder(folder_of: Callable[[str], str]) -> str:
    """A random Qwen3-VL with deepstack features and tied embeddings; special tokens come last."""
    return folder_of("qwen3_vl")


@pytest.fixture(scope="session")
def qwen25_folder(folder_of: Callable[[str], str]) -> str:
    """A random Qwen2.5-VL with window attention and untied head; special tokens come first."""
    return folder_of("qwen25_vl")


@pytest.fixture(scope="session", params=families())
def model_folder(request: pytest.FixtureRequest, folder_of: Callable[[str], str]) -> str:
    """Every model family in turn."""
    return folder_of(request.param)


def noise_image(width: int, height: int, seed: int = 0) -> Image.Image:
    """RGB noise, sides in pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)
