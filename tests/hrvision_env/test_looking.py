"""What the four dialogues show: nested zoom, hidden views, several boxes, points, margins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hrvision_env import HighResVQAEnv, Outcome

from .conftest import play, row


def box(*numbers: float, **more: Any) -> str:
    return json.dumps([{"bbox_2d": list(numbers), **more}])


def original(env: HighResVQAEnv, index: int = 0) -> Image.Image:
    path = env.sample.images[index].path
    assert path is not None
    return Image.open(path)


def same(shown: Image.Image, source: Image.Image, region: Sequence[float]) -> bool:
    x1, y1, x2, y2 = region
    plain = source.resize(shown.size, Image.Resampling.BICUBIC, box=(x1, y1, x2, y2))
    return plain.tobytes() == shown.tobytes()


FIRST = (400.0, 300.0, 800.0, 600.0)
"""Where FIRST_BOX lies on the original of 1200 x 900, which is seen in thousandths."""
FIRST_BOX = box(333.33333333333333, 333.33333333333333, 666.6666666666667, 666.6666666666667)


@pytest.fixture
def free(make) -> HighResVQAEnv:
    return make(dialogue="free", box_dialect="relative_1000", box_parser="lenient")


def test_a_box_may_name_a_crop_and_zooms_in_on_the_original(free):
    # The lower right quarter of the crop.
    _, shown, again, end = play(
        free, "glove", FIRST_BOX, box(500, 500, 1000, 1000, image_index=1), "\\boxed{B}"
    )
    assert shown[4]["box"] == pytest.approx(FIRST)
    assert again[4]["box"] == pytest.approx((600, 450, 800, 600))
    assert same(again[0]["images"][0], original(free), again[4]["box"])
    assert again[4]["n_crops"] == 2 and end[1] == 1.0 and end[4]["turn"] == 3
    frames = [shown.frame for shown in free.running.shown]
    assert [frame.region is None for frame in frames] == [True, False, False]
    assert frames[2].region == pytest.approx((600, 450, 800, 600))


def test_a_box_without_an_index_is_on_the_original_or_on_the_last_image(make):
    boxes = {}
    for frame in ("original", "last_image"):
        env = make(
            dialogue="free", box_dialect="relative_1000", box_parser="lenient", box_frame=frame
        )
        steps = play(env, "glove", FIRST_BOX, box(0, 0, 500, 500))
        boxes[frame] = steps[2][4]["box"]
    assert boxes["original"] == pytest.approx((0, 0, 600, 450))
    assert boxes["last_image"] == pytest.approx((400, 300, 600, 450))


def test_pixels_of_a_crop_are_its_own(make):
    """Absolute numbers count pixels of the crop as shown, not of the view."""
    env = make(dialogue="free", box_frame="last_image")
    _, shown, again = play(env, "glove", box(280, 280, 560, 420), box(0, 0, 322, 168))
    crop = shown[0]["images"][0]
    assert crop.size == (644, 336)
    x1, y1, x2, y2 = shown[4]["box"]
    half = (x1, y1, (x1 + x2) / 2, (y1 + y2) / 2)
    assert again[4]["box"] == pytest.approx(half) and again[4]["box_raw"] == (0, 0, 322, 168)


@pytest.mark.parametrize("index", [2, -1, 99])
def test_an_image_that_was_not_shown_cannot_be_named(free, index):
    _, _, again = play(free, "glove", FIRST_BOX, box(0, 0, 500, 500, image_index=index))
    assert again[4]["invalid_reason"] == "no_such_image" and again[4]["n_crops"] == 1
    assert again[0]["images"] == () and again[0]["text"].startswith("No valid box")


def test_an_agent_may_answer_at_once_or_look_until_its_turns_are_used_up(free):
    _, end = play(free, "glove", "\\boxed{B}")
    assert end[1:3] == (1.0, True) and end[4]["n_crops"] == 0
    # An answer is no failed attempt at a box; what is neither, is one.
    assert end[4]["invalid_reason"] == "" == free.episode.turns[0].invalid_reason
    assert play(free, "glove", "hm")[1][4]["invalid_reason"] == "no_json"
    broken = '[{"bbox_2d": [1, 1]}] \\boxed{B}'  # it tried, and that is recorded
    assert play(free, "glove", broken)[1][4]["invalid_reason"] == "not_four_numbers"
    _, shown, end = play(free, "glove", FIRST_BOX, "\\boxed{B}")
    assert end[4]["box"] == shown[4]["box"] != ()
    *_, last, end = play(free, "glove", FIRST_BOX, FIRST_BOX, "hm", "B")
    assert last[0]["text"].endswith("Answer now in \\boxed{}.") and last[4]["stop"] == ()
    assert end[1:3] == (1.0, True) and end[4]["turn"] == 4
    *_, end = play(free, "glove", FIRST_BOX, FIRST_BOX, FIRST_BOX, FIRST_BOX)
    assert end[4]["outcome"] == "no_answer" and end[4]["n_crops"] == 3


def test_crop_only_hides_the_view(make):
    env = make(dialogue="crop_only")
    start, shown, end = play(env, "glove", box(280, 280, 560, 420), "\\boxed{B}")
    assert not start[4]["fresh"] and shown[4]["fresh"] and not end[4]["fresh"]
    assert len(shown[0]["images"]) == 1 and shown[0]["images"][0].size == (644, 336)
    assert [turn.fresh for turn in env.episode.turns] == [False, True] and end[1] == 1.0
    # What came before is gone for boxes too.
    assert [frame.region is None for frame in env.running.frames] == [False]


def test_crop_only_without_a_box_is_not_answered(make):
    env = make(dialogue="crop_only", max_turns=3)
    _, again, end = play(env, "glove", "\\boxed{B}", "\\boxed{B}")
    assert again[0]["images"] == () and not again[4]["fresh"]
    assert end[1:3] == (0.0, True) and env.episode.outcome is Outcome.NO_ANSWER
    assert end[4]["invalid_reason"] == "no_json" and end[4]["answer"] == ""


def test_several_boxes_bring_several_crops(make):
    three = json.dumps(
        [{"bbox_2d": [0, 0, 280, 280]}, {"bbox_2d": [0, 0, 5, 5]}, {"bbox_2d": [280, 0, 560, 420]}]
    )
    env = make(max_boxes=3)
    _, shown, end = play(env, "glove", three, "B")
    assert shown[0]["text"].count("<image>") == 2 == len(shown[0]["images"])
    assert len(shown[4]["boxes"]) == 2 == shown[4]["n_crops"]
    assert shown[4]["box"] == shown[4]["boxes"][0][:4] and shown[4]["invalid_reason"] == ""
    for image, (*region, index) in zip(shown[0]["images"], shown[4]["boxes"], strict=True):
        assert index == 0 and same(image, original(env), region)
    assert env.episode.turns[0].crop_sizes == tuple(i.size for i in shown[0]["images"])
    assert len(env.episode.boxes) == 2 and end[1] == 1.0
    one = play(make(), "glove", three)[1]
    assert len(one[0]["images"]) == 1 and len(one[4]["boxes"]) == 1


def test_boxes_on_two_images(make_root):
    two = row(id="two", images=["photos/a.jpg", "photos/b.jpg"])
    env = HighResVQAEnv("jsonl", root=make_root(two), prompt="brief", max_boxes=2)
    reply = json.dumps(
        [{"bbox_2d": [0, 0, 280, 280], "image_index": i, "label": "x"} for i in (1, 0)]
    )
    _, shown = play(env, "two", reply)
    assert [b[4] for b in shown[4]["boxes"]] == [1, 0]
    for image, (*region, index) in zip(shown[0]["images"], shown[4]["boxes"], strict=True):
        assert same(image, original(env, index), region)


def test_a_margin_is_cut_out_as_well(make):
    env = make(crop_margin=0.25)
    _, shown = play(env, "glove", box(280, 280, 560, 420))
    x1, y1, x2, y2 = shown[4]["box"]
    wide, high = (x2 - x1) / 4, (y2 - y1) / 4
    region = (x1 - wide, y1 - high, x2 + wide, y2 + high)
    assert same(shown[0]["images"][0], original(env), region)
    # At the edge of the image there is nothing more to add.
    _, shown = play(env, "glove", box(0, 0, 280, 280))
    x1, y1, x2, y2 = shown[4]["box"]
    assert same(shown[0]["images"][0], original(env), (0, 0, x2 * 1.25, y2 * 1.25))


def test_points_are_read_when_asked_for(make):
    point = json.dumps([{"point_2d": [574, 420], "label": "here"}])
    assert play(make(), "glove", point)[1][4]["invalid_reason"] != ""
    _, shown = play(make(point_side=0.5), "glove", point)
    # The view is 1148 x 840, so the square has 420 seen pixels: 210 around (574, 420).
    scale = 1200 / 1148, 900 / 840
    expected = ((574 - 210) * scale[0], 210 * scale[1], (574 + 210) * scale[0], 630 * scale[1])
    assert shown[4]["box"] == pytest.approx(expected) and shown[4]["box_raw"] == (574, 420)


@pytest.mark.parametrize(
    ("form", "reply"),
    [
        ("qwen", "<|object_ref_start|>it<|object_ref_end|>"
                 "<|box_start|>(280,280),(560,420)<|box_end|>"),
        ("tag", "<ref>it</ref><box>[280, 280, 560, 420]</box>"),
        ("tool", '<tool_call>\n{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": '
                 '[280, 280, 560, 420], "label": "it"}}\n</tool_call>'),
    ],
)  # fmt: skip
def test_every_form_brings_the_same_crop(make, form, reply):
    expected = play(make(), "glove", box(280, 280, 560, 420))[1]
    shown = play(make(box_form=form), "glove", reply)[1]
    assert shown[4]["box"] == expected[4]["box"]
    assert np.array_equal(shown[0]["images"][0], expected[0]["images"][0])
    assert play(make(), "glove", reply)[1][4]["box"] == ()


def test_questions_to_come_can_be_opened_ahead(make, folder):
    env = make()
    env.prefetch([0, "plate"])
    for question in ("glove", "plate"):
        start = play(env, question)[0]
        assert np.array_equal(start[0]["images"][0], play(make(), question)[0][0]["images"][0])
    with pytest.raises(IndexError):
        env.prefetch([3])
    with pytest.raises(KeyError):
        env.prefetch(["nobody"])
    (folder / "photos" / "b.jpg").unlink()
    other = make_quiet(make, folder)
    with pytest.raises(ValueError, match=r"b\.jpg"):
        other.reset(options={"question_id": "count"})


def make_quiet(make, folder) -> HighResVQAEnv:
    """An environment that was asked to open an image which is gone: that is no error yet."""
    (folder / "photos" / "b.jpg").touch()
    env = make()
    (folder / "photos" / "b.jpg").unlink()
    env.prefetch(["count"])
    return env
