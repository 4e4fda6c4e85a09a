"""Diagnostics against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from typing import Any

import pytest
from PIL import Image

from hrvision_env.diagnostics import COLUMNS, Diagnostics, aggregate, diagnose
from hrvision_env.env import HighResVQAEnv
from hrvision_env.records import Box, Episode, Excerpt, ImageRef, Sample, Turn

GOLD = Box(400, 400, 500, 500)
REAL = {"shown_gold": None}
"""Nothing was shown instead of the boxes."""


def make_sample(*gold: Box, n_images: int = 1) -> Sample:
    image = ImageRef(image=Image.new("RGB", (8, 8)), key="grey")
    return Sample(id="q", question="What?", images=(image,) * n_images, answers=("x",), boxes=gold)


def make_episode(*boxes: Box | None, size: tuple[int, int] = (1000, 1000)) -> Episode:
    """A turn per box, each of which shows a crop."""
    turns = tuple(
        Turn("", 1, "")
        if box is None
        else Turn("", 1, "", (box,), crop_sizes=((int(box.width), int(box.height)),))
        for box in boxes
    )
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
    last = {"hit": 1.0, "iou": 0.25, "coverage": 1.0, "box_side": 200.0}
    every = {
        "crops": 1,
        "box_area": 0.04,
        "crop_recall": 1.0,
        "best_iou": 0.25,
        "iogt": 1.0,
        **REAL,
    }
    assert dataclasses.asdict(found) == {"valid_box": True, **last, **every}


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
    last = {"hit": 0.0, "iou": 0.0, "coverage": 0.0, "box_side": None}
    every = {"crops": 0, "box_area": None, "crop_recall": 0.0, "best_iou": 0.0, "iogt": 0.0, **REAL}
    assert dataclasses.asdict(found) == {"valid_box": False, **last, **every}


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
    last = {"hit": 0.5, "iou": 1.0, "coverage": 0.5, "box_side": 100.0}
    every = {"crops": 1, "box_area": 0.01, "crop_recall": 0.5, "best_iou": 1.0, "iogt": 0.5, **REAL}
    assert dataclasses.asdict(found) == {"valid_box": True, **last, **every}


def test_a_sample_without_gold_boxes_leaves_only_what_the_box_itself_says():
    found = diagnose(make_sample(), make_episode(Box(0, 0, 100, 100)))
    assert found == Diagnostics(True, None, None, None, 100.0, crops=1, box_area=0.01)
    missing = diagnose(make_sample(), make_episode(None))
    assert missing == Diagnostics(False, None, None, None, None, crops=0)


def test_boxes_that_overlap_cover_the_gold_area_once():
    # Left half, and the middle from 25% to 75%: together the left 75%.
    boxes = (Box(400, 400, 450, 500), Box(425, 400, 475, 500))
    found = diagnose(make_sample(GOLD), make_episode(*boxes))
    assert found.crop_recall == pytest.approx(0.75)
    assert (found.coverage, found.best_iou) == (0.5, 0.5)  # of the last box; of either
    assert (found.crops, found.box_area) == (2, pytest.approx(0.005))


def test_gold_boxes_that_overlap_count_their_area_once():
    # Gold: 0..100 and 50..150 wide, 100 high: 15,000 px² in all, of which 0..75 is covered.
    gold = (Box(0, 0, 100, 100), Box(50, 0, 150, 100))
    found = diagnose(make_sample(*gold), make_episode(Box(0, 0, 75, 100)))
    assert found.crop_recall == pytest.approx(7_500 / 15_000)
    assert found.coverage == pytest.approx((0.75 + 0.25) / 2)
    assert found.iogt == 0.5  # 0.75 of the first, 0.25 of the second


def test_the_best_box_is_not_always_the_last_one():
    found = diagnose(make_sample(GOLD), make_episode(GOLD, Box(0, 0, 10, 10)))
    assert (found.iou, found.best_iou) == (0.0, 1.0)
    assert (found.coverage, found.crop_recall, found.iogt) == (0.0, 1.0, 1.0)


def test_two_small_boxes_see_nothing_alone_however_much_they_cover_together():
    halves = (Box(400, 400, 430, 500), Box(430, 400, 460, 500))  # 0.3 each: not above IOGT
    found = diagnose(make_sample(GOLD), make_episode(*halves))
    assert (found.crop_recall, found.iogt) == (pytest.approx(0.6), 0.0)
    wider = diagnose(make_sample(GOLD), make_episode(Box(400, 400, 431, 500)))
    assert wider.iogt == 1.0


def test_gold_on_two_images_adds_up_in_square_pixels():
    # 100 x 100 px found on the first image, 50 x 20 px missed on the second.
    gold = (GOLD, Box(0, 0, 50, 20, image_index=1))
    found = diagnose(make_sample(*gold, n_images=2), make_episode(GOLD))
    assert found.crop_recall == pytest.approx(10_000 / 11_000)
    assert (found.best_iou, found.iogt) == (1.0, 0.5)


def test_a_gold_box_without_area_is_never_found_and_never_fails():
    inverted = Box(500, 500, 400, 400)
    for gold in ((inverted,), (Box(400, 400, 400, 500),)):
        found = diagnose(make_sample(*gold), make_episode(Box(0, 0, 1000, 1000)))
        assert (found.crop_recall, found.best_iou, found.iogt) == (0.0, 0.0, 0.0)
    # ... and takes nothing away from another one.
    found = diagnose(make_sample(inverted, GOLD), make_episode(GOLD))
    assert (found.crop_recall, found.iogt) == (1.0, 0.5)


def test_crop_recall_equals_a_count_of_pixels():
    rng = random.Random(7)

    def draw() -> Box:
        (x1, x2), (y1, y2) = sorted(rng.sample(range(40), 2)), sorted(rng.sample(range(40), 2))
        return Box(x1, y1, x2, y2)

    for _ in range(50):
        gold = [draw() for _ in range(rng.randint(1, 3))]
        boxes = [draw() for _ in range(rng.randint(1, 5))]
        every = itertools.product(range(40), repeat=2)
        wanted = {xy for xy in every if any(g.contains(*xy) for g in gold)}
        seen = {xy for xy in wanted if any(box.contains(*xy) for box in boxes)}
        found = diagnose(make_sample(*gold), make_episode(*boxes, size=(40, 40)))
        assert found.crop_recall == pytest.approx(len(seen) / len(wanted))


def test_all_boxes_of_a_turn_count_and_crops_are_those_that_were_shown():
    boxes = (Box(0, 0, 500, 500), Box(500, 500, 1000, 1000))
    turns = (
        Turn("", 1, "", boxes, crop_sizes=((500, 500), (500, 500))),
        Turn("", 2, "", (Box(0, 500, 500, 1000),)),  # the last turn: nothing more is shown
    )
    found = diagnose(make_sample(GOLD), dataclasses.replace(make_episode(), turns=turns))
    assert (found.crops, found.box_area, found.crop_recall) == (2, 0.25, 1.0)


def replaced(crop: str, *regions: Box, known: bool = True) -> Episode:
    """An episode with a box in the corner per region, for which that region was shown."""
    episode = make_episode(*(Box(0, 0, 10, 10) for _ in regions))
    pairs = zip(episode.turns, regions, strict=True)
    shown = tuple(dataclasses.replace(turn, shown=(Excerpt(region),)) for turn, region in pairs)
    return dataclasses.replace(episode, crop=crop, turns=shown if known else episode.turns)


def test_what_was_shown_instead_of_the_boxes_is_compared_with_the_gold_area():
    # The left half, and the middle from 25% to 75%: together the left 75%; the boxes see nothing.
    halves = (Box(400, 400, 450, 500), Box(425, 400, 475, 500))
    for crop in ("random", "oracle"):
        found = diagnose(make_sample(GOLD), replaced(crop, *halves))
        assert (found.shown_gold, found.crop_recall) == (pytest.approx(0.75), 0.0)
    # A box that was not given showed nothing.
    none = diagnose(make_sample(GOLD), dataclasses.replace(make_episode(None), crop="random"))
    assert none.shown_gold == 0.0
    assert aggregate([found, none])["shown_gold"] == pytest.approx(0.375)


def test_where_nothing_is_known_of_what_was_shown_no_share_is_told():
    for episode in (
        replaced("shuffled", GOLD),  # of another question's image
        replaced("real", GOLD),
        replaced("blank", GOLD, known=False),
        replaced("random", GOLD, known=False),  # an older record
    ):
        assert diagnose(make_sample(GOLD), episode).shown_gold is None
    assert diagnose(make_sample(), replaced("random", GOLD)).shown_gold is None  # no gold


def test_a_row_is_read_back_and_an_older_one_lacks_what_it_lacks():
    found = diagnose(make_sample(GOLD), make_episode(Box(350, 350, 550, 550)))
    row = json.loads(json.dumps({"agent": "a", **dataclasses.asdict(found), "index": 3}))
    assert Diagnostics.from_dict(row) == found
    old = {"valid_box": True, "hit": 1.0, "iou": 0.25, "coverage": 1.0, "box_side": 200.0}
    assert Diagnostics.from_dict(old) == Diagnostics(True, 1.0, 0.25, 1.0, 200.0)
    with pytest.raises(KeyError, match="valid_box"):
        Diagnostics.from_dict({"hit": 1.0})


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


def test_aggregate_of_all_boxes_leaves_the_area_of_no_box_out():
    seen = diagnose(make_sample(GOLD), make_episode(Box(350, 350, 550, 550), GOLD))
    missed = diagnose(make_sample(GOLD), make_episode(None))
    no_gold = diagnose(make_sample(), make_episode(Box(0, 0, 1000, 1000)))
    means = aggregate([seen, missed, no_gold])
    assert list(means) == [name for name in COLUMNS if name != "shown_gold"]
    assert means["crops_per_episode"] == 1.0  # 2, 0, 1
    assert means["box_area"] == pytest.approx(((0.04 + 0.01) / 2 + 1) / 2)
    # Without a box: nothing found. Without a gold box: nothing to find.
    assert (means["crop_recall"], means["best_iou"], means["iogt_rate"]) == (0.5, 0.5, 0.5)


def test_what_an_environment_showed_is_what_is_counted():
    rules: dict[str, Any] = {
        "prompt": "brief",
        "box_dialect": "relative_1000",
        "dialogue": "free",
        "max_turns": 4,
    }
    env = HighResVQAEnv(**rules, max_boxes=2)
    env.reset(options={"index": 0})
    env.step('[{"bbox_2d": [0, 0, 500, 500]}, {"bbox_2d": [500, 500, 1000, 1000]}]')
    env.step("nothing that is a box")
    env.step('[{"bbox_2d": [250, 0, 750, 1000]}]')
    *_, info = env.step("\\boxed{A}")
    found = diagnose(env.sample, env.episode)
    assert found.crops == info["n_crops"] == 3
    assert found.box_area == pytest.approx((0.25 + 0.25 + 0.5) / 3)
    # What all boxes cover is never less than what the last one covers.
    assert found.crop_recall is not None and found.coverage is not None
    assert found.crop_recall >= found.coverage
    without = HighResVQAEnv(**rules, crop="none")
    without.reset(options={"index": 0})
    without.step('[{"bbox_2d": [0, 0, 500, 500]}]')
    without.step("\\boxed{A}")
    blind = diagnose(without.sample, without.episode)
    assert (blind.crops, blind.valid_box, blind.box_area) == (0, True, pytest.approx(0.25))
