"""The dialogue in `docs/dialogues.md`, taken out of the page and used by import path."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from hrvision_env import HighResVQAEnv

from ..conftest import BOX, play

PAGE = Path(__file__).parents[3] / "docs" / "dialogues.md"


@pytest.fixture
def outside(folder, tmp_path, monkeypatch) -> HighResVQAEnv:
    code = re.findall(r"```python\n(# check_dialogue\.py\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(code) == 1
    (tmp_path / "check_dialogue.py").write_text(code[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    path = "check_dialogue:Dialogue"
    env = gym.make("HighResVQA-v0", dataset="jsonl", root=str(folder), dialogue=path).unwrapped
    assert isinstance(env, HighResVQAEnv)
    return env


def test_a_dialogue_from_outside_the_tree_plays(outside):
    start, shown, end = play(outside, "glove", "A? " + BOX, "\\boxed{B}")
    assert "B. cotton" in start[0]["text"] and start[4]["system"].startswith("Give boxes in pixels")
    assert start[4]["stop"] == ("]\n```",)
    assert shown[0]["text"].startswith("<image>\nThis is that area") and shown[4]["n_crops"] == 1
    assert end[1:4] == (1.0, True, False) and outside.episode.dialogue == "check_dialogue:Dialogue"


def test_without_a_box_it_shows_nothing(outside):
    _, shown, end = play(outside, "glove", "A?", "\\boxed{B}")
    assert shown[0]["images"] == () and shown[0]["text"].startswith("Check your answer")
    assert end[1] == 1.0


def test_the_checker_accepts_it(outside):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(outside)
