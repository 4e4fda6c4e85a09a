"""When a published number compares with one of ours: every reason against it on its own."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.published import Protocol, match

from .pairs import (
    CROPS,
    DRAWN,
    FACTS,
    NUMBER,
    QWEN,
    RULES,
    SUMMARY,
    compared,
    published,
)


def test_the_same_protocol_compares():
    assert compared() == ([], [])


def test_what_is_not_stated_is_an_open_point_each_and_no_reason():
    least = Protocol(turns=2, max_pixels=1_003_520)
    silent = dataclasses.replace(NUMBER, n=None, protocol=least)
    assert compared(silent) == (
        [],
        [
            "number of questions",
            "grader",
            "least pixels of an image",
            "dialogue",
            "length of replies",
            "prompt",
            "box parser",
            "margin of crops",
            "greedy or sampled",
            "order of the options",
        ],
    )
    found = match(silent, FACTS, RULES, SUMMARY)
    assert found.standing == "as far as stated" and not found.comparable


@pytest.mark.parametrize(
    ("stated", "missing"),
    [
        ({}, "no dialogue or turns, no pixel budget or sampling"),
        ({"grader": "strict", "options": "file"}, "no dialogue or turns, no pixel budget or samp"),
        ({"turns": 2}, "no pixel budget or sampling"),
        ({"dialogue": "mgpo", "prompt": "paper"}, "no pixel budget or sampling"),
        ({"sampling": "greedy", "max_pixels": 1_003_520}, "no dialogue or turns"),
        ({"dialogue": "mgpo", "sampling": "greedy"}, ""),
        ({"turns": 2, "max_pixels": 1_003_520}, ""),
        ({"turns": "any", "max_pixels": "any"}, ""),
    ],
)
def test_too_little_that_is_stated_is_no_agreement(stated, missing):
    found = match(dataclasses.replace(NUMBER, protocol=Protocol(**stated)), FACTS, RULES, SUMMARY)
    assert found.open
    if missing:
        (reason,) = found.reasons
        assert reason.startswith(f"too little is stated: {missing}")
        assert found.standing == "not comparable"
    else:
        assert (found.reasons, found.standing) == ([], "as far as stated")


def test_a_number_without_a_count_is_of_the_whole_part():
    number = dataclasses.replace(NUMBER, n=None)
    assert compared(number) == ([], ["number of questions"])
    for note in ("the first 8 of 191 questions", "5 of 191 questions left out that are in b"):
        found, _ = compared(number, {"notes": [note], "questions": 8})
        assert found == [f"ours is not the whole set: {note}"]


def test_without_crops_nobody_asks_what_becomes_of_boxes():
    silent = published(box_parser=None, crop_margin=None, turns=1, dialogue="single_turn")
    once = {"dialogue": "single_turn", "crop_margin": 0.5, "box_parser": "lenient", "max_boxes": 3}
    assert compared(silent, env=once) == ([], [])


def test_what_cannot_matter_is_no_reason():
    guess = Protocol(**dict.fromkeys(Protocol.__dataclass_fields__, "any"))
    other = {
        "max_pixels": 5,
        "max_turns": 3,
        "grader": "vqa",
        "shuffle_options": 3,
        "crop_margin": 1,
        "show_options": True,
        "max_boxes": 3,
    }
    assert compared(dataclasses.replace(NUMBER, protocol=guess), env=other) == ([], [])


@pytest.mark.parametrize(
    ("number", "ours", "reason"),
    [
        (
            {},
            {"facts": {"questions": 100}},
            "asked 100 of 191 questions",
        ),
        ({}, {"facts": {"questions": 200}}, "published on 191 questions, ours are 200"),
        ({}, {"facts": {"skipped": 3}}, "3 rows of our data could not be read"),
        (
            {},
            {"env": {"max_pixels": 501_760}},
            "published with at most 1,003,520 pixels per image, ours with 501,760",
        ),
        ({}, {"env": {"max_turns": 3}}, "published with 2 turns, ours with 3"),
        ({"turns": 1}, {}, "published with 1 turn, ours with 2"),
        ({}, {"env": {"prompt": "brief"}}, "published with the prompt paper, ours with brief"),
        (
            {},
            {"env": {"dialogue": "crop_only"}},
            "published with the dialogue mgpo, ours with crop_only",
        ),
        (
            {},
            {"env": {"dialogue": "free", "max_turns": 2}},
            "published with the dialogue mgpo, ours with free",
        ),
        (
            {"dialogue": "any"},
            {"env": {"dialogue": "nowhere"}},
            "published with 2 turns, ours with an unknown one",
        ),
        (
            {},
            {"env": {"show_options": True}},
            "ours shows the options while a box is asked for",
        ),
        (
            {},
            {"env": {"min_pixels": 784}},
            "published with at least 200,704 pixels per image, ours with 784",
        ),
        (
            {},
            {"env": {"box_parser": "lenient"}},
            "published with the box parser strict, ours with lenient",
        ),
        ({}, {"env": {"crop_margin": 0.5}}, "published with the crop margin 0, ours with 0.5"),
        ({}, {"max_tokens": 16}, "published with at most 1,024 tokens a reply, ours with 16"),
        (
            {"sampling": "avg@32", "temperature": 0.7},
            {"summary": DRAWN},
            "published with temperature 0.7, ours with 1",
        ),
        (
            {"sampling": "avg@32", "temperature": "any"},
            {},
            "published with Avg@32, ours is greedy",
        ),
        (
            {"sampling": "avg@16", "temperature": 1.0},
            {"summary": DRAWN},
            "published with Avg@16, ours has K = 32",
        ),
        (
            {"sampling": "avg@32", "temperature": 1.0, "metric": "macro"},
            {"summary": DRAWN},
            "ours has no macro of its draws",
        ),
        (
            {"n": None},
            {"facts": {"notes": ["the first 8 of 191 questions"], "questions": 8}},
            "ours is not the whole set: the first 8 of 191 questions",
        ),
        (
            {"metric": "cycle_mean", "options": "any"},
            {
                "facts": {"shuffle_options": 0},
                "summary": {"aggregations": {"cycle_mean": {"value": 1}}},
            },
            "our options were shuffled, so the rotations of a question no longer show every "
            "option in every place",
        ),
        (
            {"metric": "sufficiency", "reference": "Qwen2.5-VL-7B", "reference_max_pixels": "any"},
            {
                "summary": CROPS,
                "reference": {**QWEN, "agent": "agents/tiny/weights"},
            },
            "published with answers of Qwen2.5-VL-7B, ours with base (agents/tiny/weights)",
        ),
        (
            {"metric": "sufficiency", "reference": "Qwen2.5-VL-7B", "reference_max_pixels": 70},
            {"summary": CROPS, "reference": QWEN},
            "published with answers from at most 70 pixels, ours with 5,000",
        ),
        (
            {"metric": "sufficiency", "reference": "Qwen2.5-VL-7B", "reference_max_pixels": "any"},
            {"summary": CROPS, "reference": {**QWEN, "env": {"grader": "vqa"}}},
            "published by the grader strict, ours by vqa",
        ),
        ({}, {"env": {"grader": "vqa"}}, "published by the grader strict, ours by vqa"),
        (
            {"options": "first is right"},
            {},
            "published with the options listed with the right one first, ours are in the order of "
            "the data's files",
        ),
        (
            {},
            {"facts": {"shuffle_options": 0}},
            "published with the options in the order of the data's files, ours are shuffled",
        ),
        (
            {"metric": "macro"},
            {},
            "ours has no macro",
        ),
        (
            {"metric": "macro"},
            {"summary": {"aggregations": {"macro": {"incomplete": "macro: got 1 category"}}}},
            "ours has no macro: got 1 category",
        ),
        ({"metric": "sufficiency"}, {}, "ours was not asked for sufficiency"),
        ({}, {"env": {"crop": "blank"}}, "ours is an ablation: crop=blank"),
        (
            {},
            {"variant_of": "m", "condition": ["crop", "none"], "env": {"crop": "none"}},
            "ours is an ablation: crop=none",
        ),
        ({}, {"facts": {"dataset": "hrbench"}}, "published on vstar, ours is hrbench"),
    ],
)
def test_one_difference_is_one_reason(number, ours, reason):
    found, _ = compared(published(**number), **ours)
    assert found == [reason]


@pytest.mark.parametrize(
    ("number", "ours", "point"),
    [
        ({"sampling": "avg@32"}, {"summary": DRAWN}, "temperature"),
        ({"prompt": None}, {"env": {"prompt": "brief"}}, "prompt"),
        ({}, {"env": {"max_boxes": 3}}, "boxes that are read per reply (ours: 3)"),
        ({}, {"env": {"min_box": 2.0}}, "the smallest side of a box (ours: 2)"),
        (
            {},
            {"env": {"box_frame": "last_image"}},
            "the image that a box is on (ours: last_image)",
        ),
        (
            {"metric": "sufficiency", "reference": "qwen2.5-vl-7b"},
            {"summary": CROPS, "reference": QWEN},
            "pixel budget of who answers",
        ),
        (
            {"metric": "sufficiency", "reference_max_pixels": "any"},
            {"summary": CROPS, "reference": QWEN},
            "who answers from the crops",
        ),
    ],
)
def test_what_is_no_contradiction_is_an_open_point(number, ours, point):
    assert compared(published(**number), **ours) == ([], [point])
