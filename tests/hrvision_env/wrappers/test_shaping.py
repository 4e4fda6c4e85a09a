"""Shaped rewards: numbers worked out by hand, alone, in groups, under statistics."""

from __future__ import annotations

import functools
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from hrvision_env.records import Box, Episode, ImageRef, Outcome, Sample, Turn
from hrvision_env.wrappers import (
    NumericBox,
    RewardShaping,
    VectorRewardShaping,
    Weights,
    shape,
)
from hrvision_env.wrappers.shaping import TERMS, box_iou

from ..conftest import row

GOLD = Box(100, 100, 200, 200)
HALF = Box(100, 100, 200, 150)  # IoU 0.5
AROUND = Box(50, 50, 250, 250)  # IoU 0.25
ASIDE = Box(600, 600, 700, 700)
ALL = Weights(format=0.1, iou=2.0, invalid_box=0.3, extra_turn=0.05)


def sample(*gold: Box) -> Sample:
    return Sample("q", "Which?", (ImageRef(key="k", data=b"x"),), ("B",), boxes=gold)


def episode(*turns: Turn, outcome: Outcome = Outcome.OPEN) -> Episode:
    reward = float(outcome is Outcome.CORRECT)
    sizes = ((1000, 1000),)
    return Episode("q", "d", "test", "mgpo", "brief", "", sizes, sizes, turns, outcome, reward)


def boxed(*boxes: Box) -> Turn:
    return Turn("find", 1, "a box", boxes, invalid_reason="" if boxes else "no_json")


ANSWER = Turn("answer", 1, "B")


# -- The pure function


def terms(**values: float) -> dict[str, float]:
    return {**dict.fromkeys(TERMS, 0.0), **values}


@pytest.mark.parametrize(
    ("turns", "outcome", "since", "expected"),
    [
        ((boxed(HALF),), Outcome.OPEN, 0, terms(format=0.1)),
        ((boxed(),), Outcome.OPEN, 0, terms(invalid_box=-0.3)),
        ((boxed(HALF), ANSWER), Outcome.CORRECT, 1, terms(answer=1.0, iou=1.0, extra_turn=-0.05)),
        ((boxed(HALF), ANSWER), Outcome.WRONG, 1, terms(iou=1.0, extra_turn=-0.05)),
        ((boxed(), ANSWER), Outcome.CORRECT, 1, terms(answer=1.0, extra_turn=-0.05)),
        ((boxed(HALF), boxed(AROUND)), Outcome.OPEN, 1, terms(format=0.1, extra_turn=-0.05)),
        # The last valid box counts, also when a reply without one came after it.
        ((boxed(HALF), boxed(AROUND), boxed(), ANSWER), Outcome.WRONG, 3,
         terms(iou=0.5, extra_turn=-0.05)),
        # Several turns at once.
        ((boxed(HALF), boxed(), ANSWER), Outcome.CORRECT, 0,
         terms(answer=1.0, format=0.1, iou=1.0, invalid_box=-0.3, extra_turn=-0.1)),
        ((boxed(HALF), ANSWER), Outcome.ERROR, 1, terms()),
        ((), Outcome.ERROR, 0, terms()),
    ],
)  # fmt: skip
def test_terms_by_hand(turns, outcome, since, expected):
    played = episode(*turns, outcome=outcome)
    done = outcome is not Outcome.OPEN
    found = shape(sample(GOLD), played, ALL, done=done, since=since)
    assert found == pytest.approx(expected)
    assert list(found) == list(TERMS)


def test_each_turn_may_pay_for_its_own_box():
    weights = Weights(iou=2.0, iou_of="each")
    turns = (boxed(HALF), boxed(AROUND), ANSWER)
    paid = []
    for n in range(3):
        played = episode(*turns[: n + 1])
        found = shape(sample(GOLD), played, weights, done=n == 2, since=n)
        paid.append(found["iou"])
    assert paid == [1.0, 0.5, 0.0]


