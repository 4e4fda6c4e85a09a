"""Zooming as a discrete choice."""

from __future__ import annotations

import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from hrvision_env.actions.forms import FORMS
from hrvision_env.plugins import available
from hrvision_env.wrappers import ZoomGrid

LOOK, ANSWER_A, ANSWER_B = 3, 4, 5
"""On a 2 x 2 grid: the lower right cell, and the first two answers."""


def test_cells_tile_the_image_row_by_row(make):
    env = ZoomGrid(make(), n=3)
    cells = [env.cell(k) for k in range(9)]
    assert cells[0] == (0, 0, 1 / 3, 1 / 3)
    assert cells[5] == (2 / 3, 1 / 3, 1, 2 / 3)
    assert sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in cells) == pytest.approx(1)
    assert len({cell[:2] for cell in cells}) == 9


def test_overlap_widens_the_inner_edges(make):
    env = ZoomGrid(make(), n=2, overlap=0.25)
    assert env.cell(0) == (0, 0, 0.625, 0.625)
    assert env.cell(3) == (0.375, 0.375, 1, 1)


@pytest.mark.parametrize("form", FORMS)
def test_every_zoom_goes_deeper_into_the_last_image(make, form):
    options = {"dialogue": "free", "max_turns": 4, "box_frame": "last_image", "box_form": form}
    env = ZoomGrid(make(**options), n=2)
    assert env.action_space == spaces.Discrete(2 * 2 + 6)
    env.reset(options={"question_id": "glove"})  # 1200 x 900
    for depth in (1, 2, 3):
        observation, reward, terminated, _, info = env.step(LOOK)
        assert info["box"] == pytest.approx(
            (1200 - 1200 / 2**depth, 900 - 900 / 2**depth, 1200, 900)
        )
        assert len(observation["images"]) == 1 and not terminated and reward == 0
    assert env.step(ANSWER_B)[1:3] == (1.0, True)


def test_without_nesting_every_zoom_starts_from_the_whole_image(make):
    env = ZoomGrid(make(dialogue="free", max_turns=4), n=2)
    env.reset(options={"question_id": "glove"})
    for _ in range(2):
        assert env.step(LOOK)[4]["box"] == (600, 450, 1200, 900)


def test_an_answer_ends_a_free_dialogue_at_once(make):
    env = ZoomGrid(make(dialogue="free"), n=2)
    for action, reward in ((ANSWER_B, 1.0), (ANSWER_A, 0.0), (9, 0.0)):
        env.reset(options={"question_id": "glove"})
        _, earned, terminated, _, info = env.step(np.int64(action))
        assert (earned, terminated) == (reward, True)
        assert info["n_crops"] == 0


def test_forced_turns_take_what_they_asked_for(make):
    env = ZoomGrid(make(dialogue="mgpo"), n=2)
    env.reset(options={"question_id": "glove"})
    _, _, terminated, _, info = env.step(ANSWER_B)  # too early: no box, no penalty
    assert not terminated and not info["box_valid"]
    assert env.step(ANSWER_B)[1:3] == (1.0, True)
    env.reset(options={"question_id": "glove"})
    assert env.step(LOOK)[4]["box"] == (600, 450, 1200, 900)
    _, reward, terminated, _, info = env.step(LOOK)  # too late: a box is no answer
    assert (reward, terminated, info["correct"]) == (0.0, True, False)


def test_a_question_without_options_cannot_be_answered(make):
    env = ZoomGrid(make(), n=2)
    env.reset(options={"question_id": "count"})
    with pytest.raises(ValueError, match="question 'count': has no options"):
        env.step(ANSWER_A)


@pytest.mark.parametrize("dialogue", available("hrvision_env.dialogues"))
def test_the_checker_is_content(make, dialogue):
    inner = gym.make("HighResVQA-v0", prompt="brief", dialogue=dialogue, max_pixels=200_704)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        check_env(ZoomGrid(inner.unwrapped), skip_render_check=True)


def test_the_wrapper_is_part_of_the_spec_and_of_pickles(folder):
    inner = gym.make("HighResVQA-v0", dataset="jsonl", root=str(folder), dialogue="free")
    env = ZoomGrid(inner, n=2, n_answers=4, overlap=0.1)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    for one in (env, again):
        one.reset(options={"question_id": "glove"})
    assert again.action_space == spaces.Discrete(8)
    assert env.step(LOOK) == again.step(LOOK)
    twin = pickle.loads(pickle.dumps(env))
    assert twin.step(LOOK) == env.step(LOOK)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"n": 1}, "n: got 1, expected a whole number of at least 2"),
        ({"n_answers": 0}, "n_answers: got 0"),
        ({"overlap": -0.1}, "overlap: got -0.1, expected a share from 0 to 1"),
        ({"overlap": float("nan")}, "overlap: got nan"),
    ],
)
def test_wrong_arguments(make, kwargs, words):
    with pytest.raises(ValueError, match=words):
        ZoomGrid(make(), **kwargs)


@pytest.mark.parametrize("action", [-1, 15, 1.5, None, "3"])
def test_actions_that_are_none(make, action):
    env = ZoomGrid(make(), n=3)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action: got .* expected a member of Discrete"):
        env.step(action)
