"""Gymnasium's wrappers for vector environments, around groups with frozen members."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import vector

from hrvision_env.rendering import CANVAS
from hrvision_env.wrappers import VectorRewardShaping

from .test_conformity_wrappers import BOX, RIGHT, TINY, WRONG


def groups(**options: Any) -> gym.vector.VectorEnv[Any, Any, np.ndarray]:
    return gym.make_vec("HighResVQA-v0", num_envs=4, group_size=2, **{**TINY, **options})


def test_statistics_of_a_group_count_each_episode_once():
    envs = vector.RecordEpisodeStatistics(groups(dialogue="free", max_turns=3))
    for _ in range(2):
        envs.reset(options={"index": [0, 0]})
        _, _, _, _, infos = envs.step([RIGHT, BOX, BOX, BOX])  # member 0 is done after one turn
        assert infos["_episode"].tolist() == [True, False, False, False]
        _, _, _, _, infos = envs.step(["ignored", WRONG, BOX, BOX])
        assert infos["_episode"].tolist() == [False, True, False, False]
        _, _, _, _, infos = envs.step(["ignored", "ignored", RIGHT, "none"])
        assert infos["_episode"].tolist() == [False, False, True, True]
        assert infos["episode"]["r"].tolist() == [0, 0, 1, 0]
        assert infos["episode"]["l"].tolist() == [0, 0, 3, 3]
        envs.step(["ignored"] * 4)  # everyone is frozen
    assert envs.episode_count == 8
    assert list(envs.return_queue) == [1, 0, 1, 0] * 2
    assert list(envs.length_queue) == [1, 2, 3, 3] * 2
    assert not envs.env.active.any()  # type: ignore[attr-defined]


def test_statistics_and_shaping_of_a_group_in_either_order():
    inner = vector.RecordEpisodeStatistics(groups())
    outer = VectorRewardShaping(inner, format=0.5)
    outer.reset(options={"index": [0, 1]})
    assert outer.step([BOX] * 4)[1].tolist() == [0.5] * 4
    rewards = outer.step([RIGHT, WRONG, RIGHT, WRONG])[1]
    assert list(inner.return_queue) == rewards.tolist()  # of the answers alone


def test_infos_as_a_list_and_other_rewards():
    envs = vector.DictInfoToList(vector.TransformReward(groups(), lambda rewards: 2 * rewards))
    _, infos = envs.reset(options={"index": [0, 1]})
    assert [info["question_id"][-2:] for info in infos] == ["-0", "-0", "-1", "-1"]
    envs.step([BOX] * 4)
    _, rewards, ended, _, infos = envs.step([RIGHT, WRONG, "", ""])
    assert rewards.tolist() == [2, 0, 0, 0] and ended.all()
    assert [info["turn"] for info in infos] == [2] * 4
    clipped = vector.ClipReward(groups(), 0, 0.5)
    clipped.reset(options={"index": [0, 0]})
    clipped.step([BOX] * 4)
    assert clipped.step([RIGHT, WRONG, RIGHT, WRONG])[1].tolist() == [0.5, 0, 0.5, 0]


def test_other_actions_and_observations():
    envs = vector.TransformAction(groups(), lambda texts: [f"Look: {text}" for text in texts])
    envs.reset(options={"index": [0, 1]})
    _, _, _, _, infos = envs.step([BOX, BOX, "", BOX])
    assert infos["box_valid"].tolist() == [True, True, False, True]
    texts = vector.TransformObservation(groups(), lambda seen: seen["text"])
    seen, _ = texts.reset(options={"index": [0, 1]})
    assert len(seen) == 4 and seen[0] == seen[1] != seen[2]


def test_a_video_shows_all_members(tmp_path):
    pytest.importorskip("moviepy")
    reader = pytest.importorskip("imageio_ffmpeg")
    envs = groups(render_mode="rgb_array")
    recorded = vector.RecordVideo(envs, str(tmp_path / "videos"), episode_trigger=lambda n: n == 0)
    recorded.reset(options={"index": [0, 1]})
    recorded.step([BOX] * 4)
    recorded.step([RIGHT] * 4)
    recorded.close()
    (video,) = tmp_path.glob("videos/*.mp4")
    frames = reader.read_frames(str(video))
    assert next(frames)["size"] == (2 * CANVAS[1], 2 * CANVAS[0])  # two by two
    frames.close()