def test_an_end_from_outside_pays_for_the_last_box():
    found = shape(sample(GOLD), episode(boxed(HALF)), ALL, done=True)
    assert found == pytest.approx(terms(format=0.1, iou=1.0))


@pytest.mark.parametrize(
    ("gold", "boxes", "expected"),
    [
        ([GOLD], [HALF], 0.5),
        ([GOLD], [], 0.0),
        ([], [HALF], 0.0),
        ([GOLD, ASIDE], [ASIDE], 1.0),  # the gold box that fits best
        ([GOLD, ASIDE], [HALF, ASIDE], 0.75),  # mean over the boxes
        ([Box(100, 100, 200, 200, 1)], [HALF], 0.0),  # another image
    ],
)
def test_iou_by_hand(gold, boxes, expected):
    images = tuple(ImageRef(key=k, data=b"x") for k in "ab")
    question = Sample("q", "Which?", images, ("B",), boxes=tuple(gold))
    assert box_iou(question, tuple(boxes)) == pytest.approx(expected)


def test_without_weights_nothing_changes():
    turns = (boxed(), boxed(HALF), ANSWER)
    played = episode(*turns, outcome=Outcome.CORRECT)
    assert shape(sample(GOLD), played, Weights(), done=True) == terms(answer=1.0)


@pytest.mark.parametrize("dialogue", ["free", "single_turn"])
def test_only_a_dialogue_that_lets_the_agent_choose_forgives_a_missing_box(make, dialogue):
    env = make(dialogue=dialogue)
    env.reset(options={"question_id": "glove"})
    env.step("\\boxed{B}")
    penalty = {"free": 0.0, "single_turn": -0.3}[dialogue]
    found = shape(env.sample, env.episode, ALL, done=True)
    assert found == pytest.approx(terms(answer=1.0, invalid_box=penalty))


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"iou": float("nan")}, "iou: got nan, expected a finite number"),
        ({"format": "1"}, "format: got '1'"),
        ({"extra_turn": True}, "extra_turn: got True"),
        ({"iou_of": "first"}, "iou_of: got 'first', expected one of last, each"),
    ],
)
def test_wrong_weights(make, kwargs, words):
    with pytest.raises(ValueError, match=words):
        RewardShaping(make(), **kwargs)


# -- One environment


def times_ten(reward: Any) -> float:
    return 10 * float(reward)


EXACT = '[{"bbox_2d": [100, 100, 200, 200]}]'
"""On an image that is shown at its own size."""
WEIGHTS: dict[str, Any] = {"format": 0.1, "iou": 2.0, "invalid_box": 0.3, "extra_turn": 0.05}


@pytest.fixture
def exact(make_root):
    """Keyword arguments of an environment whose gold box is (100, 100, 200, 150)."""
    root = make_root(
        row(id="one", images=["photos/b.jpg"], boxes=[[100, 100, 200, 150]]),
        row(id="none", images=["photos/b.jpg"], boxes=None),
    )
    pixels = {"min_pixels": 1, "max_pixels": 10**7, "factor": 2}
    return {"dataset": "jsonl", "root": str(root), "prompt": "brief", "min_box": 10, **pixels}


def test_the_reward_is_the_sum_of_the_terms(exact):
    env = RewardShaping(gym.make("HighResVQA-v0", **exact), **WEIGHTS)
    _, info = env.reset(options={"question_id": "one"})
    keys = {f"reward/{name}" for name in TERMS}
    assert {key for key in info if key.startswith("reward/")} == keys
    _, reward, _, _, info = env.step(EXACT)
    assert reward == pytest.approx(0.1) and info["reward/format"] == pytest.approx(0.1)
    _, reward, terminated, _, info = env.step("\\boxed{B}")
    assert terminated
    assert info["reward/answer"] == 1.0
    assert info["reward/iou"] == pytest.approx(1.0)
    assert info["reward/extra_turn"] == -0.05
    assert reward == pytest.approx(1.95)
    env.reset(options={"question_id": "none"})
    assert env.step("no box")[1] == -0.3
    assert env.step("\\boxed{A}")[1] == -0.05


