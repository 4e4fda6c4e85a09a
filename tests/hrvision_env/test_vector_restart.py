"""Members that begin anew beside siblings that go on, and boxes as either parser sees them."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from hrvision_env import Outcome
from hrvision_env.dialogues.mgpo import Dialogue as Mgpo

from .conftest import BOX

FLOATS = BOX.replace("280, 280, 560, 420", "280.0, 280.0, 560.0, 420.0")


@pytest.fixture
def make(make_vec):
    return make_vec


def test_a_member_begins_anew_on_the_same_views(make):
    envs = make(4, 2)
    observations, _ = envs.reset(options={"index": [0, 1]})
    first = [envs.observation(i) for i in range(4)]
    envs.step([BOX] * 4)
    others = [envs.observation(i) for i in (0, 2, 3)]
    again = envs.restart(1)
    assert data_equivalence(again, first[1], exact=True) and envs.active.all()
    assert again["images"][0] is observations["images"][0][0]  # its group's very view
    assert all(
        data_equivalence(envs.observation(i), o, exact=True)
        for i, o in zip((0, 2, 3), others, strict=True)
    )
    assert envs.episode(1).turns == () and len(envs.episode(0).turns) == 1
    assert [envs.info(i)["turn"] for i in range(4)] == [1, 0, 1, 1]
    rewards = envs.step({0: "\\boxed{B}", 1: BOX})[1]
    assert rewards.tolist() == [1, 0, 0, 0] and envs.active.tolist() == [False, True, True, True]
    assert envs.step({1: "\\boxed{B}"})[1][1] == 1
    assert envs.episode(0) == envs.episode(1)


def test_a_finished_or_failed_member_can_begin_anew(make):
    envs = make(2, 2)
    envs.reset(options={"index": [0]})
    envs.fail(0, "engine: out of memory")
    envs.step({1: BOX})
    envs.step({1: "\\boxed{B}"})
    assert not envs.active.any()
    for i in range(2):
        envs.restart(i)
    assert envs.active.all() and envs.episode(0).error == "" == envs.info(0)["error"]
    _, _, terminated, _, infos = envs.step([BOX, BOX])
    assert not terminated.any() and infos["outcome"].tolist() == ["open", "open"]


def test_a_failure_that_was_not_reported_yet_is_forgotten(make):
    envs = make(2, 2)
    envs.reset(options={"index": [0]})
    envs.fail(0, "engine: out of memory")
    envs.restart(0)
    assert envs.step({1: BOX})[2].tolist() == [False, False]


class Stumbling(Mgpo):
    """Fails when it first hears of a crop."""

    falls = 1

    def next(self, sample, reply):
        if Stumbling.falls:
            Stumbling.falls -= 1
            raise RuntimeError("stumbled")
        return super().next(sample, reply)


def test_a_step_that_failed_may_be_tried_again(make):
    Stumbling.falls = 1
    envs = make(2, 2, dialogue=f"{__name__}:Stumbling")
    envs.reset(options={"index": [0]})
    envs.step([BOX, BOX])
    assert envs.active.tolist() == [False, True]
    assert envs.episode(0).error == "RuntimeError: stumbled"
    envs.restart(0)
    envs.step({0: BOX})
    envs.step(["\\boxed{B}"] * 2)
    assert [envs.episode(i).outcome for i in range(2)] == [Outcome.CORRECT] * 2
    assert envs.episode(0) == envs.episode(1)


def test_without_views_there_is_nothing_to_begin_on(make, folder):
    envs = make(2, 2)
    with pytest.raises(gym.error.ResetNeeded):
        envs.restart(0)
    photo = folder / "photos" / "a.jpg"
    hidden = photo.rename(folder / "photos" / "hidden.jpg")
    envs.reset(options={"question_id": ["glove"]})
    with pytest.raises(gym.error.ResetNeeded, match="member 1 has no views"):
        envs.restart(1)
    # The group is opened again as a whole.
    hidden.rename(photo)
    envs.reset(options={"reset_mask": np.ones(2, dtype=bool), "question_id": ["glove"]})
    assert envs.active.all()
    with pytest.raises(IndexError, match=r"got 2, expected 0 to 1"):
        envs.restart(2)


def test_boxes_as_either_parser_sees_them(make):
    envs = make(2, 2)
    envs.reset(options={"index": [0]})
    assert envs.reads_box(0, BOX) == {"strict": True, "lenient": True}
    assert envs.reads_box(0, FLOATS) == {"strict": False, "lenient": True}
    assert (
        envs.reads_box(0, "there")
        == envs.reads_box(0, "")
        == {
            "strict": False,
            "lenient": False,
        }
    )
    assert envs.episode(0).turns == ()  # asking is not replying
    envs.step([BOX, FLOATS])
    assert [envs.info(i)["box_valid"] for i in range(2)] == [True, False]
    # No box is asked for any more.
    assert envs.reads_box(0, BOX) == {} == envs.reads_box(1, BOX)


def test_a_reply_that_may_answer_and_does_not_point_is_no_try(make):
    envs = make(1, 1, dialogue="free")
    envs.reset(options={"index": [0]})
    assert envs.reads_box(0, "\\boxed{B}") == {}
    assert envs.reads_box(0, BOX) == {"strict": True, "lenient": True}
    assert envs.reads_box(0, '[{"bbox_2d": [1, 2]}]') == {"strict": False, "lenient": False}
