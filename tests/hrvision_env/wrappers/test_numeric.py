"""Boxes as numbers: the same boxes as in text, and a real continuous-control agent."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from hrvision_env.actions.forms import FORMS
from hrvision_env.images import DIALECTS
from hrvision_env.plugins import available
from hrvision_env.wrappers import NumericBox, RewardShaping
from hrvision_env.wrappers.numeric import core

DIALOGUES = available("hrvision_env.dialogues")
LOWER_RIGHT = np.array([0.5, 0.5, 1.0, 1.0], dtype=np.float32)


def always_b(observation: dict[str, Any], info: dict[str, Any]) -> str:
    """Answers, as a frozen model would."""
    return f"I see {len(observation['images'])} image(s): \\boxed{{B}}"


def acting(choice: int = 0, box: Any = LOWER_RIGHT) -> dict[str, Any]:
    return {"answer": choice, "box": box}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("form", FORMS)
def test_shares_become_the_box_of_that_region(make, dialect, form):
    env = NumericBox(make(box_dialect=dialect, box_form=form))
    env.reset(options={"question_id": "glove"})  # 1200 x 900
    _, _, _, _, info = env.step(acting(box=np.array([0.25, 0.2, 0.75, 0.6], np.float32)))
    # Whole pixels of a view of 1148 x 840, or thousandths: less than one original pixel off.
    assert info["box"] == pytest.approx((300, 180, 900, 540), abs=1.2)


@pytest.mark.parametrize(
    "corners", [(0.5, 0.5, 1, 1), (1, 1, 0.5, 0.5), (0.5, 1, 1, 0.5), (0.5, 0.5, 1.5, 9)]
)
def test_corners_come_in_any_order_and_are_clipped(make, corners):
    env = NumericBox(make())
    env.reset(options={"question_id": "glove"})
    _, _, _, _, info = env.step(acting(box=np.array(corners)))
    assert info["box"] == (600, 450, 1200, 900)


def test_a_box_too_small_is_the_environments_affair(make):
    tiny = np.array([0.5, 0.5, 0.501, 0.501], np.float32)
    for rule, valid in (("refuse", False), ("grow", True)):
        env = NumericBox(make(box_small=rule))
        env.reset(options={"question_id": "glove"})
        assert env.step(acting(box=tiny))[4]["box_valid"] is valid


def test_nested_zoom_with_the_last_image(make):
    env = NumericBox(make(dialogue="free", max_turns=4, box_frame="last_image"))
    env.reset(options={"question_id": "glove"})
    for region in ((600, 450, 1200, 900), (900, 675, 1200, 900), (1050, 787.5, 1200, 900)):
        _, _, terminated, _, info = env.step(acting())
        assert info["box"] == pytest.approx(region, abs=1)
        assert not terminated
    assert env.step(acting(1))[1:3] == (1.0, True)


# -- An agent that answers by itself


@pytest.mark.parametrize("dialogue", DIALOGUES)
@pytest.mark.parametrize("max_turns", [1, 2, 3])
def test_it_answers_in_the_last_turn(make, dialogue, max_turns):
    inner = make(dialogue=dialogue, max_turns=max_turns)
    env = NumericBox(inner)
    assert env.action_space == spaces.Dict(
        answer=spaces.Discrete(6), box=spaces.Box(0, 1, (4,), np.float32)
    )
    for choice, reward in ((1, 1.0), (0, 0.0), (5, 0.0)):  # the answer is B; there is no F
        env.reset(options={"question_id": "glove"})
        rewards, terminated = [], False
        while not terminated:
            _, earned, terminated, _, info = env.step(acting(choice))
            rewards.append(earned)
        assert rewards[-1] == reward and sum(rewards) == reward
        assert info["answer"] == {1: "B", 0: "A", 5: ""}[choice]
        assert len(rewards) == len(inner.episode.turns)


def test_a_question_without_options_needs_a_function(make):
    env = NumericBox(make())
    env.reset(options={"question_id": "count"})
    env.step(acting())
    with pytest.raises(ValueError, match="question 'count': has no options to choose from"):
        env.step(acting())


# -- An agent that points only


@pytest.mark.parametrize(
    ("dialogue", "steps", "turns"),
    [("mgpo", 1, 2), ("crop_only", 1, 2), ("single_turn", 1, 1), ("free", 3, 4)],
)
def test_a_function_answers_in_the_same_step(make, dialogue, steps, turns):
    inner = make(dialogue=dialogue)
    env = NumericBox(inner, answer=always_b)
    assert env.action_space == spaces.Box(0, 1, (4,), np.float32)
    env.reset(options={"question_id": "glove"})
    for number in range(steps):
        observation, reward, terminated, truncated, info = env.step(LOWER_RIGHT)
        assert terminated == (number == steps - 1)
        assert info["box"] == (600, 450, 1200, 900)
    assert reward == 1 and info["answer"] == "B" and not truncated
    assert observation == {"text": "", "images": ()}
    assert len(inner.episode.turns) == turns
    assert inner.episode.turns[-1].reply.endswith("I see 1 image(s): \\boxed{B}")


def test_an_import_path_keeps_the_spec_writable(folder):
    inner = gym.make("HighResVQA-v0", dataset="jsonl", root=str(folder), prompt="brief")
    env = NumericBox(inner, answer=f"{__name__}:always_b")
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    for one in (env, again):
        one.reset(options={"question_id": "glove"})
    first, second = env.step(LOWER_RIGHT), again.step(LOWER_RIGHT)
    assert first == second and first[1] == 1
    with pytest.raises(ValueError, match="answer: got 'always_b', expected a function or its"):
        NumericBox(inner, answer="always_b")


# -- As a Gymnasium wrapper


@pytest.mark.parametrize("dialogue", DIALOGUES)
@pytest.mark.parametrize("answer", [None, always_b])
def test_the_checker_is_content(folder, dialogue, answer):
    env = gym.make("HighResVQA-v0", prompt="brief", dialogue=dialogue, max_pixels=200_704)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        check_env(NumericBox(env.unwrapped, answer=answer), skip_render_check=True)


def test_a_pickle_in_mid_episode_goes_on_alike(make):
    env = NumericBox(make(), answer=None)
    env.reset(options={"question_id": "glove"})
    env.step(acting())
    twin = pickle.loads(pickle.dumps(env))
    assert twin.step(acting(1)) == env.step(acting(1))


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (LOWER_RIGHT, "expected a dict of 'answer' and 'box'"),
        ({"box": LOWER_RIGHT}, "expected a dict of 'answer' and 'box'"),
        (acting(box=np.zeros(3)), "box: got .* expected four finite numbers"),
        (acting(box=np.array([0, 0, 1, np.nan])), "expected four finite numbers"),
    ],
)
def test_actions_that_are_none(make, action, words):
    env = NumericBox(make())
    env.reset(seed=0)
    with pytest.raises(ValueError, match=words):
        env.step(action)


def test_another_environment_is_refused():
    env = gym.make("CartPole-v1")
    with pytest.raises(TypeError, match="got CartPoleEnv, expected a wrapped HighResVQAEnv"):
        core(env)


def thumbnail(observation: dict[str, Any]) -> np.ndarray:
    """[16, 16, 3] uint8 of the newest image; black after the end."""
    images = observation["images"]
    return np.asarray(images[-1].resize((16, 16))) if images else np.zeros((16, 16, 3), np.uint8)


def for_a_library(env: gym.Env[Any, Any]) -> gym.Wrapper[Any, Any, Any, Any]:
    """Arrays in, arrays out, as implementations of PPO or SAC want them."""
    pixels = spaces.Box(0, 255, (16, 16, 3), np.uint8)
    pointing = NumericBox(env, answer=f"{__name__}:always_b")
    return gym.wrappers.TransformObservation(pointing, thumbnail, pixels)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_batch_of_arrays_for_libraries(folder, mode):
    envs = gym.make_vec(
        "HighResVQA-v0",
        num_envs=3,
        vectorization_mode=mode,
        vector_kwargs={"context": "spawn"} if mode == "async" else {},
        wrappers=[for_a_library],
        dataset="jsonl",
        root=str(folder),
        prompt="brief",
    )
    try:
        assert envs.action_space == spaces.Box(0, 1, (3, 4), np.float32)
        observations, _ = envs.reset(seed=0)
        assert observations.shape == (3, 16, 16, 3) and observations.dtype == np.uint8
        assert observations.any()
        for _ in range(2):
            observations, rewards, ended, _, _ = envs.step(envs.action_space.sample())
            assert observations in envs.observation_space and rewards.shape == (3,)
            assert not ended.all() or not observations.any()
    finally:
        envs.close()


def test_a_continuous_agent_learns_where_to_look():
    """The cross-entropy method on four numbers finds the object by the IoU of its boxes."""
    tiny: dict[str, Any] = {"prompt": "brief", "factor": 16, "min_pixels": 9216, "max_pixels": 9216}
    inner = gym.make("HighResVQA-v0", **tiny, min_box=2)
    env = RewardShaping(NumericBox(inner, answer=always_b), iou=1.0)
    rng = np.random.default_rng(0)
    mean, spread = np.array([0.25, 0.25, 0.75, 0.75]), np.full(4, 0.3)
    best_of: list[float] = []
    for _ in range(15):
        boxes = np.clip(rng.normal(mean, spread, (32, 4)), 0, 1).astype(np.float32)
        earned = []
        for box in boxes:
            env.reset(options={"index": 0})
            _, _, terminated, _, info = env.step(box)
            assert terminated
            earned.append(info["reward/iou"])
        best = boxes[np.argsort(earned)[-6:]]
        mean, spread = best.mean(axis=0), best.std(axis=0) + 0.02
        best_of.append(max(earned))
    assert best_of[0] < 0.15 and best_of[-1] > 0.5
