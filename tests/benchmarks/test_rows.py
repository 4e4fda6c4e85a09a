"""Rows: every field, by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image

from benchmarks.rows import Measured, line_of, make_row, official, row_key, strict
from hrvision_env.records import Box, Episode, ImageRef, Outcome, Sample, Turn
from hrvision_env.trace.parsing import parse_line

IMAGE = ImageRef(image=Image.new("RGB", (100, 100)), key="grey", size=(100, 100))
SAMPLE = Sample(
    "q1",
    "Which?",
    (IMAGE,),
    ("B",),
    "choice",
    {"A": "rubber", "B": "cotton"},
    boxes=(Box(10, 10, 20, 20),),
    category=("x", "y"),
    source="vstar",
    group_id="g",
    cycle_id="c",
)


def episode(reply: str = r"\boxed{B}", outcome: Outcome = Outcome.CORRECT) -> Episode:
    box = Turn("<image> Where?", 1, "[...]", boxes=(Box(10, 10, 20, 20),), crop_sizes=((56, 56),))
    return Episode(
        "q1",
        "vstar",
        "test",
        "mgpo",
        "brief",
        "",
        ((100, 100),),
        ((56, 56),),
        (box, Turn("<image> Which?", 1, reply)),
        outcome,
        float(outcome is Outcome.CORRECT),
    )


def test_a_row_holds_the_question_the_answer_and_what_it_cost():
    measured = Measured(
        image_tokens=8,
        prompt_tokens=30,
        sampled_tokens=12,
        seconds=0.5,
        latency=2.0,
        usage={"requests": 2},
        kept={"images": [[]], "refused": [None], "originals": []},
    )
    row = make_row(
        "a", "d", SAMPLE, episode(), True, training=2, draw=1, index=7, measured=measured
    )
    assert row_key(row) == ("a", "d", 2, True, 1, 7)
    assert (row["correct"], row["score"], row["strict"], row["official"]) == (True, 1.0, 1.0, 1.0)
    assert (row["source"], row["question_id"], row["group_id"], row["cycle_id"]) == (
        *("vstar", "q1", "g", "c"),
    )
    assert (row["gold"], row["n_options"], row["category"]) == (["B"], 2, ["x", "y"])
    assert (row["valid_box"], row["hit"], row["iou"], row["coverage"]) == (True, 1.0, 1.0, 1.0)
    assert row["box_side"] == pytest.approx(100)
    assert row["tokens"] == {"image": 8, "prompt": 30, "sampled": 12}
    assert (row["seconds"], row["latency"], row["usage"]) == (0.5, 2.0, {"requests": 2})
    assert row["sample"]["options"] == {"A": "rubber", "B": "cotton"}
    assert row["sample"]["boxes"][0]["x2"] == 20
    assert (row["images"], row["refused"], row["originals"]) == ([[]], [None], [])
    assert Episode.from_dict(json.loads(line_of(row))["episode"]) == episode()


def test_without_anything_measured_a_row_is_whole():
    row = make_row("a", "d", SAMPLE, episode())
    assert row_key(row) == ("a", "d", 0, False, 0, 0)
    assert row["tokens"] == {"image": 0, "prompt": None, "sampled": None}
    assert (row["seconds"], row["latency"]) == (0.0, None)
    assert not {"usage", "images", "refused", "originals"} & set(row)


@pytest.mark.parametrize(
    ("reply", "outcome", "expected"),
    [
        (r"\boxed{B}", Outcome.WRONG, 1.0),  # the environment's grader was of another opinion
        (r"\boxed{A}", Outcome.CORRECT, 0.0),
        (r"\boxed{B}", Outcome.NO_ANSWER, 0.0),  # it was not the turn to answer
        (r"\boxed{B}", Outcome.ERROR, 0.0),
    ],
)
def test_the_strict_verdict_is_told_whatever_the_environment_graded_by(reply, outcome, expected):
    assert strict(SAMPLE, episode(reply, outcome)) == expected


def test_a_place_cannot_be_graded_from_the_reply_alone():
    place = replace(SAMPLE, answer_kind="box", options=None, answers=("[10, 10, 20, 20]",))
    assert strict(place, episode()) is None
    assert official(place, episode()) is None
    row = make_row("a", "d", place, episode(), measured=Measured(strict=1.0))
    assert (row["strict"], row["official"]) == (1.0, None)


def test_the_official_rules_read_the_answer_alone():
    said = r"It is not A. \boxed{B}"
    assert official(SAMPLE, episode(said)) == 1.0
    assert official(SAMPLE, episode(said, Outcome.ERROR)) == 0.0
    assert official(replace(SAMPLE, source="nobody"), episode(said)) is None


def test_half_a_surrogate_pair_survives_a_file():
    row = make_row("a", "d", SAMPLE, episode("\ud800 <img onerror=x>"))
    assert json.loads(line_of(row))["episode"]["turns"][1]["reply"] == "\ud800 <img onerror=x>"
    assert line_of(row).count(b"\n") == 1


def test_a_row_is_a_line_of_a_trace():
    row = make_row("a", "d", SAMPLE, episode(), True, draw=1, index=7)
    record = parse_line(line_of(row), 1)
    assert (record.agent, record.dataset, record.draw, record.sampled) == ("a", "d", 1, True)
    assert record.question == "Which?" and record.gold == SAMPLE.boxes
