"""Generated replies against the rules that hold for all of them, and through the environment."""

from __future__ import annotations

import os
import random
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hrvision_env import HighResVQAEnv
from hrvision_env.actions import InvalidReason
from hrvision_env.actions.rules import BoxRules
from hrvision_env.images import Frame
from hrvision_env.records import Box

from .fuzzing import Replies, fuzz, obeys

MANY = int(os.environ.get("FUZZ_ACTIONS", 1_000_000))
DIALOGUES = [name for name in ("mgpo", "free") if find_spec(f"hrvision_env.dialogues.{name}")]
BUDGET = {"factor": 28, "min_pixels": 4 * 28 * 28, "max_pixels": 24 * 28 * 28}


def test_replies_follow_the_seed():
    def draw(seed: int) -> list[str]:
        replies = Replies(seed)
        return [replies() for _ in range(200)]

    assert draw(3) == draw(3) != draw(4)


def test_generated_replies():
    seen = fuzz(20_000, seed=1)
    assert seen["valid"] > 1_500
    # Every reason is met, but NO_ANSWER, which is for answers, and those of a single place.
    missing = {reason.value for reason in InvalidReason} - set(seen)
    assert missing <= {InvalidReason.NO_ANSWER, InvalidReason.TOO_LONG}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_generated_replies():
    """3 to 5 minutes on one core; FUZZ_ACTIONS sets another number of replies."""
    seen = fuzz(MANY, seed=2)
    print(seen.most_common())
    assert sum(seen.values()) == MANY


FRAME = Frame((1000, 1000), (500, 500))
NESTED = Frame((1000, 1000), (500, 500), region=(100.0, 100.0, 200.0, 200.0), image_index=1)


@pytest.mark.parametrize(
    ("box", "frame", "fine"),
    [
        (Box(0, 0, 1000, 1000), FRAME, True),
        (Box(0, 0, 1000, 1001), FRAME, False),
        (Box(-1, 0, 1000, 1000), FRAME, False),
        (Box(0, 0, 57, 57), FRAME, True),
        (Box(0, 0, 55, 57), FRAME, False),  # 27.5 seen pixels
        (Box(50, 50, 50, 150), FRAME, False),
        (Box(0, 0, 1000, 1000, image_index=1), FRAME, False),
        (Box(100, 100, 110, 200, image_index=1), NESTED, True),
        (Box(99, 100, 110, 200, image_index=1), NESTED, False),
    ],
)
def test_the_check_itself_finds_wrong_boxes(box, frame, fine):
    assert obeys(box, BoxRules(max_aspect=11), frame) == fine
    assert not obeys(box, BoxRules(min_side=501), frame)


def test_a_wrong_reading_fails_and_names_the_reply(monkeypatch):
    monkeypatch.setattr(BoxRules, "_fit", lambda self, corners, frame: corners)
    with pytest.raises(AssertionError, match=r"seed 1, reply \d+, BoxRules"):
        fuzz(20_000, seed=1)


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_generated_replies_in_the_environment(make, dialogue):
    play_generated(make, dialogue, count=1_000, seed=5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_many_generated_replies_in_the_environment(make, dialogue):
    play_generated(make, dialogue, count=20_000, seed=6)


def play_generated(make, dialogue: str, count: int, seed: int) -> None:
    """Steps with generated replies under changing rules. What comes back is always legal."""
    draw = random.Random(seed)
    replies = Replies(seed)
    crops = taken = 0
    while taken < count:
        options = random_options(draw)
        env: HighResVQAEnv = make(dialogue=dialogue, max_turns=40, **options, **BUDGET)
        observation, info = env.reset(seed=draw.randrange(1_000))
        done = False
        while not done:
            observation, reward, done, truncated, info = env.step(
                replies(options["box_dialect"], options["box_form"])
            )
            taken += 1
            assert reward in (0, 1) and not truncated
            assert info["outcome"] != "error", env.episode.error
            check_images(observation["images"])
            check_info(info)
        crops += info["n_crops"]
    assert crops > count // 50


def random_options(draw: random.Random) -> dict[str, Any]:
    return {
        "box_parser": draw.choice(("strict", "lenient")),
        "box_dialect": draw.choice(("absolute", "relative_1000", "relative_1")),
        "box_form": draw.choice(("json", "qwen", "tag", "tool")),
        "box_frame": draw.choice(("original", "last_image")),
        "max_boxes": draw.choice((1, 3)),
        "box_outside": draw.choice((None, "refuse", "clamp")),
        "box_small": draw.choice(("refuse", "grow")),
        "point_side": draw.choice((None, 0.3)),
    }


def check_images(images: tuple[Image.Image, ...]) -> None:
    for image in images:
        wide, high = image.size
        assert image.mode == "RGB" and wide % 28 == 0 and high % 28 == 0
        assert 0 < wide * high <= BUDGET["max_pixels"]


def check_info(info: dict[str, Any]) -> None:
    reason = info["invalid_reason"]
    assert not reason or InvalidReason(reason)
    assert not (reason and info["box_valid"])
    box = np.array(info["box"])
    assert bool(len(box)) == info["box_valid"] and np.isfinite(box).all()
    if len(box):
        assert box[0] >= 0 and box[1] >= 0 and box[0] < box[2] and box[1] < box[3]
