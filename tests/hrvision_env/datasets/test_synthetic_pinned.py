"""The standard scenes stay what they are, pixel by pixel: trained weights were made on them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from hrvision_env.datasets.synthetic import load
from hrvision_env.records import Sample

PINNED: list[tuple[str, int, dict[str, Any], str]] = [
    ("test", 0, {}, "876bf01d42718f96b0e4999398fad4d0"),
    ("test", 1999, {}, "4da0a338f431d1f218d0f98b891e9111"),
    ("train", 0, {}, "6ab2ee951fba81f751bbef35271dbb04"),
    ("train", 99_999, {}, "c6baa998ac399879d4ddb16e4fbd1f9a"),
    ("train", 17, {"seed": 3}, "25b2eb0fdbc510929d14c2edba25ca6f"),
    ("test", 5, {"seed": 11, "size": 6}, "be8c80d6258f820044d0d7a9c04901fc"),
    ("ood", 0, {}, "4047450c4607a9efd7baab114aa54108"),
    ("ood", 1, {}, "bfa4ff495d03b72e187eb4a3d1152a8a"),
    ("ood", 2, {"seed": 2}, "e76515a82f31f09a9fd358cc471828ac"),
    ("ood", 3, {}, "1d87256c1e6f05c5e06309dc45bb67bf"),
    ("test", 4, {"side": 2048}, "c124834c185a75c03a0caacac4fbee33"),
    ("train", 8, {"side": 1500}, "a8e4f78d87100c7e8b61165259c3e7c6"),
    ("test", 2, {"seed": 1, "side": 4096}, "6a1a9af9099e8a2b1d0e540cc4a9b17a"),
    ("ood", 7, {"side": 1100}, "b3ebcefe21309450705c20e2742ccf3e"),
]
"""Split, index, options, digest: made before any other kind of question existed."""


def digest(sample: Sample, side: int | None = None) -> str:
    """SHA-256 (half of it) over every field a user sees and the bytes of the picture; the side
    that an id may name is left out of it."""
    (ref,) = sample.images
    box = sample.boxes[0]
    fields = [
        sample.id.replace(f"synthetic-{side}-", "synthetic-"),
        sample.question,
        ref.key.replace(f"synthetic-{side}-", "synthetic-"),
        list(sample.answers),
        sample.answer_kind,
        sorted((sample.options or {}).items()),
        [[box.x1, box.y1, box.x2, box.y2, box.image_index, box.label] for box in sample.boxes],
        list(sample.category),
        sample.source,
        sample.split,
        sample.language,
        sample.group_id,
        dict(sample.meta),
    ]
    assert ref.make is not None
    picture = ref.make()
    text = json.dumps([fields, len(sample.boxes), box.area, list(picture.size)])
    return hashlib.sha256(text.encode() + picture.tobytes()).hexdigest()[:32]


@pytest.mark.parametrize(("split", "index", "options", "expected"), PINNED)
def test_a_question_is_the_same_to_the_last_pixel(split, index, options, expected):
    sample = load(split, **options)[index]
    assert digest(sample, options.get("side")) == expected


def test_ids_tell_the_side():
    ids = [load("test", side=side)[0].id for side in (None, 1024, 2048, 4096)]
    assert ids == [
        "synthetic-0-test-0",
        ids[0],
        "synthetic-2048-0-test-0",
        "synthetic-4096-0-test-0",
    ]
    assert load("test", side=2048).index(ids[2]) == 0


def test_seeds_that_would_repeat_another_split_are_refused():
    load("test", seed=2**32 - 1)
    with pytest.raises(ValueError, match=r"seed: got 4294967296, expected less than 2\*\*32"):
        load("test", seed=2**32)


def test_the_digest_sees_a_change_of_one_field():
    sample, other = load("test")[0], load("test")[1]
    assert digest(sample) == digest(load("test")[0]) != digest(other)
