"""What was shown instead of a box's region: whose it is, where it lies, what the record says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hrvision_env import Episode, HighResVQAEnv
from hrvision_env.crops import CROPS
from hrvision_env.diagnostics import diagnose
from hrvision_env.questions import NoCrop
from hrvision_env.records import Box, Excerpt
from hrvision_env.trace.parsing import parse_line

from .conftest import BOX, picture, play, row
from .test_crops import crop_of, cut

BROKEN = (
    [500, 400, 600, 500],  # right of and below an image of 400 x 300
    [400, 10, 420, 60],  # begins at its edge
)


@pytest.fixture(params=BROKEN, ids=str)
def broken(request, make_root):
    """`wrong` has a gold box outside its image of 400 x 300; two others have good ones."""
    names = {"wrong": "small.png", "one": "a.jpg", "two": "b.jpg"}
    rows = [row(id=name, images=[f"photos/{file}"]) for name, file in names.items()]
    rows[0]["boxes"] = [request.param]
    root = make_root(*rows)
    picture(400, 300).save(root / "photos/small.png")
    return root


def test_another_question_with_a_gold_box_outside_its_image_lends_nothing(broken):
    env = HighResVQAEnv("jsonl", root=broken, prompt="brief", crop="shuffled", dialogue="free")
    for name, other in (("one", "two"), ("two", "one")):
        for _ in range(3):
            shown = play(env, name, BOX, BOX, BOX)
            assert not shown[-1][4]["error"]
        partners = {e.question_id for turn in env.episode.turns for e in turn.shown}
        assert partners == {other}
    (broken / "photos/b.jpg").write_bytes(b"no image")
    env.referee.store.clear()
    with pytest.raises(NoCrop, match=r"question 'one': got 3 questions, all of its group"):
        env.reset(options={"question_id": "one"})


def test_a_gold_box_outside_its_image_has_no_oracle(broken):
    env = HighResVQAEnv("jsonl", root=broken, prompt="brief", crop="oracle")
    with pytest.raises(NoCrop, match=r"crop 'oracle': question 'wrong': .*outside .* of 400x300"):
        env.reset(options={"question_id": "wrong"})
    assert play(env, "one", BOX)[-1][4]["crop_size"]
    assert not play(env, "two", BOX)[-1][4]["error"]


def test_boxes_of_one_reply_are_moved_and_exchanged_each_for_itself(make):
    twice = json.dumps([{"bbox_2d": [280, 280, 560, 420]}] * 2)
    env = make(crop="random", max_boxes=2)
    *_, info = play(env, "glove", twice)[-1]
    first, second = (excerpt.region for excerpt in env.episode.turns[0].shown)
    assert info["n_crops"] == 2 and first != second
    assert (first.width, first.height) == pytest.approx((second.width, second.height))

    many = HighResVQAEnv(
        crop="shuffled", prompt="brief", size=200, max_boxes=2, dialogue="free", factor=16
    )
    play(many, many.dataset[0].id, twice, twice)
    partners = [e.question_id for turn in many.episode.turns for e in turn.shown]
    assert len(set(partners)) == len(partners) == 4
    shown = [image.image.tobytes() for image in many.running.shown[1:]]
    assert len(set(shown)) == 4
    play(many, many.dataset[0].id, twice, twice)
    assert partners == [e.question_id for turn in many.episode.turns for e in turn.shown]


def test_a_shuffled_crop_has_the_margin(make, make_root):
    make_root(
        row(id="glove"), row(id="plate", images=["photos/c.jpg"], boxes=[[100, 80, 300, 180]])
    )
    env = make(crop="shuffled", crop_margin=0.25)
    image = crop_of(env, "glove", BOX)
    assert image.tobytes() == cut(env, env.dataset[1].images[0].path, (50, 55, 350, 205))
    (excerpt,) = env.episode.turns[0].shown
    assert excerpt == Excerpt(Box(50, 55, 350, 205), "plate")


@pytest.mark.parametrize("crop", CROPS)
def test_the_record_says_what_was_shown_instead(make, make_root, crop):
    make_root(row(id="glove"), row(id="plate", images=["photos/c.jpg"], boxes=[[30, 40, 530, 340]]))
    env = make(crop=crop)
    play(env, "glove", BOX, "\\boxed{B}")
    expected = {
        "oracle": (Excerpt(Box(100, 120, 220, 260)),),
        "shuffled": (Excerpt(Box(30, 40, 530, 340), "plate"),),
    }
    turn = env.episode.turns[0]
    if crop == "random":
        assert [Excerpt(Box(*env.running.frames[1].region))] == list(turn.shown)
    else:
        assert turn.shown == expected.get(crop, ())
    assert env.episode.turns[1].shown == ()
    held = {part.region.coverage(Box(100, 120, 220, 260)) for part in turn.shown}
    told = diagnose(env.sample, env.episode).shown_gold
    assert told == (pytest.approx(held.pop()) if crop in ("random", "oracle") else None)
    data = json.loads(json.dumps(env.episode.to_dict()))
    assert Episode.from_dict(data) == env.episode
    for old in data["turns"]:
        del old["shown"]
    assert Episode.from_dict(data).turns[0] == replace(turn, shown=())


@pytest.mark.parametrize("crop", ["oracle", "shuffled"])
@pytest.mark.parametrize("options", [{}, {"kind": "colour"}, {"kind": "which"}], ids=str)
def test_synthetic_questions_are_checked_without_painting_them(crop, options):
    env = HighResVQAEnv(crop=crop, prompt="brief", size=6, **options)
    for number in range(6):
        env.referee.check(env.dataset[number])
    store, images = env.referee.store, env.dataset[5].images
    assert len(store) == 0
    assert [store.size(image) for image in images] == [image.size for image in images]


@pytest.mark.parametrize(
    "change",
    [
        {"question_id": 3},
        {"region": {"x1": 0, "y1": 0, "x2": 1e300, "y2": 5}},
        {"region": {"x1": "0", "y1": 0, "x2": 9, "y2": 5}},
        {"more": "<img>"},
    ],
    ids=str,
)
def test_a_trace_whose_shown_region_is_no_region_is_refused(make, change):
    env = make(crop="oracle")
    play(env, "glove", BOX)
    data = env.episode.to_dict()
    assert parse_line(json.dumps(data).encode(), 1).episode == env.episode
    data["turns"][0]["shown"][0].update(change)
    with pytest.raises((ValueError, TypeError)):
        parse_line(json.dumps(data).encode(), 1)
