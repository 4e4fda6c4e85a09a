"""What of ours stands beside a published number: which value, in which order, in which words."""

from __future__ import annotations

from typing import Any

from benchmarks.published import in_order
from benchmarks.published.comparing import by_agent, value_of
from benchmarks.published.rules import order_of, turns_of

from .pairs import (
    DRAWN,
    RULES,
    SUMMARY,
    compared,
    published,
    reasons,
)


def test_the_mean_over_draws_is_compared_with_as_many_of_ours():
    number = published(sampling="avg@32", temperature=1.0)
    assert reasons(number, summary=DRAWN) == []
    assert value_of(number, RULES, DRAWN) == ({"value": 0.7}, "")
    # Draws are graded by our environment alone.
    ruled = published(number, grader="official:vstar")
    assert reasons(ruled, summary={**DRAWN, "official": {"micro": {"value": 0.7}}}) == [
        "published by the grader official:vstar, ours by strict"
    ]


def test_a_number_by_official_rules_is_compared_with_ours_by_official_rules():
    number = published(grader="official:vstar")
    assert reasons(number) == ["published by the grader official:vstar, ours by strict"]
    both = {**SUMMARY, "official": {"micro": {"value": 0.7}}}
    assert reasons(number, summary=both) == []
    assert reasons(number, env={"grader": "official:vstar"}) == []
    # Another benchmark's rules are not in our summary.
    assert reasons(published(grader="official:blink"), summary=both) != []


def test_benchmarks_with_parts_have_to_say_which():
    lite = published(benchmark="mme_realworld", split="lite", metric="macro9", n=1919)
    ours = {"dataset": "mme_realworld", "questions": 1919}
    summary = {"aggregations": {"macro9": {"value": 0.6}}}
    assert reasons(lite, {**ours, "split": "lite"}, summary=summary) == []
    # Files that do not say it are known by the number of their questions.
    assert reasons(lite, {**ours, "split": "train"}, summary=summary) == []
    assert reasons(lite, {**ours, "split": "en"}, summary=summary) == [
        "published on the split 'lite', ours is 'en'"
    ]
    assert reasons(lite, {**ours, "questions": 1000}, summary=summary) == [
        "asked 1000 of 1919 questions",
        "our data does not say whether it is 'lite'",
    ]
    rotated = published(benchmark="hrbench", split="4k", metric="cycle_mean", n=800, options="any")
    ours = {"dataset": "hrbench", "questions": 800, "split": "HR_Bench_4K"}
    assert reasons(rotated, ours, summary={"aggregations": {"cycle_mean": {"value": 1}}}) == []
    # Not even a number without a count compares with data that may be another part.
    full = published(lite, split="en", n=None)
    found, _ = compared(full, {"dataset": "mme_realworld", "questions": 1919}, summary=summary)
    assert found == ["our data does not say whether it is 'en'"]


def test_turns_are_those_of_the_dialogue_unless_they_are_given():
    names = ("mgpo", "single_turn", "crop_only", "free")
    assert [turns_of({"dialogue": name}) for name in names] == [2, 1, 2, 4]
    assert turns_of({"dialogue": "free", "max_turns": 6}) == 6


def test_the_order_of_the_options_is_ours_where_a_loader_made_it():
    note = "... the options were put into an order drawn from a hash of the question's id"
    assert order_of({"notes": [note]}, {}) == "shuffled"
    assert order_of({}, {"shuffle_options": 1}) == order_of({"shuffle_options": 0}, {})
    assert order_of({"shuffle_options": None}, {}) == "file"


def test_the_order_is_that_of_the_points_that_are_shown():
    def row(name: str, standing: str, **points: list[str]) -> dict[str, Any]:
        ours = {agent: {"open": found} for agent, found in points.items()}
        return {"model": name, "standing": standing, "ours": ours}

    rows = [
        row("never", "not comparable"),
        row("many", "as far as stated", a=["x"], b=["y", "z", "w"]),  # four are shown
        row("two", "as far as stated", a=["x", "y"]),
        row("whole", "comparable", a=[], b=["x", "y", "z"]),
    ]
    assert [found["model"] for found in in_order(rows)] == ["whole", "two", "many"]


def test_points_of_several_agents_are_told_once_or_by_name():
    assert by_agent({}) == ""
    assert by_agent({"a": ["x", "y"]}) == "x; y"
    assert by_agent({"a": ["x"], "b": ["x", "y"], "c": ["x", "y"]}) == "x; b, c: y"
    assert by_agent({"a": ["x", "y"], "b": ["z"]}, ", ") == "a: x, y; b: z"
