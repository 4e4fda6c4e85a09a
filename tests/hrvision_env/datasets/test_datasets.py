"""Loading by name, and the options of loaders."""

from __future__ import annotations

import pytest
from PIL import Image

from hrvision_env.datasets import Samples, check_options, load
from hrvision_env.records import ImageRef, Sample


def samples(*ids: str) -> list[Sample]:
    image = ImageRef(image=Image.new("RGB", (8, 8)), key="grey")
    return [Sample(name, "What?", (image,), ("x",)) for name in ids]


def load_mine(split: str, *, count: int, shift: int = 0) -> Samples:
    return Samples(samples(*(f"{split}-{i + shift}" for i in range(count))), "mine")


MINE = f"{__name__}:load_mine"


def test_a_loader_of_another_package():
    data = load(MINE, "val", count=3, shift=5)
    assert [data[i].id for i in range(len(data))] == ["val-5", "val-6", "val-7"]
    assert data.index("val-7") == 2


def test_an_unknown_dataset_is_answered_with_the_closest():
    with pytest.raises(ValueError, match=r"got 'syntetic', expected one of .*did you mean 'synth"):
        load("syntetic", "test")


def test_options_are_checked_against_the_loader():
    with pytest.raises(ValueError, match="unknown option 'cuont', its options: count, shift; did"):
        load(MINE, "val", cuont=3)
    with pytest.raises(ValueError, match="option 'count' is missing"):
        load(MINE, "val")
    with pytest.raises(ValueError, match="did you mean 'dialogue'"):
        check_options(MINE, {"dialog": "mgpo"}, also=["dialogue"])
    with pytest.raises(ValueError, match="unknown option 'split'"):
        check_options(MINE, {"split": "x"})


def test_an_empty_dataset_is_an_error():
    with pytest.raises(ValueError, match=r"split 'val': holds no question"):
        load(MINE, "val", count=0)


def test_samples_are_found_by_index_and_id():
    data = Samples(samples("street", "glove"), "file.jsonl")
    with pytest.raises(
        KeyError, match=r"file\.jsonl: no question with id 'glov', did you mean 'gl"
    ):
        data.index("glov")
    for index in (2, -1):
        with pytest.raises(
            IndexError, match=rf"file\.jsonl: got index {index}, expected 0 <= index"
        ):
            data[index]
    with pytest.raises(ValueError, match="samples 0 and 2 have the same id 'a'"):
        Samples(samples("a", "b", "a"), "file.jsonl")
