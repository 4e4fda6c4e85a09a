"""`RecordTrace`: the episodes of one environment, in a folder."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.wrappers import TimeLimit

from hrvision_env import Outcome
from hrvision_env.trace import Trace
from hrvision_env.wrappers import ChatHistory, RecordTrace

from .test_rendering import box, make

BOX = box(140, 56, 420, 280)


def questions(folder: Path) -> list[str]:
    return [record.episode.question_id for record in Trace(folder)]


def play(env: gym.Env[Any, Any], *names: str) -> None:
    for name in names:
        env.reset(options={"question_id": name})
        env.step(BOX)
        env.step(r"\boxed{nothing}")


def test_every_episode_is_recorded_when_it_ends(tmp_path):
    env = RecordTrace(make(), str(tmp_path))
    env.reset(options={"question_id": "white"})
    env.step(BOX)
    assert not (tmp_path / "episodes.jsonl").exists()
    env.step(r"\boxed{nothing}")
    (record,) = Trace(tmp_path)
    assert record.episode.outcome is Outcome.CORRECT and len(record.pictures) == 2
    play(env, "halves", "pair")
    env.close()
    assert questions(tmp_path) == ["white", "halves", "pair"]


def test_every_third_episode(tmp_path):
    env = RecordTrace(make(), str(tmp_path), every=3)
    play(env, "white", "halves", "pair", "halves", "white", "pair", "pair")
    assert questions(tmp_path) == ["white", "halves", "pair"]


def test_unfinished_episodes_are_recorded_as_they_stand(tmp_path):
    env = RecordTrace(make(), str(tmp_path))
    env.reset(options={"question_id": "white"})
    env.reset(options={"question_id": "halves"})  # without a reply there is nothing to record
    env.step(BOX)
    env.reset(options={"question_id": "pair"})
    env.step(BOX)
    env.close()
    env.close()
    assert questions(tmp_path) == ["halves", "pair"]
    assert {record.episode.outcome for record in Trace(tmp_path)} == {Outcome.OPEN}


def test_a_limit_from_outside_ends_the_episode(tmp_path):
    env = RecordTrace(TimeLimit(make(), 1), str(tmp_path))
    env.reset(options={"question_id": "white"})
    *_, terminated, truncated, _ = env.step(BOX)
    assert (terminated, truncated) == (False, True)
    assert questions(tmp_path) == ["white"]


def test_a_folder_is_added_to(tmp_path):
    for name in ("white", "halves"):
        play(RecordTrace(make(), str(tmp_path)), name)
    assert questions(tmp_path) == ["white", "halves"]


def test_refused_boxes_are_placed(tmp_path):
    env = RecordTrace(ChatHistory(make()), str(tmp_path))
    env.reset(options={"question_id": "white"})
    env.step(box(420, 280, 140, 56))
    env.close()
    (record,) = Trace(tmp_path)
    assert record.refused[0] is not None and record.refused[0].x1 == 840


def test_nothing_else_changes(tmp_path):
    plain, recorded = make(), RecordTrace(make(), str(tmp_path))
    for seed in range(3):
        assert data_equivalence(plain.reset(seed=seed), recorded.reset(seed=seed), exact=True)
        for reply in (BOX, "x"):
            assert data_equivalence(plain.step(reply), recorded.step(reply), exact=True)


def test_the_checker_is_content(tmp_path):
    env = gym.make("HighResVQA-v0", max_pixels=256 * 28 * 28).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The checker warns about any wrapper; that is what is checked here.
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        check_env(RecordTrace(env, str(tmp_path)), skip_render_check=True)
    assert questions(tmp_path) != []


def test_it_survives_the_spec_and_pickle(tmp_path):
    env = RecordTrace(make(), str(tmp_path), every=2)
    assert env.spec is not None
    text = env.spec.to_json()
    assert json.loads(text)["additional_wrappers"][0]["kwargs"] == {
        "folder": str(tmp_path),
        "every": 2,
    }
    again = gym.make(EnvSpec.from_json(text))
    assert isinstance(again, RecordTrace) and again.every == 2
    env.reset(options={"question_id": "white"})
    env.step(BOX)
    pickle.loads(pickle.dumps(env)).step("x")
    assert questions(tmp_path) == ["white"]


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="every: got 0, expected a whole number of at least 1"):
        RecordTrace(make(), str(tmp_path), every=0)
    with pytest.raises(TypeError, match="expected a wrapped HighResVQAEnv"):
        RecordTrace(gym.make("CartPole-v1"), str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        RecordTrace(make(), str(tmp_path / "file"))
