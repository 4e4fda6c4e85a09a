"""Summaries against numbers worked out by hand."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from PIL import Image

from benchmarks.metrics import summarise, summarise_all, wilson
from benchmarks.rows import Measured, make_row
from hrvision_env.records import Box, Episode, ImageRef, Outcome, Sample, Turn

numbers = itertools.count()


def row(
    outcome: Outcome,
    box: Box | None = None,
    *,
    category: str = "standard",
    agent: str = "a",
    dataset: str = "d",
    options: dict[str, str] | None = None,
    question: str = "",
    group_id: str = "",
    **more: Any,
):
    """A question of its own, unless it is named."""
    question = question or f"q{next(numbers)}"
    sample = Sample(
        id=question,
        question="What?",
        images=(ImageRef(image=Image.new("RGB", (8, 8)), key="grey"),),
        answers=("A",),
        options=options,
        boxes=(Box(0, 0, 100, 100),),
        category=(category,),
        group_id=group_id,
    )
    episode = Episode(
        question_id=question,
        dataset="d",
        split="test",
        dialogue="mgpo",
        prompt="brief",
        system="",
        image_sizes=((1000, 1000),),
        view_sizes=((96, 96),),
        turns=(Turn("", 1, "", () if box is None else (box,)),),
        outcome=outcome,
    )
    return make_row(agent, dataset, sample, episode, **more)


def test_wilson_interval_of_80_in_100():
    # z = 1.959964, z^2 = 3.841459: centre (0.8 + z^2/200) / (1 + z^2/100) = 0.788903,
    # half width z * sqrt(0.8 * 0.2 / 100 + z^2 / 40000) / (1 + z^2/100) = 0.077730
    assert wilson(80, 100) == pytest.approx([0.711171, 0.866633], abs=2e-5)


def test_wilson_interval_never_leaves_0_to_1_and_is_wide_for_nothing():
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 0) == [0.0, 1.0]


def test_summary_of_four_episodes():
    rows = [
        row(Outcome.CORRECT, Box(0, 0, 200, 100)),  # IoU 1/2, hit, side sqrt(0.02) * 1000
        row(Outcome.WRONG, Box(500, 500, 600, 600)),  # misses, side 100
        row(Outcome.NO_ANSWER),
        row(Outcome.ERROR),
    ]
    summary = summarise(rows)
    assert summary["accuracy"] == 0.25
    assert summary["n"] == 4
    assert summary["interval"] == wilson(1, 4)
    assert summary["valid_box_rate"] == 0.5
    assert summary["hit_rate"] == 0.25
    assert summary["iou"] == pytest.approx(0.125)
    assert summary["coverage"] == pytest.approx(0.25)
    assert summary["box_side"] == pytest.approx((141.4214 + 100) / 2)
    assert summary["outcomes"] == {"correct": 1, "wrong": 1, "no_answer": 1, "error": 1}
    assert "categories" not in summary


def test_macro_accuracy_weighs_categories_equally_and_accuracy_episodes():
    rows = [row(Outcome.CORRECT, category="small") for _ in range(3)] + [
        row(Outcome.WRONG, category="big")
    ]
    summary = summarise(rows)
    assert summary["accuracy"] == 0.75
    assert summary["macro_accuracy"] == 0.5
    assert summary["categories"]["small"]["accuracy"] == 1.0
    assert summary["categories"]["small"]["n"] == 3
    assert summary["categories"]["big"]["interval"] == wilson(0, 1)


def test_chance_is_the_mean_share_of_one_option_and_needs_options_everywhere():
    two, four = dict.fromkeys("AB", "x"), dict.fromkeys("ABCD", "x")
    rows = [row(Outcome.WRONG, options=two), row(Outcome.WRONG, options=four)]
    assert summarise(rows)["chance"] == pytest.approx(0.375)
    assert "chance" not in summarise([*rows, row(Outcome.WRONG)])


def test_sampled_episodes_stand_beside_the_greedy_ones():
    rows = [
        row(Outcome.CORRECT, Box(0, 0, 100, 100)),
        row(Outcome.WRONG, Box(500, 500, 600, 600), sampled=True),
        row(Outcome.CORRECT, sampled=True),
    ]
    summary = summarise(rows)
    assert (summary["accuracy"], summary["n"]) == (1.0, 1)
    assert (summary["hit_rate"], summary["hit_rate_sampled"]) == (1.0, 0.0)
    assert (summary["valid_box_rate_sampled"], summary["accuracy_sampled"]) == (0.5, 0.5)


def test_summary_table_is_json_and_separates_agents_and_datasets():
    rows = [
        row(Outcome.CORRECT, agent="x", dataset="one"),
        row(Outcome.WRONG, agent="x", dataset="two"),
        row(Outcome.WRONG, agent="y", dataset="one"),
    ]
    rows = [json.loads(json.dumps(r)) for r in rows]
    table = json.loads(json.dumps(summarise_all(rows)))
    accuracies = {(a, d): s["accuracy"] for a, part in table.items() for d, s in part.items()}
    assert accuracies == {("x", "one"): 1.0, ("x", "two"): 0.0, ("y", "one"): 0.0}


def test_no_episodes_give_no_accuracy_to_believe_in():
    expected = {"accuracy": 0.0, "n": 0, "questions": 0, "interval": [0.0, 1.0], "outcomes": {}}
    assert summarise([]) == expected


def test_the_official_rules_score_the_same_replies():
    """ANLS by hand: "abcde" against "abcdx" differs in 1 of 5; no cut at 0.5 hides that."""
    image = ImageRef(image=Image.new("RGB", (8, 8)), key="grey")
    found: list[Any] = []
    for reply in ("abcde", "so it is \\boxed{abcdx}", "zzzzz", ""):
        sample = Sample(
            str(len(found)), "What?", (image,), ("abcde",), "anls", source="docvqa", split="val"
        )
        episode = Episode(
            *(sample.id, "docvqa", "val", "single_turn", "brief", "", ((8, 8),), ((8, 8),)),
            turns=(Turn("What?", 1, reply),),
            outcome=Outcome.WRONG,
        )
        found.append(make_row("a", "d", sample, episode))
    assert [r["official"] for r in found] == pytest.approx([1, 0.8, 0, 0])
    summary = summarise(found)
    assert summary["official"]["micro"]["value"] == pytest.approx(0.45)
    assert "official" not in summarise([{**r, "official": None} for r in found])


def rotated(rights: list[str]) -> list[Any]:
    """Questions in several rotations, each right where its digit is 1."""
    return [
        row(Outcome.CORRECT if digit == "1" else Outcome.WRONG, group_id=f"g{number}")
        for number, digits in enumerate(rights)
        for digit in digits
    ]


def test_rotations_count_as_episodes_and_as_one_question():
    summary = summarise(rotated(["1111", "0000", "1110"]))
    assert (summary["n"], summary["questions"]) == (12, 3)
    assert summary["interval"] == pytest.approx(wilson(3 * 7 / 12, 3))
    assert "trainings" not in summary


def test_several_trainings_are_told_apart_and_their_questions_are_not_counted_twice():
    """Of 10 questions three trainings get 8, 6 and 7 right, so 0.7 on average and sd 0.1."""
    rows = [
        row(
            Outcome.CORRECT if number < right else Outcome.WRONG,
            question=f"t{number}",
            training=training,
        )
        for training, right in enumerate((8, 6, 7))
        for number in range(10)
    ]
    summary = summarise(rows)
    assert (summary["accuracy"], summary["n"], summary["questions"]) == (0.7, 30, 10)
    several = summary["trainings"]
    assert several["values"] == pytest.approx([0.8, 0.6, 0.7])
    assert several["sd"] == pytest.approx(0.1)
    # t of 2 degrees of freedom 4.302653: 0.7 +- 4.302653 * 0.1 / sqrt(3)
    assert several["interval_trainings"] == pytest.approx([0.451586, 0.948414], abs=1e-6)
    low, high = summary["interval"]
    inner = several["interval_questions"]
    assert low < inner[0] < 0.7 < inner[1] < high
    assert json.loads(json.dumps(summary)) == summary


def test_the_same_training_twice_says_no_more_than_once():
    outcomes = [Outcome.CORRECT] * 30 + [Outcome.WRONG] * 20
    once = [row(outcome, question=f"s{i}") for i, outcome in enumerate(outcomes)]
    twice = [*once, *({**r, "training": 1} for r in once)]
    assert summarise(twice)["interval"] == pytest.approx(summarise(once)["interval"], abs=0.01)
    assert summarise(twice)["trainings"]["sd"] == 0


def test_draws_stand_beside_the_greedy_answer():
    """Of four draws of two questions 1 and 4 are right: avg@4 5/8, pass@2 (1/2 + 1) / 2."""
    rows = [row(Outcome.CORRECT, question="one"), row(Outcome.WRONG, question="two")]
    rights = {"one": "1000", "two": "1111"}
    rows += [
        row(
            Outcome.CORRECT if digit == "1" else Outcome.WRONG,
            question=question,
            sampled=True,
            draw=draw,
        )
        for question, digits in rights.items()
        for draw, digit in enumerate(digits)
    ]
    summary = summarise(rows)
    assert (summary["accuracy"], summary["accuracy_sampled"]) == (0.5, 0.625)
    found = summary["draws"]
    assert (found["k"], found["avg"]["value"]) == (4, 0.625)
    values = {k: part["value"] for k, part in found["pass"].items()}
    assert values == pytest.approx({"1": 0.625, "2": 0.75, "4": 1.0})
    assert "draws" not in summarise(rows[:2])


def test_what_the_strict_grader_says_where_another_one_judges():
    rows = [{**row(Outcome.CORRECT), "strict": strict} for strict in (1.0, 0.0, 1.0, 1.0)]
    summary = summarise(rows)
    assert (summary["accuracy"], summary["strict"]) == (1.0, 0.75)
    assert summary["strict_interval"] == wilson(3, 4)
    assert "strict" not in summarise([{**r, "strict": 1.0} for r in rows])
    assert "strict" not in summarise([{**r, "strict": None} for r in rows])


def test_cost_of_right_answers():
    measured = Measured(image_tokens=72, prompt_tokens=100, sampled_tokens=8, seconds=0.5)
    rows = [row(outcome, measured=measured) for outcome in (Outcome.CORRECT, Outcome.WRONG)]
    cost = summarise(rows)["cost"]
    assert cost == pytest.approx(
        {
            "image_tokens": 72,
            "prompt_tokens": 100,
            "sampled_tokens": 8,
            "seconds": 0.5,
            "correct_per_1k_image_tokens": 1000 / 144,
            "correct_per_second": 1.0,
        }
    )


def test_what_nobody_counted_has_no_cost():
    rows = [row(Outcome.CORRECT), row(Outcome.WRONG)]
    assert summarise(rows)["cost"] == {"image_tokens": 0, "seconds": 0}
    known = row(Outcome.CORRECT, measured=Measured(prompt_tokens=5))
    assert "prompt_tokens" not in summarise([*rows, known])["cost"]
    assert "cost" not in summarise([])
