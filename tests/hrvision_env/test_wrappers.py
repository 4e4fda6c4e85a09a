"""The whole conversation."""

from __future__ import annotations

import warnings

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from hrvision_env.wrappers import ChatHistory

from .conftest import BOX


def test_the_history_grows_turn_by_turn(make):
    env = ChatHistory(make(prompt="paper"))
    start, info = env.reset(options={"question_id": "glove"})
    assert [m["role"] for m in start["messages"]] == ["system", "user"]
    assert start["messages"][0]["text"] == info["system"]
    shown, *_ = env.step(BOX)
    assert [m["role"] for m in shown["messages"]] == ["system", "user", "assistant", "user"]
    assert shown["messages"][2]["text"] == BOX and "B. cotton" in shown["messages"][3]["text"]
    assert [image.size for image in shown["images"]] == [(1148, 840), (644, 336)]
    end, reward, terminated, *_ = env.step("\\boxed{B}")
    assert [m["role"] for m in end["messages"]][4:] == ["assistant"]
    assert terminated and reward == 1 and end["images"] == shown["images"]
    for observation in (start, shown, end):
        assert observation in env.observation_space
        texts = "".join(m["text"] for m in observation["messages"] if m["role"] == "user")
        assert texts.count("<image>") == len(observation["images"])
    assert len(start["messages"]) == 2  # not changed by what came later
    again, _ = env.reset(options={"question_id": "count"})
    assert len(again["messages"]) == 2 and len(again["images"]) == 1


def test_without_a_system_text_there_is_no_system_message(make):
    observation, _ = ChatHistory(make()).reset(seed=0)
    assert [m["role"] for m in observation["messages"]] == ["user"]


def test_the_checker_is_content(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        check_env(ChatHistory(make()), skip_render_check=True)


def test_the_wrapper_is_part_of_the_spec(folder):
    env = ChatHistory(gym.make("HighResVQA-v0", dataset="jsonl", root=str(folder)))
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.observation_space == env.observation_space
    assert "messages" in again.reset(seed=0)[0]
