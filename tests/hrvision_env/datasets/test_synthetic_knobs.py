"""The knobs of the family: what they do, what they refuse, and how ids tell them apart."""

from __future__ import annotations

from typing import Any

import pytest

from hrvision_env import datasets
from hrvision_env.datasets.synthetic import load
from hrvision_env.datasets.synthetic.knobs import Knobs
from hrvision_env.datasets.synthetic.questions import draw_question


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (4096, 4096)),
        ({"side": 6000, "aspect": 1.5}, (6000, 4000)),
        ({"side": 6000, "aspect": 0.5}, (3000, 6000)),
    ],
)
def test_side_and_aspect_are_the_size_of_the_image(options, size):
    make = load(kind="text", **options)[0].images[0].make
    assert make is not None
    assert make().size == size and make().mode == "RGB"


@pytest.mark.parametrize(
    ("side", "difficulty", "unit"),
    [
        # The view of a square is 980 px wide: 4096 px are 4.18 per view pixel, and so on.
        (4096, "hard", 1),  # 0.25 * 4.18 = 1.04
        (8192, "hard", 2),  # 0.25 * 8.36 = 2.09
        (16384, "hard", 4),  # 0.25 * 16.72 = 4.18
        (4096, "medium", 2),  # 0.5 * 4.18 = 2.09
        (4096, "easy", 5),  # 1.15 * 4.18 = 4.81, rounded up
        (1024, "easy", 2),  # 1.15 * 1.045 = 1.20
        (16384, 0.1, 1),  # 0.1 * 16.72 = 1.67
    ],
)
def test_difficulty_is_the_size_of_a_unit_in_the_view(side, difficulty, unit):
    assert Knobs("text", side, difficulty=difficulty).plan().unit == unit


def test_a_smaller_budget_takes_coarser_details_to_hide_the_same():
    # 160 * 28 * 28 pixels: a view of 336 px, 12.19 px of the image each; a quarter is 3.05.
    knobs = Knobs("text", 4096, objects=1, view_pixels=160 * 28 * 28)
    assert knobs.plan().unit == 3


def test_target_size_and_objects_are_what_is_asked_for():
    knobs = Knobs("text", 4096, objects=7, target_size=0.05)
    radii = []
    for index in range(20):
        (picture,) = draw_question(knobs, 0, "train", index).pictures
        assert len(picture.items) == 7
        radii += [item.radius for item in picture.items]
    # 0.05 * 4096 = 204.8, and 10% less or more: 184.3 to 225.3.
    assert 184 <= min(radii) < 190 and 220 < max(radii) <= 225


def test_the_split_ood_changes_one_thing_at_a_time():
    dataset = load("ood", kind="text", objects=5)
    assert [dataset[n].category[2] for n in range(4)] == ["big", "crowded", "large_image", "big"]
    plain = Knobs("text", objects=5)
    questions = [draw_question(plain, 0, "ood", n).pictures[0] for n in range(3)]
    assert [len(picture.items) for picture in questions] == [5, 10, 5]
    assert [picture.size[0] for picture in questions] == [4096, 4096, 8192]
    assert [picture.unit for picture in questions] == [1, 1, 2]
    assert plain.plan("big").radius == pytest.approx(1.5 * plain.plan().radius)


def test_where_there_is_little_room_there_are_fewer_objects():
    assert Knobs("text", 4096, difficulty="easy").plan().objects == (4, 6)
    assert Knobs("text", 1024, difficulty="easy").plan().objects[1] < 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "txt"}, "kind: got 'txt', expected one of .*; did you mean 'text'"),
        ({"kind": 3}, "kind: got 3"),
        ({"difficulty": "eazy"}, "difficulty: got 'eazy', .*; did you mean 'easy'"),
        ({"difficulty": 0}, "difficulty: got 0, expected 0.02 to 8 view pixels"),
        (
            {"kind": "relation", "side": 16384, "difficulty": 0.1},
            "difficulty: got 0.1, expected a la",
        ),
        ({"difficulty": True}, "difficulty: got True"),
        ({"side": 20000}, "side: got 20000, expected a whole number 256 to 16384 pixels"),
        ({"side": 2048}, "side: got 2048, expected at least 39.. for difficulty 'hard'"),
        ({"side": 16384, "difficulty": 0.02}, "side: got 16384, expected more than the 16384"),
        ({"split": "ood", "side": 10000}, "side: got 10000, expected at most 8192"),
        ({"aspect": 5}, "aspect: got 5, expected 0.25 to 4"),
        ({"aspect": float("nan")}, "aspect: got nan"),
        ({"objects": 0}, "objects: got 0, expected a whole number 1 to 1000"),
        ({"objects": 900}, "objects: got 900, expected at most "),
        ({"objects": 2, "distractors": 2}, "objects: got 2, expected at least 3"),
        ({"distractors": -1}, "distractors: got -1"),
        ({"target_size": 0.01}, "target_size: got 0.01, expected 0.0.* of the shorter side"),
        ({"target_size": 0.4}, "target_size: got 0.4, expected 0.0.* of the shorter side"),
        ({"target_size": "big"}, "target_size: got 'big'"),
        ({"images": 3}, "images: got 3, expected None for kind 'text'"),
        ({"kind": "which", "images": 5}, "images: got 5, expected a whole number 2 to 4"),
        ({"view_pixels": 10}, "view_pixels: got 10"),
        ({"kind": "colour", "difficulty": "hard"}, "difficulty: got 'hard', expected 'easy'"),
        ({"kind": "colour", "distractors": 1}, "distractors: got 1, expected 0"),
    ],
)
def test_an_option_that_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=f"synthetic: {message}"):
        load(**{"kind": "text", **options})


def test_a_misspelt_knob_is_answered_with_the_closest():
    with pytest.raises(
        ValueError, match=r"unknown option 'distractor'.* did you mean 'distractors'"
    ):
        datasets.load("synthetic", "test", distractor=2)


def test_ids_say_the_variant_and_lead_back():
    variants: list[dict[str, Any]] = [
        {},
        {"side": 2048},
        {"objects": 5},
        {"kind": "text"},
        {"kind": "text", "distractors": 1},
        {"kind": "text", "difficulty": "medium"},
        {"kind": "text", "seed": 1},
        {"kind": "colour"},
        {"kind": "which"},
    ]
    loaded = [load("test", size=30, **options) for options in variants]
    ids = {dataset[7].id for dataset in loaded}
    assert len(ids) == len(variants)
    assert "synthetic-text-0-test-7" in ids and "synthetic-text-1-test-7" in ids
    for dataset in loaded:
        assert dataset.index(dataset[7].id) == 7
        strangers = [i for i in ids if i != dataset[7].id]
        for stranger in strangers:
            with pytest.raises(KeyError, match="question_id: got"):
                dataset.index(stranger)
    keys = [ref.key for dataset in loaded for ref in dataset[7].images]
    assert len(set(keys)) == len(keys)


def test_a_knob_at_its_default_changes_nothing():
    plain = load("test", kind="text")[3]
    said = load(
        "test", kind="text", side=4096, aspect=1, distractors=0, difficulty="hard", objects=None
    )[3]
    assert (said.id, said.question, said.boxes) == (plain.id, plain.question, plain.boxes)
    assert load("test", kind="pattern", aspect=1.0)[3].id == "synthetic-0-test-3"
