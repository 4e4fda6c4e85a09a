"""Samples check themselves: a mistake in a loader is named, not graded."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from hrvision_env.records import Box, ImageRef, Sample

REF = ImageRef(image=Image.new("RGB", (8, 8)), key="grey")


def sample(**changes: Any) -> Sample:
    fields: dict[str, Any] = {"id": "q", "question": "Which?", "images": (REF,), "answers": ("x",)}
    return Sample(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"answers": "three"}, "'answers': got 'three', expected a tuple of at least one accepted"),
        ({"answers": ("",)}, "'answers': got"),
        ({"answers": ()}, "'answers': got"),
        ({"answers": (3,)}, "'answers': got"),
        ({"images": REF}, "'images': got .*, expected a tuple of at least one image"),
        ({"images": ()}, "'images': got"),
        ({"images": ("a.jpg",)}, "'images': got 'a.jpg', expected an ImageRef"),
        ({"language": None}, "'language': got None"),
        ({"question": " "}, "'question': got ' '"),
        ({"answer_kind": "chioce"}, "'answer_kind': got 'chioce', expected one of choice"),
        ({"answer_kind": "choice"}, "'options': got None"),
        ({"boxes": (Box(0, 0, 1, 1, 1),)}, "'boxes': got .*, expected an image_index below 1"),
    ],
)
def test_what_a_sample_refuses(changes, words):
    with pytest.raises(ValueError, match=f"sample 'q': field {words}"):
        sample(**changes)


def test_what_a_sample_takes():
    assert sample(answers=("3", "three"), answer_kind="number").language == "en"