def test_the_info_is_type_stable(exact):
    env = RewardShaping(gym.make("HighResVQA-v0", **exact), **WEIGHTS)
    _, first = env.reset(options={"question_id": "one"})
    for _, _, _, _, info in (env.step("no box"), env.step("\\boxed{B}")):
        assert {k: type(v) for k, v in info.items()} == {k: type(v) for k, v in first.items()}


def test_rewards_from_an_inner_wrapper_are_kept(exact):
    inner = gym.wrappers.TransformReward(gym.make("HighResVQA-v0", **exact), times_ten)
    env = RewardShaping(inner, format=0.1)
    env.reset(options={"question_id": "one"})
    env.step(EXACT)
    _, reward, _, _, info = env.step("\\boxed{B}")
    assert (reward, info["reward/answer"]) == (10.0, 10.0)


def test_an_end_by_a_time_limit_pays_for_the_box(exact):
    env = RewardShaping(TimeLimit(gym.make("HighResVQA-v0", **exact), 1), iou=2.0)
    env.reset(options={"question_id": "one"})
    _, reward, terminated, truncated, _ = env.step(EXACT)
    assert (terminated, truncated) == (False, True)
    assert reward == pytest.approx(1.0)


def test_turns_that_another_wrapper_takes_within_one_step_all_count(exact):
    pointing = NumericBox(gym.make("HighResVQA-v0", **exact), answer=lambda o, i: "\\boxed{B}")
    env = RewardShaping(pointing, **WEIGHTS)
    for _ in range(2):
        env.reset(options={"question_id": "one"})  # 640 x 1000
        box = np.array([100 / 640, 0.1, 200 / 640, 0.2], np.float32)
        _, reward, terminated, _, _ = env.step(box)
        assert terminated
        assert reward == pytest.approx(1.0 + 0.1 + 1.0 - 0.05)


def test_observations_stay_as_they_are(exact):
    plain, shaped = (gym.make("HighResVQA-v0", **exact) for _ in range(2))
    shaped = RewardShaping(shaped, **WEIGHTS)
    assert plain.reset(seed=3)[0] == shaped.reset(seed=3)[0]
    assert plain.step(EXACT)[0] == shaped.step(EXACT)[0]
    assert shaped.observation_space == plain.observation_space


def test_the_checker_is_content(exact):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        env = gym.make("HighResVQA-v0", **exact).unwrapped
        check_env(RewardShaping(env, **WEIGHTS), skip_render_check=True)


def test_the_wrapper_is_part_of_the_spec_and_of_pickles(exact):
    env = RewardShaping(gym.make("HighResVQA-v0", **exact), **WEIGHTS)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    for one in (env, again):
        one.reset(options={"question_id": "one"})
    assert env.step(EXACT) == again.step(EXACT)
    twin = pickle.loads(pickle.dumps(env))
    assert twin.step("\\boxed{B}") == env.step("\\boxed{B}")


# -- Groups


def test_groups_are_shaped_member_by_member_under_statistics(exact):
    envs = RecordEpisodeStatistics(
        VectorRewardShaping(
            gym.make_vec("HighResVQA-v0", num_envs=4, group_size=2, **exact), **WEIGHTS
        )
    )
    _, infos = envs.reset(options={"question_id": ["one", "none"]})
    assert infos["reward/iou"].dtype == np.float64
    _, rewards, *_ = envs.step([EXACT, "no box", EXACT, "no box"])
    assert rewards == pytest.approx([0.1, -0.3, 0.1, -0.3])
    _, rewards, ended, _, infos = envs.step([f"\\boxed{{{a}}}" for a in "BBBA"])
    assert ended.all()
    assert rewards == pytest.approx([1.95, 0.95, 0.95, -0.05])
    assert infos["reward/answer"] == pytest.approx([1, 1, 1, 0])
    assert infos["reward/iou"] == pytest.approx([1, 0, 0, 0])
    assert infos["episode"]["r"] == pytest.approx([2.05, 0.65, 1.05, -0.35])
    assert infos["episode"]["l"].tolist() == [2, 2, 2, 2]
    assert list(envs.return_queue) == pytest.approx([2.05, 0.65, 1.05, -0.35])


