"""Which of Gymnasium's wrappers work on the environment, and that they do what they say.

The tables name every wrapper that Gymnasium has: a new one fails a test until someone looks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces, wrappers
from gymnasium.envs.registration import EnvSpec

from hrvision_env import HighResVQAEnv
from hrvision_env.rendering import CANVAS
from hrvision_env.spaces import UnicodeText
from hrvision_env.wrappers import NumericBox, RewardShaping

from .conftest import TINY

BOX = '[{"bbox_2d": [300, 300, 700, 700]}]'
GOLD = HighResVQAEnv(**TINY).dataset[0].answers[0]
RIGHT, WRONG = (f"\\boxed{{{letter}}}" for letter in (GOLD, "A" if GOLD != "A" else "B"))
"""Answers to question 0."""
Env = gym.Env[Any, Any]


def make(render_mode: str | None = None, **options: Any) -> Env:
    return gym.make("HighResVQA-v0", render_mode=render_mode, **{**TINY, **options})


def begin(env: Env) -> Any:
    """The first observation of question 0."""
    observation, _ = env.reset(options={"index": 0})
    assert observation in env.observation_space
    return observation


def plain() -> Any:
    return begin(make())


# -- Wrappers that work: each with what it should do


def time_limit(env: Env) -> None:
    env = wrappers.TimeLimit(env, 1)
    begin(env)
    observation, reward, terminated, truncated, _ = env.step(BOX)
    assert (reward, terminated, truncated) == (0, False, True)
    assert observation["images"]  # cut off from outside: the episode itself is still open


def autoreset(env: Env) -> None:
    env = wrappers.Autoreset(env)
    begin(env)
    env.step(BOX)
    assert env.step(RIGHT)[1:3] == (1.0, True)
    observation, reward, terminated, _, info = env.step("never read")
    assert observation["images"] and (reward, terminated, info["turn"]) == (0, False, 0)


def order_enforcing(env: Env) -> None:
    env = wrappers.OrderEnforcing(env)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(BOX)
    begin(env)
    env.step(BOX)


def statistics(env: Env) -> None:
    env = wrappers.RecordEpisodeStatistics(env)
    for answer in (RIGHT, WRONG):
        begin(env)
        assert "episode" not in env.step(BOX)[4]
        info = env.step(answer)[4]
        assert (info["episode"]["r"], info["episode"]["l"]) == (float(answer == RIGHT), 2)
    assert list(env.return_queue) == [1.0, 0.0] and list(env.length_queue) == [2, 2]


def passive_checker(env: Env) -> None:
    env = wrappers.PassiveEnvChecker(env)
    begin(env)
    env.step(BOX)


def transform_action(env: Env) -> None:
    env = wrappers.TransformAction(env, lambda text: f"Look:\n{text}", UnicodeText())
    begin(env)
    assert env.step(BOX)[4]["box_valid"]
    assert env.unwrapped.episode.turns[0].reply == f"Look:\n{BOX}"  # type: ignore[attr-defined]


def transform_observation(env: Env) -> None:
    env = wrappers.TransformObservation(env, lambda seen: seen["text"].upper(), UnicodeText())
    assert begin(env) == plain()["text"].upper()


def transform_reward(env: Env) -> None:
    env = wrappers.TransformReward(env, lambda reward: 2 * float(reward) - 1)
    begin(env)
    assert env.step(BOX)[1] == -1.0
    assert env.step(RIGHT)[1] == 1.0


def clip_reward(env: Env) -> None:
    env = wrappers.ClipReward(env, 0, 0.5)
    begin(env)
    env.step(BOX)
    assert env.step(RIGHT)[1] == 0.5


def normalize_reward(env: Env) -> None:
    env = wrappers.NormalizeReward(env)
    begin(env)
    assert env.step(BOX)[1] == 0.0
    assert float(env.step(RIGHT)[1]) > 0


def frame_stack(env: Env) -> None:
    first, crop = begin(env), env.step(BOX)[0]
    for padding in ("reset", "zero"):
        stacked = wrappers.FrameStackObservation(env, 3, padding_type=padding)
        before = first["text"] if padding == "reset" else ""
        assert begin(stacked)["text"] == (before, before, first["text"])
        shown = stacked.step(BOX)[0]
        assert shown in stacked.observation_space
        assert shown["text"] == (before, first["text"], crop["text"])
        assert shown["images"][1:] == (first["images"], crop["images"])


def delay(env: Env) -> None:
    first = begin(env)
    env = wrappers.DelayObservation(env, 1)
    assert begin(env) == {"text": "", "images": ()}
    assert env.step(BOX)[0] == first


def time_aware(env: Env) -> None:
    limited = wrappers.TimeLimit(env, 4)
    env = wrappers.TimeAwareObservation(limited, flatten=False, normalize_time=False)
    assert begin(env)["time"] == [0]
    observation = env.step(BOX)[0]
    assert observation["time"] == [1] and observation["images"]


def filtered(env: Env) -> None:
    env = wrappers.FilterObservation(env, ["images"])
    observation = begin(env)
    assert list(observation) == ["images"]
    assert observation["images"] == plain()["images"]


def with_picture(env: Env) -> None:
    env = wrappers.AddRenderObservation(make("rgb_array"), render_only=False)
    observation = begin(env)
    assert observation["pixels"].shape == CANVAS and observation["text"] == plain()["text"]
    assert env.observation_space["pixels"] == spaces.Box(0, 255, CANVAS, np.uint8)  # type: ignore[index]


def sticky(env: Env) -> None:
    env = wrappers.StickyAction(env, 0.999)
    env.reset(seed=0, options={"index": 0})
    env.step(BOX)
    env.step(RIGHT)  # the box once more, which is no answer
    assert env.unwrapped.episode.turns[1].reply == BOX  # type: ignore[attr-defined]


def repeated(env: Env) -> None:
    env = wrappers.RepeatAction(env, 2)
    begin(env)
    assert env.step(RIGHT)[1:3] == (1.0, True)  # said in both turns


def collected(env: Env) -> None:
    env = wrappers.RenderCollection(make("rgb_array"))
    begin(env)
    env.step(BOX)
    env.step(RIGHT)
    frames: Any = env.render()
    assert isinstance(frames, list) and len(frames) == 3
    assert {frame.shape for frame in frames} == {CANVAS}
    assert not np.array_equal(frames[0], frames[1]) and not np.array_equal(frames[1], frames[2])
    assert env.render() == []


def human(env: Env) -> None:
    pytest.importorskip("pygame")
    env = wrappers.HumanRendering(make("rgb_array"))
    begin(env)
    env.step(BOX)
    env.close()


def white_noise(env: Env) -> None:
    env = wrappers.AddWhiteNoise(make("rgb_array"), 0.5)
    begin(env)
    picture: Any = env.render()
    assert picture.shape == CANVAS


def obstructed(env: Env) -> None:
    env = wrappers.ObstructView(make("rgb_array"), 0.5, 16)
    begin(env)
    picture: Any = env.render()
    assert picture.shape == CANVAS


WORKS: dict[str, Callable[[Env], None]] = {
    "TimeLimit": time_limit,
    "Autoreset": autoreset,
    "OrderEnforcing": order_enforcing,
    "RecordEpisodeStatistics": statistics,
    "PassiveEnvChecker": passive_checker,
    "TransformAction": transform_action,
    "TransformObservation": transform_observation,
    "TransformReward": transform_reward,
    "ClipReward": clip_reward,
    "NormalizeReward": normalize_reward,
    "FrameStackObservation": frame_stack,
    "DelayObservation": delay,
    "TimeAwareObservation": time_aware,
    "FilterObservation": filtered,
    "AddRenderObservation": with_picture,
    "StickyAction": sticky,
    "RepeatAction": repeated,
    "RenderCollection": collected,
    "HumanRendering": human,
    "AddWhiteNoise": white_noise,
    "ObstructView": obstructed,
}
ELSEWHERE = ("RecordVideo", "ClipAction", "RescaleAction", "DiscretizeAction")
"""Have tests of their own below."""
NEEDS_ARRAYS: dict[str, tuple[Any, ...]] = {
    "DtypeObservation": (np.float32,),
    "DiscretizeObservation": (4,),
    "FlattenObservation": (),
    "GrayscaleObservation": (),
    "MaxAndSkipObservation": (),
    "NormalizeObservation": (),
    "ResizeObservation": ((32, 32),),
    "ReshapeObservation": ((32, 32),),
    "RescaleObservation": (0, 1),
}
"""Want arrays of a fixed shape, which a question is not; each with arguments to try."""
OTHER_LIBRARIES = (
    "AtariPreprocessing",
    "ArrayConversion",
    "JaxToNumpy",
    "JaxToTorch",
    "NumpyToTorch",
)
"""For Atari games, and for environments that compute in JAX or PyTorch."""


@pytest.mark.parametrize("name", WORKS)
def test_wrappers_that_work(name, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    WORKS[name](make())


@pytest.mark.parametrize("name", NEEDS_ARRAYS)
def test_wrappers_for_arrays_say_so_at_once(name):
    with pytest.raises((TypeError, ValueError, NotImplementedError)):
        getattr(wrappers, name)(make(), *NEEDS_ARRAYS[name])


def test_every_wrapper_is_in_a_table():
    named = {*WORKS, *ELSEWHERE, *NEEDS_ARRAYS, *OTHER_LIBRARIES}
    assert named == set(wrappers.__all__) - {"vector"}


def test_wrappers_of_numbers_work_on_numeric_boxes():
    def pointing() -> Env:
        return NumericBox(make(), answer=f"{__name__}:answer")

    centred = wrappers.RescaleAction(pointing(), np.float32(-1), np.float32(1))
    begin(centred)
    info = centred.step(np.array([-0.5, -0.5, 0.5, 0.5], np.float32))[4]
    assert info["box"] == pytest.approx((256, 256, 768, 768), abs=1.1)
    clipped = wrappers.ClipAction(pointing())
    begin(clipped)
    info = clipped.step(np.array([-3, 0.5, 0.5, 7], np.float32))[4]
    assert info["box"] == (0, 512, 512, 1024)
    discrete = wrappers.DiscretizeAction(pointing(), 4)
    assert discrete.action_space == spaces.Discrete(4**4)
    begin(discrete)
    assert discrete.step(4**3 - 1)[1:3] == (1.0, True)


def answer(observation: dict[str, Any], info: dict[str, Any]) -> str:
    return RIGHT


def test_videos_are_recorded_on_the_fixed_canvas(tmp_path):
    pytest.importorskip("moviepy")
    reader = pytest.importorskip("imageio_ffmpeg")
    env = wrappers.RecordVideo(make("rgb_array"), str(tmp_path / "videos"), lambda n: n == 1)
    for _ in range(2):
        begin(env)
        env.step(BOX)
        env.step(RIGHT)
    env.close()
    (video,) = tmp_path.glob("videos/*.mp4")
    frames = reader.read_frames(str(video))
    assert next(frames)["size"] == (CANVAS[1], CANVAS[0])
    assert len(list(frames)) == 3
    frames.close()


def test_a_stack_of_wrappers_is_part_of_the_spec():
    env: Env = wrappers.TimeLimit(make(), 3)
    env = RewardShaping(wrappers.RecordEpisodeStatistics(env), iou=0.5)
    env = wrappers.FrameStackObservation(wrappers.FilterObservation(env, ["text"]), 2)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert str(again) == str(env)
    assert begin(again) == begin(env)
    assert again.step(BOX)[:4] == env.step(BOX)[:4]
