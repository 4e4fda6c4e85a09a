"""What comes back for a box when it is not its region: `crop=`, one kind after the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hrvision_env import Episode, HighResVQAEnv, ImageRef, Sample
from hrvision_env.crops import CROPS, GREY, without_images
from hrvision_env.datasets import Samples
from hrvision_env.dialogues import UserTurn
from hrvision_env.dialogues.mgpo import Dialogue as Mgpo
from hrvision_env.images import Budget
from hrvision_env.records import Box

from .conftest import BOX, picture, play, row

SHOWN = (280 * 1200 / 1148, 300.0, 560 * 1200 / 1148, 450.0)
"""Where BOX lies on the original of `glove`."""


def cut(env: HighResVQAEnv, path: Any, region: Sequence[float]) -> bytes:
    """The pixels of a region as the environment would show it."""
    size = env.referee.budget.fit(round(region[2] - region[0]), round(region[3] - region[1]))
    x1, y1, x2, y2 = region
    original = Image.open(path)
    return original.resize(size, Image.Resampling.BICUBIC, box=(x1, y1, x2, y2)).tobytes()


def crop_of(env: HighResVQAEnv, question: str, *replies: str) -> Image.Image:
    """The only picture that comes back for the last reply."""
    (image,) = play(env, question, *replies)[-1][0]["images"]
    return image


def grey(image: Image.Image) -> bool:
    return bool((np.asarray(image) == GREY).all())


def test_a_blank_crop_has_the_size_of_the_real_one(make):
    env = make(crop="blank")
    image = crop_of(env, "glove", BOX)
    assert grey(image) and image.size == crop_of(make(), "glove", BOX).size == (644, 336)
    assert env.running.frames[1].region == pytest.approx(SHOWN)


def test_no_crop_leaves_its_text_without_the_image(make):
    env, real = make(crop="none"), make()
    _, shown, end = play(env, "glove", BOX, "\\boxed{B}")
    told = play(real, "glove", BOX)[1][0]["text"]
    assert shown[0]["images"] == () and shown[0]["text"] == told.removeprefix("<image>\n")
    assert shown[4]["n_crops"] == 0 and shown[4]["crop_size"] == () and shown[4]["box_valid"]
    assert env.episode.turns[0].boxes == real.episode.turns[0].boxes
    assert (env.episode.turns[1].n_images, end[1]) == (0, 1.0)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<image>\nWhat?", "What?"),
        ("<image>\n<image>\nThese are the areas.\nWhat?", "These are the areas.\nWhat?"),
        ("Look: <image>", "Look: "),
        ("No marker", "No marker"),
    ],
)
def test_the_text_without_image_markers(text, plain):
    assert without_images(text) == plain


def test_a_random_crop_is_as_large_and_of_the_same_image(make):
    env, real = make(crop="random"), make()
    image = crop_of(env, "glove", BOX)
    assert image.size == crop_of(real, "glove", BOX).size
    region = env.running.frames[1].region
    x1, y1, x2, y2 = region
    assert (x2 - x1, y2 - y1) == pytest.approx((SHOWN[2] - SHOWN[0], SHOWN[3] - SHOWN[1]))
    assert x1 >= 0 and y1 >= 0 and x2 <= 1200 and y2 <= 900 and (x1, y1) != SHOWN[:2]
    assert image.tobytes() == cut(env, env.sample.images[0].path, region)
    # The boxes of the record are those that were given.
    assert env.episode.boxes == real.episode.boxes


def test_random_places_depend_on_question_and_turn_alone(make):
    def regions(question: str) -> list[tuple[float, ...]]:
        env = make(crop="random", dialogue="free")
        play(env, question, BOX, BOX)
        return [shown.frame.region for shown in env.running.shown[1:]]

    first, second = regions("glove")
    assert [first, second] == regions("glove") and first != second
    assert first != regions("count")[0]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.tuples(*[st.integers(0, 1000)] * 4), st.sampled_from(["glove", "count", "plate"]),
    st.sampled_from([0.0, 0.4]),
)  # fmt: skip
def test_a_random_crop_never_leaves_the_image_and_keeps_its_size(folder, corners, name, margin):
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    reply = json.dumps([{"bbox_2d": [x1, y1, x2, y2]}])
    shown = {}
    for crop in ("real", "random"):
        env = HighResVQAEnv(
            "jsonl", root=folder, prompt="brief", box_dialect="relative_1000", max_aspect=1000,
            crop=crop, crop_margin=margin, min_pixels=784, max_pixels=7840, min_box=0,
        )  # fmt: skip
        shown[crop] = play(env, name, reply)[1]
        frame = env.running.frames[-1]
        left, top, right, bottom = frame.region or (0, 0, *frame.original)
        assert 0 <= left < right <= frame.original[0] and 0 <= top < bottom <= frame.original[1]
    sizes = [step[4]["crop_size"] for step in shown.values()]
    assert sizes[0] == sizes[1]
    assert shown["real"][4]["boxes"] == shown["random"][4]["boxes"]


def test_the_oracles_crop_is_the_gold_region_with_the_margin(make):
    env = make(crop="oracle")
    image = crop_of(env, "glove", BOX)
    assert env.running.frames[1].region == (100, 120, 220, 260)
    assert image.tobytes() == cut(env, env.sample.images[0].path, (100, 120, 220, 260))
    wide = make(crop="oracle", crop_margin=0.5)
    crop_of(wide, "glove", BOX)
    assert wide.running.frames[1].region == (40, 50, 280, 330)


def test_the_oracle_shows_all_gold_boxes_of_the_image_that_was_asked_for(make_root):
    two = row(
        id="two",
        images=["photos/a.jpg", "photos/b.jpg", "photos/c.jpg"],
        boxes=[
            {"box": [10, 20, 60, 70], "image_index": 0},
            {"box": [300, 400, 340, 480], "image_index": 0},
            {"box": [5, 6, 105, 206], "image_index": 1},
        ],
    )
    env = HighResVQAEnv("jsonl", root=make_root(two), prompt="brief", crop="oracle", max_boxes=3)
    reply = json.dumps([{"bbox_2d": [0, 0, 280, 280], "image_index": i} for i in (1, 0, 2)])
    _, shown = play(env, "two", reply)
    frames = env.running.frames[3:]
    assert [frame.region for frame in frames] == [
        (5, 6, 105, 206), (10, 20, 340, 480), (10, 20, 340, 480)
    ]  # fmt: skip
    assert [frame.image_index for frame in frames] == [1, 0, 0]
    assert [box[4] for box in shown[4]["boxes"]] == [1, 0, 2]


def test_a_question_without_gold_boxes_has_no_oracle(make):
    with pytest.raises(ValueError, match=r"crop 'oracle': question 'count': got no gold box"):
        make(crop="oracle").reset(options={"question_id": "count"})
    assert make(crop="blank").reset(options={"question_id": "count"})


def test_a_shuffled_crop_is_the_gold_region_of_another_question(make, make_root):
    make_root(row(id="glove"), row(id="plate", images=["photos/c.jpg"], boxes=[[30, 40, 530, 340]]))
    env = make(crop="shuffled")
    image = crop_of(env, "glove", BOX)
    assert image.tobytes() == cut(env, env.dataset[1].images[0].path, (30, 40, 530, 340))
    # It pretends to come from where the box is.
    frame = env.running.frames[1]
    assert frame.region == pytest.approx(SHOWN) and frame.seen == image.size
    assert frame.original == (1200, 900) and env.episode.turns[0].crop_sizes == (image.size,)
    assert crop_of(make(crop="shuffled"), "glove", BOX) == image


def test_without_gold_boxes_the_same_part_of_the_other_image_is_shown(make, make_root):
    make_root(row(id="glove"), row(id="plate", images=["photos/b.jpg"], boxes=None))
    env = make(crop="shuffled")
    image = crop_of(env, "glove", BOX)
    # b.jpg is 640 x 1000, a.jpg 1200 x 900.
    share = [SHOWN[0] * 640 / 1200, 300 * 1000 / 900, SHOWN[2] * 640 / 1200, 450 * 1000 / 900]
    assert image.tobytes() == cut(env, env.dataset[1].images[0].path, share)


def test_the_other_question_is_of_another_group_and_about_another_image(make_root):
    rows = [row(id=f"r{n}", group_id="glove", images=[f"photos/{n}.jpg"]) for n in "ab"]
    rows += [row(id="same", images=["photos/a.jpg"]), row(id="other", images=["photos/c.jpg"])]
    env = HighResVQAEnv("jsonl", root=make_root(*rows), prompt="brief", crop="shuffled")
    first, second, same, _ = (env.dataset[n] for n in range(4))
    assert env.questions.other(first).id == "other"
    assert env.questions.other(second).id in ("same", "other")
    assert env.questions.other(same).id in ("rb", "other")
    env = HighResVQAEnv("jsonl", root=make_root(*rows[:2]), prompt="brief", crop="shuffled")
    with pytest.raises(ValueError, match=r"crop 'shuffled': question 'ra': got 2 questions, all"):
        env.reset(options={"index": 0})


def test_other_questions_are_spread_over_the_dataset():
    env = HighResVQAEnv(crop="shuffled", prompt="brief", size=200)
    samples = [env.dataset[n] for n in range(60)]
    others = [env.questions.other(sample).id for sample in samples]
    assert len(set(others)) > 40
    assert all(other != sample.id for other, sample in zip(others, samples, strict=True))
    again = HighResVQAEnv(crop="shuffled", prompt="brief", size=200)
    assert others == [again.questions.other(sample).id for sample in samples]


def load_two(split: str) -> Samples:
    """A dataset of another package: two questions on two images."""
    return Samples(
        [
            Sample(
                f"{split}{n}", "What?", (ImageRef(image=picture(300, 200, n), key=f"{split}{n}"),),
                ("x",), boxes=(Box(10, 10, 60, 50),),
            )
            for n in range(2)
        ],
        "two",
    )  # fmt: skip


def test_the_other_question_is_of_the_dataset_that_was_asked_for(make):
    env = make(crop="shuffled", min_pixels=784)
    env.reset(options={"dataset": f"{__name__}:load_two", "split": "val", "index": 0})
    _, _, _, _, info = env.step('[{"bbox_2d": [28, 28, 280, 140]}]')
    assert env.questions.other(env.sample).id == "val1"
    assert info["crop_size"] == Budget(28, 784).fit(50, 40)
    env.reset(options={"question_id": "glove"})
    assert env.questions.other(env.sample).id in ("count", "plate")


@pytest.mark.parametrize("crop", ["blnk", "", None, 3, ["real"]])
def test_an_unknown_crop_is_named(make, crop):
    hint = ", did you mean 'blank'" if crop == "blnk" else ""
    with pytest.raises(ValueError, match=rf"crop: got .*expected one of real, none, blank.*{hint}"):
        make(crop=crop)


class Miscounting(Mgpo):
    """Shows a crop without a marker for it."""

    def _turn(self, sample: Sample, turn: int, template: str, show: str, count: int) -> UserTurn:
        user = super()._turn(sample, turn, template, show, count)
        return user if show == "views" else UserTurn("no marker", show)


@pytest.mark.parametrize("crop", ["real", "none"])
def test_a_dialogue_that_miscounts_is_named_whatever_is_shown(make, crop):
    env = make(dialogue=f"{__name__}:Miscounting", crop=crop)
    *_, end = play(env, "glove", BOX)
    assert end[4]["outcome"] == "error"
    assert "its text has 0 <image> markers, expected 1" in end[4]["error"]


def test_an_image_of_the_other_question_that_is_broken_is_named(make, make_root):
    root = make_root(row(id="glove"), row(id="plate", images=["photos/c.jpg"]))
    env = make(crop="shuffled")
    whole = (root / "photos/c.jpg").read_bytes()
    (root / "photos/c.jpg").write_bytes(whole[: len(whole) // 2])  # its header is good
    *_, end = play(env, "glove", BOX)
    assert end[4]["outcome"] == "error" and "sample 'plate'" in end[4]["error"]


@pytest.mark.parametrize("crop", CROPS)
def test_the_record_says_what_was_shown(make, crop):
    env = make(crop=crop)
    play(env, "glove", BOX, "\\boxed{B}")
    data = json.loads(json.dumps(env.episode.to_dict()))
    assert data["crop"] == crop and Episode.from_dict(data) == env.episode
    del data["crop"]  # a record of before there was a choice
    assert Episode.from_dict(data).crop == "real"