def test_waiting_and_finished_members_earn_nothing(exact):
    inner = gym.make_vec("HighResVQA-v0", num_envs=2, group_size=2, dialogue="free", **exact)
    envs = VectorRewardShaping(inner, **WEIGHTS)
    envs.reset(options={"question_id": ["one"]})
    _, rewards, ended, _, infos = envs.step({1: "\\boxed{B}"})
    assert rewards.tolist() == [0.0, 1.0] and ended.tolist() == [False, True]
    assert infos["_reward/answer"].tolist() == [False, True]
    _, rewards, ended, _, _ = envs.step([EXACT, "never read"])
    assert rewards == pytest.approx([0.1, 0.0]) and not ended.any()
    _, rewards, ended, _, _ = envs.step({0: "\\boxed{A}"})
    assert rewards == pytest.approx([1.0 - 0.05, 0.0]) and ended.tolist() == [True, False]


def test_a_group_is_shaped_as_single_environments_are(exact):
    replies = (EXACT, "\\boxed{B}"), ("no box", "\\boxed{A}"), (EXACT, "?"), ("", "")
    envs = VectorRewardShaping(
        gym.make_vec("HighResVQA-v0", num_envs=4, group_size=4, **exact), iou_of="each", **WEIGHTS
    )
    envs.reset(options={"question_id": ["one"]})
    together = [envs.step([r[turn] for r in replies])[1] for turn in range(2)]
    single = RewardShaping(gym.make("HighResVQA-v0", **exact), iou_of="each", **WEIGHTS)
    for member, (first, second) in enumerate(replies):
        single.reset(options={"question_id": "one"})
        assert single.step(first)[1] == together[0][member]
        assert single.step(second)[1] == together[1][member]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasiums_own_vector_environments_take_the_single_wrapper(exact, mode):
    envs = gym.make_vec(
        "HighResVQA-v0",
        num_envs=2,
        vectorization_mode=mode,
        vector_kwargs={"shared_memory": False, "context": "spawn"} if mode == "async" else {},
        wrappers=[functools.partial(RewardShaping, **WEIGHTS)],
        **exact,
    )
    try:
        _, infos = envs.reset(seed=0)
        assert infos["reward/format"].tolist() == [0.0, 0.0]
        _, rewards, _, _, infos = envs.step((EXACT, "no box"))
        assert rewards == pytest.approx([0.1, -0.3])
        assert infos["reward/invalid_box"] == pytest.approx([0, -0.3])
    finally:
        envs.close()


def test_a_group_that_could_not_begin_earns_nothing(exact, folder):
    envs = VectorRewardShaping(gym.make_vec("HighResVQA-v0", num_envs=2, **exact), **WEIGHTS)
    (folder / "photos" / "b.jpg").write_bytes(b"broken")
    _, infos = envs.reset(options={"question_id": ["one", "none"]})
    assert infos["outcome"].tolist() == ["error", "error"]
    assert infos["reward/iou"].tolist() == [0.0, 0.0]


def test_other_vector_environments_are_refused_at_once(folder):
    envs = gym.make_vec(
        "HighResVQA-v0",
        num_envs=2,
        vectorization_mode="sync",
        dataset="jsonl",
        root=str(folder),
    )
    with pytest.raises(TypeError, match="env: got SyncVectorEnv, expected a wrapped HighResVQAVec"):
        VectorRewardShaping(envs)
    envs.close()
