"""Resets of a part, per group, or halfway; seeds, members and closing of the vector environment."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from hrvision_env.dialogues.mgpo import Dialogue as Mgpo


@pytest.fixture
def make(make_vec):
    return make_vec


def test_a_part_of_the_groups_can_be_reset(make):
    envs = make(6, 2)
    envs.reset(options={"index": [0, 1, 2]})
    envs.step({0: "nothing", 2: "nothing", 4: "nothing"})
    before = [envs.observation(i) for i in range(6)]
    mask = np.array([False, False, True, True, False, False])
    observations, infos = envs.reset(options={"reset_mask": mask, "question_id": ["plate"]})
    assert [envs.info(i)["question_id"] for i in range(6)] == [*["glove"] * 2, *["plate"] * 4]
    assert [envs.info(i)["turn"] for i in range(6)] == [1, 0, 0, 0, 1, 0]
    assert infos["_question_id"].tolist() == mask.tolist() and envs.active.all()
    for i in (0, 1, 4, 5):
        assert data_equivalence(envs.observation(i), before[i], exact=True)
    assert observations["images"][2][0] is observations["images"][3][0]


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ([True, True, False, False], "expected 4 bools"),
        (np.array([True, False, False, False]), "expected groups of 2 to be reset as a whole"),
        (np.zeros(4, dtype=bool), "some of them True"),
        (np.ones(3, dtype=bool), "expected 4 bools"),
        (np.ones(4), "expected 4 bools"),
    ],
)
def test_wrong_masks(make, mask, words):
    with pytest.raises(ValueError, match=words):
        make().reset(options={"reset_mask": mask})


def test_every_group_can_have_options_of_its_own(make):
    envs = make(4, 2)
    envs.reset(options=[{"index": 1}, {"dataset": "synthetic", "split": "train", "index": 3}])
    names = [envs.info(i)["question_id"] for i in range(4)]
    assert names == ["count", "count", "synthetic-0-train-3", "synthetic-0-train-3"]
    envs.reset(options=[{"question_id": "plate"}])
    assert envs.active.tolist() == [True, True, False, False]
    with pytest.raises(ValueError, match="got 3, expected at most 2"):
        envs.reset(options=[{}, {}, {}])
    with pytest.raises(ValueError, match="got 'indx'"):
        envs.reset(options=[{"indx": 1}])


def test_images_are_freed_when_it_closes(make):
    envs = make(2, 2)
    store = envs.envs[0].referee.store
    for _ in range(2):
        envs.reset(seed=0)
        assert len(store) > 0
        envs.close()
        assert len(store) == 0 and not envs.active.any()
        assert envs.observation(0) == {"text": "", "images": ()}


class Moody(Mgpo):
    def first(self, sample):
        if sample.id == "plate":
            raise RuntimeError("not this one")
        return super().first(sample)


def test_a_reset_that_fails_changes_nothing(make):
    envs = make(4, 2, dialogue=f"{__name__}:Moody")
    envs.reset(options={"index": [0, 1]})
    before = [envs.observation(i) for i in range(4)]
    with pytest.raises(RuntimeError, match="not this one"):
        envs.reset(options={"question_id": ["count", "plate"]})
    assert envs.active.all()
    assert all(data_equivalence(envs.observation(i), before[i], exact=True) for i in range(4))


@pytest.mark.parametrize("i", [-1, 2, 1.0, True, "0", None])
def test_members_that_do_not_exist(make, i):
    envs = make(2, 2)
    envs.reset(seed=0)
    for ask in (envs.episode, envs.sample, envs.info, envs.observation):
        with pytest.raises(IndexError, match=r"member: got .*, expected 0 to 1"):
            ask(i)
    with pytest.raises(IndexError):
        envs.fail(i, "x")
    with pytest.raises(ValueError, match="is not active"):
        envs.step({i: "x"})
    assert envs.active.all()


def test_seeds_may_be_of_numpy(make):
    envs = make(4, 2)
    names = envs.reset(seed=[3, 4])[1]["question_id"].tolist()
    assert envs.reset(seed=np.array([3, 4]))[1]["question_id"].tolist() == names
    assert envs.reset(seed=np.int64(3))[1]["question_id"].tolist() == names
