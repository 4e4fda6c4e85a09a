"""Diagnostics against numbers worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest
from PIL import Image

from hrvision_env.diagnostics import Diagnostics, aggregate, diagnose
from hrvision_env.records import Box, Episode, ImageRef, Sample, Turn

GOLD = Box(400, 400, 500, 500)


def make_sample(*gold: Box, n_images: int = 1) -> Sample:
    image = ImageRef(image=Image.new("RGB", (8, 8)), key="grey")
    return Sample(id="q", question="What?", images=(image,) * n_images, answers=("x",), boxes=gold)


def make_episode(*boxes: Box | None, size: tuple[int, int] = (1000, 1000)) -> Episode:
    turns = tuple(Turn("", 1, "", () if box is None else (box,)) for box in boxes)
    return Episode(
        question_id="q",
        dataset="d",
        split="test",
        dialogue="mgpo",
        prompt="brief",
        system="",
        image_sizes=(size, (200, 50)),
        view_sizes=((96, 96), (96, 96)),
        turns=turns,
    )


def test_a_box_twice_as_wide_and_high_around_the_gold_box():
    found = diagnose(make_sample(GOLD), make_episode(Box(350, 350, 550, 550), None))
    assert found == Diagnostics(True, hit=1.0, iou=0.25, coverage=1.0, box_side=200.0)


def test_a_box_that_overlaps_without_the_centre_is_no_hit():
    # Shares 40 x 100 of 100 x 100: union 10,000 + 10,000 - 4,000.
    found = diagnose(make_sample(GOLD), make_episode(Box(340, 400, 440, 500)))
    assert found.hit == 0.0
    assert found.iou == pytest.approx(4_000 / 16_000)
    assert found.coverage == pytest.approx(0.4)


def test_the_centre_on_the_upper_edge_is_outside_and_on_the_lower_edge_inside():
    assert diagnose(make_sample(GOLD), make_episode(Box(0, 0, 450, 1000))).hit == 0.0
    assert diagnose(make_sample(GOLD), make_episode(Box(450, 0, 1000, 1000))).hit == 1.0


def test_box_side_relates_to_the_image_whatever_its_shape():
    # sqrt(400 * 100 / (2000 * 500)) = 0.2
    found = diagnose(make_sample(GOLD), make_episode(Box(0, 0, 400, 100), size=(2000, 500)))
    assert found.box_side == pytest.approx(200.0)


def test_no_valid_box_counts_as_nothing_found_and_has_no_side():
    found = diagnose(make_sample(GOLD), make_episode(None, None))
    assert found == Diagnostics(False, hit=0.0, iou=0.0, coverage=0.0, box_side=None)


def test_the_last_valid_box_counts():
    episode = make_episode(Box(0, 0, 10, 10), Box(400, 400, 500, 500), None)
    assert diagnose(make_sample(GOLD), episode).iou == 1.0


def test_boxes_on_another_image_do_not_meet():
    other = dataclasses.replace(GOLD, image_index=1)
    found = diagnose(make_sample(other, n_images=2), make_episode(GOLD))
    assert (found.hit, found.iou, found.coverage) == (0.0, 0.0, 0.0)
    # The side is measured on the image of the box: sqrt(50 * 50 / (200 * 50)) = 0.5
    small = Box(0, 0, 50, 50, image_index=1)
    assert diagnose(make_sample(other, n_images=2), make_episode(small)).box_side == 500.0


def test_several_gold_boxes_share_hit_and_coverage_and_the_best_fit_gives_iou():
    second = Box(700, 400, 800, 500)
    found = diagnose(make_sample(GOLD, second), make_episode(Box(400, 400, 500, 500)))
    assert found == Diagnostics(True, hit=0.5, iou=1.0, coverage=0.5, box_side=100.0)


def test_a_sample_without_gold_boxes_leaves_only_what_the_box_itself_says():
    found = diagnose(make_sample(), make_episode(Box(0, 0, 100, 100)))
    assert found == Diagnostics(True, None, None, None, 100.0)
    assert diagnose(make_sample(), make_episode(None)) == Diagnostics(False, None, None, None, None)


def test_an_episode_of_another_question_is_refused():
    episode = dataclasses.replace(make_episode(None), question_id="other")
    with pytest.raises(ValueError, match=r"'other'.*expected one of sample 'q'"):
        diagnose(make_sample(GOLD), episode)


def test_aggregate_counts_missing_boxes_as_zero_but_not_in_the_side():
    items = [
        Diagnostics(True, 1.0, 0.3, 0.8, 100.0),
        Diagnostics(True, 0.0, 0.0, 0.1, 300.0),
        Diagnostics(False, 0.0, 0.0, 0.0, None),
        Diagnostics(True, None, None, None, 200.0),
    ]
    assert aggregate(items) == {
        "valid_box_rate": 0.75,
        "hit_rate": pytest.approx(1 / 3),
        "iou": pytest.approx(0.1),
        "coverage": pytest.approx(0.3),
        "box_side": 200.0,
    }


def test_aggregate_has_no_key_for_a_measure_without_a_value():
    assert aggregate([Diagnostics(False, None, None, None, None)]) == {"valid_box_rate": 0.0}
    assert aggregate([]) == {}
