"""Pictures, texts and windows of episodes. Places are compared as shares of the drawn view."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hrvision_env import HighResVQAEnv, HighResVQAVectorEnv, ImageRef, Sample, rendering
from hrvision_env.datasets import Samples
from hrvision_env.rendering import canvas

HOSTILE = (
    "\x1b[2J\x1b]0;title\x07 \u202ered\u2066 \x00\x7f\x9b31m \u2028 \ud800 答案 שלום 🙂 ﷽ \ue000"
)
SHOWN = (560, 560)


def blocks(*colours: tuple[int, int, int], side: int = 1120) -> Image.Image:
    """Stripes of equal width from left to right."""
    image = Image.new("RGB", (side, side))
    width = side // len(colours)
    for n, colour in enumerate(colours):
        image.paste(colour, (n * width, 0, (n + 1) * width, side))
    return image


WHITE, RED, GREEN = (255, 255, 255), (250, 0, 0), (0, 250, 0)


def load_plain(split: str) -> Samples:
    """One question per kind of image: `white`, `halves` and `pair`.

    Two splits have one more: `broken`, whose image cannot be opened, and `hostile`.
    """
    images = {"white": [blocks(WHITE)], "halves": [blocks(RED, GREEN)]}
    images["pair"] = [blocks(WHITE), blocks(WHITE)]
    refs = {
        name: tuple(ImageRef(image=image, key=f"{name}{n}") for n, image in enumerate(some))
        for name, some in images.items()
    }
    if split == "broken":
        refs["broken"] = (ImageRef(data=b"no image", key="broken"),)
    samples = [Sample(name, "What is it?", some, ("nothing",)) for name, some in refs.items()]
    if split == "hostile":
        options = {"A": HOSTILE}
        samples.append(Sample(f"q{HOSTILE}", HOSTILE, refs["white"], ("A",), "choice", options))
    return Samples(samples, "plain")


def split_of(question: int | str) -> str:
    """The split that has a question."""
    return {"broken": "broken", f"q{HOSTILE}": "hostile"}.get(str(question), "test")


def make(**options: Any) -> HighResVQAEnv:
    options = {"min_pixels": 560 * 560, "max_pixels": 560 * 560, "prompt": "brief", **options}
    env = gym.make("HighResVQA-v0", dataset=f"{__name__}:load_plain", **options).unwrapped
    assert isinstance(env, HighResVQAEnv)
    return env


def begin(question: str, *replies: str, **options: Any) -> HighResVQAEnv:
    env = make(split=split_of(question), **options)
    env.reset(options={"question_id": question})
    for reply in replies:
        env.step(reply)
    return env


def picture(env: HighResVQAEnv) -> np.ndarray:
    return rendering.draw(env.running, env.referee.rules)


def box(*numbers: int, **more: Any) -> str:
    item = ", ".join([f'"bbox_2d": {list(numbers)}', *(f'"{k}": {v}' for k, v in more.items())])
    return f"[{{{item}}}]"


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the True pixels, right and bottom included."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def where(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.asarray((pixels == np.array(colour, dtype=np.uint8)).all(axis=-1))


def views(pixels: np.ndarray) -> np.ndarray:
    """The part of a picture where the views are."""
    right = canvas.WIDTH - canvas.PANEL - 2 * canvas.GAP
    return pixels[canvas.HEADER : canvas.HEIGHT - canvas.STRIP - 2 * canvas.GAP, :right]


def strip(pixels: np.ndarray) -> np.ndarray:
    """The part of a picture where the crops are."""
    right = canvas.WIDTH - canvas.PANEL - 2 * canvas.GAP
    return pixels[canvas.HEIGHT - canvas.STRIP - canvas.GAP :, :right]


def shares(pixels: np.ndarray, colour: tuple[int, int, int]) -> list[float]:
    """Where a box of this colour lies on a white view, as shares of the view."""
    area = views(pixels)
    left, top, right, bottom = extent(where(area, WHITE))
    x1, y1, x2, y2 = extent(where(area, colour))
    wide, high = right - left, bottom - top
    return [(x1 - left) / wide, (y1 - top) / high, (x2 - left) / wide, (y2 - top) / high]


def test_before_the_first_reset_the_canvas_is_empty():
    pixels = rendering.draw(None)
    assert pixels.shape == rendering.CANVAS == (720, 1280, 3) and pixels.dtype == np.uint8
    assert (pixels == pixels[0, 0]).all()
    assert rendering.text(None) == "There is no episode yet.\n"


def test_a_valid_box_lies_where_it_was_asked_for():
    pixels = picture(begin("white", box(140, 56, 420, 280)))
    assert shares(pixels, canvas.OWN) == pytest.approx([0.25, 0.1, 0.75, 0.5], abs=0.006)
    assert not where(views(pixels), canvas.REFUSED).any()


def test_a_nested_box_lies_at_its_place_on_the_original():
    env = begin(
        "white",
        box(140, 140, 420, 420),  # the middle, from 280 to 840 px of 1120
        box(140, 140, 420, 420),  # the middle of that, from 420 to 700 px
        dialogue="free",
        box_frame="last_image",
    )
    assert env.running.turns[1].boxes[0].x1 == 420
    expected = [0.375, 0.375, 0.625, 0.625]
    assert shares(picture(env), canvas.OWN) == pytest.approx(expected, abs=0.006)


def test_a_refused_box_is_dashed_at_the_numbers_it_names():
    pixels = picture(begin("white", box(420, 280, 140, 56)))
    assert shares(pixels, canvas.REFUSED) == pytest.approx([0.25, 0.1, 0.75, 0.5], abs=0.006)
    area = where(views(pixels), canvas.REFUSED)
    left, top, right, _ = extent(area)
    edge = area[top + 1, left : right + 1]
    assert 0.4 < edge.mean() < 0.9
    assert not where(views(pixels), canvas.OWN).any()


def test_a_refused_box_on_a_crop_lies_at_its_place_on_the_original():
    env = begin(
        "white",
        box(280, 280, 560, 560),  # the lower right quarter, from 560 to 1120 px
        box(420, 0, 280, 280),  # inverted, from 840 to 980 px on it
        dialogue="free",
        box_frame="last_image",
    )
    expected = [0.75, 0.5, 0.875, 0.75]
    assert shares(picture(env), canvas.REFUSED) == pytest.approx(expected, abs=0.006)


def test_a_refused_box_needs_the_rules_and_an_image():
    env = begin("white", box(420, 280, 140, 56))
    assert not where(views(rendering.draw(env.running)), canvas.REFUSED).any()
    env = begin("white", box(420, 280, 140, 56, image_index=7))
    assert not where(views(picture(env)), canvas.REFUSED).any()
    env = begin("white", "no numbers")
    assert not where(views(picture(env)), canvas.REFUSED).any()


def test_the_boxes_stay_after_an_answer():
    env = begin("white", box(140, 56, 420, 280), r"\boxed{x}", dialogue="free")
    assert not env.running.open
    assert shares(picture(env), canvas.OWN)[0] == pytest.approx(0.25, abs=0.006)


def test_a_box_is_drawn_on_its_own_image():
    env = begin("pair", box(140, 140, 420, 420, image_index=1))
    area = views(picture(env))
    left, _, right, _ = extent(where(area, WHITE))
    x1, _, x2, _ = extent(where(area, canvas.OWN))
    middle = (left + right) / 2
    assert x1 > middle and (x1 + x2) / 2 == pytest.approx((middle + right) / 2, abs=4)


def test_several_boxes_are_numbered():
    many = '[{"bbox_2d": [0, 0, 200, 200]}, {"bbox_2d": [300, 300, 500, 500]}]'
    one, two = begin("white", many), begin("white", many, max_boxes=2)
    counts = [where(views(picture(env)), canvas.OWN).sum() for env in (one, two)]
    assert counts[1] > 2.2 * counts[0]  # two outlines, and their labels


def test_the_strip_shows_the_crops_and_marks_the_newest():
    env = begin("halves", dialogue="free")
    assert not where(strip(picture(env)), canvas.ACCENT).any()
    env.step(box(0, 0, 200, 200))
    env.step(box(300, 300, 500, 500))
    area = strip(picture(env))
    red, green = extent(where(area, RED)), extent(where(area, GREEN))
    assert red[2] < green[0]
    marked = extent(where(area[: green[3] + 4], canvas.ACCENT))
    assert marked[0] > red[2] and marked[0] <= green[0] and marked[2] >= green[2]


def test_the_newest_crops_are_kept_when_there_is_no_room_for_all():
    env = begin("halves", dialogue="free", max_turns=9)
    for _ in range(7):
        env.step(box(0, 0, 200, 200))
    env.step(box(300, 300, 500, 500))
    area = strip(picture(env))
    assert where(area, GREEN).any()
    assert extent(where(area, GREEN))[2] < area.shape[1]


@pytest.mark.parametrize("reply", ["", HOSTILE, "x" * 1_000_000, "\n" * 5_000, "word " * 9_999])
def test_no_reply_breaks_the_picture_or_the_text(reply):
    env = begin(f"q{HOSTILE}", reply, reply)
    assert picture(env).shape == rendering.CANVAS
    assert len(rendering.text(env.running)) < 50_000


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=80))
def test_any_unicode_can_be_drawn_and_printed(text):
    env = begin("white", text)
    assert picture(env).shape == rendering.CANVAS
    rendering.text(env.running).encode()


def test_an_episode_that_failed_can_be_looked_at():
    options = {"split": "broken", "render_mode": "rgb_array"}
    envs = HighResVQAVectorEnv(1, 1, dataset=f"{__name__}:load_plain", **options)
    envs.reset(options={"question_id": ["broken"]})
    (pixels,) = envs.render() or ()
    running = envs.envs[0].running
    assert pixels.shape == rendering.CANVAS and where(pixels, canvas.BAD).any()
    assert "failed, reward 0: ImageError" in rendering.text(running)
