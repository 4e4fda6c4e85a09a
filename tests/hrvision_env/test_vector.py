"""Many episodes at once: Gymnasium's two vector environments, and ours with groups."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode
from PIL import ImageFile

from hrvision_env import Outcome
from hrvision_env.rendering import CANVAS

from .conftest import BOX


@pytest.fixture
def make(make_vec):
    return make_vec


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("mode", "kwargs"),
    [
        ("sync", {}),
        ("sync", {"autoreset_mode": AutoresetMode.DISABLED}),
        ("async", {"shared_memory": False, "context": "fork"}),
        ("async", {"shared_memory": False, "context": "spawn"}),
        ("vector_entry_point", None),
    ],
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_make_vec_in_every_way(folder, mode, kwargs):
    options: dict[str, Any] = {"dataset": "jsonl", "root": str(folder), "prompt": "brief"}
    envs = gym.make_vec(
        "HighResVQA-v0", num_envs=2, vectorization_mode=mode, vector_kwargs=kwargs, **options
    )
    try:
        single = gym.make("HighResVQA-v0", **options)
        observations, infos = envs.reset(seed=11)
        assert observations in envs.observation_space
        for n in range(2):
            one, info = single.reset(seed=11 + n)
            assert observations["text"][n] == one["text"]
            assert observations["images"][n] == one["images"]
            assert infos["question_id"][n] == info["question_id"]
            assert infos["view_size"][n] == info["view_size"]
        observations, rewards, ended, _, infos = envs.step((BOX, "no box"))
        assert infos["box_valid"].tolist() == [True, False] and not ended.any()
        observations, rewards, ended, truncated, infos = envs.step(("\\boxed{B}", ""))
        assert ended.tolist() == [True, True] and not truncated.any()
        assert observations == {"text": ("", ""), "images": ((), ())}
        assert infos["outcome"][1] == "no_answer" and rewards[1] == 0
    finally:
        envs.close()


def test_shared_memory_fails_at_construction(folder):
    with pytest.raises(TypeError, match=r'cannot lie in shared memory.*"shared_memory": False'):
        gym.make_vec(
            "HighResVQA-v0", num_envs=2, vectorization_mode="async", dataset="jsonl",
            root=str(folder),
        )  # fmt: skip


def test_siblings_share_the_question_and_the_very_same_view(make):
    envs = make(6, 3)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED and envs.num_groups == 2
    observations, infos = envs.reset(options={"question_id": ["plate", "glove"]})
    assert observations in envs.observation_space
    assert infos["question_id"].tolist() == ["plate"] * 3 + ["glove"] * 3
    views = [images[0] for images in observations["images"]]
    assert views[0] is views[1] is views[2] and views[3] is views[4] is views[5]
    assert views[0] is not views[3]
    assert [envs.sample(n).id for n in (2, 3)] == ["plate", "glove"]
    assert envs.active.all() and len({id(env.dataset) for env in envs.envs}) == 1


def test_an_image_is_decoded_once_per_group(make, monkeypatch):
    loaded: list[str] = []
    load = ImageFile.ImageFile.load

    def loading(image: ImageFile.ImageFile) -> Any:
        if image.tile:  # there are pixels still to be decoded
            loaded.append(f"{image.width}x{image.height}")
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", loading)
    envs = make(6, 3)
    for _ in range(2):
        envs.reset(options={"index": [0, 2]})
        envs.step([BOX] * 6)
    assert sorted(loaded) == ["1200x900", "1500x700"]
    stats = envs.envs[0].referee.store.stats
    assert (stats.full_decodes, stats.view_decodes) == (2, 0)


def test_the_groups_of_a_seed_are_those_of_single_environments(make, folder):
    envs = make(6, 2)
    names = [envs.reset(seed=s)[1]["question_id"].tolist()[::2] for s in range(8)]
    single = gym.make("HighResVQA-v0", dataset="jsonl", root=str(folder))
    for s in range(8):
        assert names[s] == [single.reset(seed=s + g)[1]["question_id"] for g in range(3)]
    assert envs.reset(seed=[4, 5, 6])[1]["question_id"].tolist()[::2] == names[4]
    first, second = (make(6, 2) for _ in range(2))
    first.reset(seed=3)
    second.reset(seed=3)
    for _ in range(5):
        ids = [e.reset()[1]["question_id"].tolist() for e in (first, second)]
        assert ids[0] == ids[1]


def test_members_take_their_own_ways_and_freeze(make):
    envs = make(4, 2)
    envs.reset(options={"question_id": ["glove", "count"]})
    observations, rewards, ended, _, infos = envs.step([BOX, "none", BOX, "none"])
    assert infos["n_crops"].tolist() == [1, 0, 1, 0] and not ended.any() and not rewards.any()
    observations, rewards, ended, _, infos = envs.step({0: "\\boxed{B}", 3: "four"})
    assert rewards.tolist() == [1, 0, 0, 0] and ended.tolist() == [True, False, False, True]
    assert envs.active.tolist() == [False, True, True, False]
    assert infos["_outcome"].tolist() == [True, False, False, True]
    assert infos["outcome"].tolist() == ["correct", None, None, "wrong"]
    assert observations["text"][0] == "" and observations["images"][0] == ()
    assert observations["text"][1].startswith("No valid box.")
    assert observations["images"][2][0].size == envs.info(2)["crop_size"]
    before = envs.episode(0)
    observations, rewards, ended, _, infos = envs.step(["ignored", "B", "3", "ignored"])
    assert rewards.tolist() == [0, 1, 1, 0] and ended.tolist() == [False, True, True, False]
    assert envs.episode(0) == before and not envs.active.any()
    assert [envs.episode(n).reward for n in range(4)] == [1, 1, 1, 0]
    assert envs.step({})[2].tolist() == [False] * 4
    assert envs.reset()[0]["text"][0] != "" and envs.active.all()


def test_the_info_of_a_member_is_that_of_a_single_environment(make, folder):
    envs = make(2, 1)
    envs.reset(options={"index": [0, 1]})
    envs.step({0: BOX})
    single = gym.make("HighResVQA-v0", dataset="jsonl", root=str(folder), prompt="brief")
    single.reset(options={"index": 0})
    observation, *_, info = single.step(BOX)
    assert envs.info(0) == info
    assert data_equivalence(envs.observation(0), observation, exact=True)
    assert envs.info(1)["turn"] == 0


@pytest.mark.parametrize(
    ("actions", "error", "words"),
    [
        (["x"] * 3, ValueError, "got 3, expected 4"),
        ("x" * 4, TypeError, "got one str"),
        ({4: "x"}, ValueError, "member 4 is not active"),
        ({-1: "x"}, ValueError, "member -1 is not active"),
        ({"1": "x"}, ValueError, "member '1' is not active"),
        ({0: "x"}, ValueError, "member 0 is not active"),
        ({1: None}, TypeError, "member 1: got NoneType, expected str"),
        (["", 3, "", ""], TypeError, "member 1: got int"),
    ],
)
def test_wrong_actions_change_nothing(make, actions, error, words):
    envs = make(4, 2, dialogue="single_turn")
    envs.reset(seed=0)
    envs.step({0: "done"})
    with pytest.raises(error, match=words):
        envs.step(actions)
    assert [len(envs.episode(n).turns) for n in range(4)] == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"index": 0}, "'index': got 0, expected a list of at most 2"),
        ({"index": [0, 1, 2]}, "a list of at most 2, one per group"),
        ({"index": []}, "a list"),
        ({"index": None}, "'index': got None, expected a list"),
        ({"index": np.int64(0)}, "expected a list"),
        ({"question_id": "glove"}, "'question_id': got 'glove', expected a list"),
        ({"index": [0], "question_id": ["glove"]}, "both"),
        ({"indices": [0, 1]}, "got 'indices'.*did you mean 'index'"),
    ],
)
def test_wrong_reset_options(make, options, words):
    with pytest.raises(ValueError, match=words):
        make(4, 2).reset(options=options)


def test_a_question_that_does_not_exist_leaves_the_episodes_open(make):
    envs = make(4, 2)
    envs.reset(options={"index": [0, 1]})
    envs.step({0: "no box"})
    for options in ({"index": [2, 3]}, {"question_id": ["plate", "gone"]}):
        with pytest.raises((IndexError, KeyError)):
            envs.reset(options=options)
    assert [envs.sample(n).id for n in (0, 2)] == ["glove", "count"]
    assert envs.active.all() and envs.info(0)["turn"] == 1
    assert envs.observation(0)["text"].startswith("No valid box.")


def test_wrong_sizes(make):
    for sizes in ((0, 1), (4, 3), (4, 0), (4.0, 2), ("4", 1)):
        with pytest.raises(ValueError, match="the first a multiple of the second"):
            make(*sizes)
    with pytest.raises(ValueError, match="seed: got 3 seeds, expected 2, one per group"):
        make(4, 2).reset(seed=[1, 2, 3])


def test_with_fewer_questions_the_last_groups_stay_idle(make):
    envs = make(4, 2)
    envs.reset(seed=0)
    observations, infos = envs.reset(options={"index": [2]})
    assert envs.active.tolist() == [True, True, False, False]
    assert observations["text"][2:] == ("", "") and infos["question_id"][3] is None
    with pytest.raises(gym.error.ResetNeeded):
        envs.episode(2)
    envs.step(["x"] * 4)
    assert [len(envs.episode(n).turns) for n in range(2)] == [1, 1]


def test_a_missing_image_fails_its_group_alone(make, folder):
    envs = make(4, 2)
    (folder / "photos" / "a.jpg").unlink()
    observations, infos = envs.reset(options={"question_id": ["glove", "count"]})
    assert envs.active.tolist() == [False, False, True, True]
    assert infos["outcome"].tolist() == ["error", "error", "open", "open"]
    assert envs.episode(0).outcome is Outcome.ERROR
    assert "sample 'glove'" in envs.episode(1).error and "a.jpg" in envs.episode(1).error
    assert observations in envs.observation_space and observations["images"][0] == ()
    assert envs.info(0)["image_size"] == (0, 0)
    envs.step([BOX] * 4)
    assert envs.info(2)["box_valid"]


def test_a_crop_that_fails_leaves_the_siblings_alone(make, folder):
    envs = make(2, 2)
    envs.reset(options={"question_id": ["glove"]})
    envs.envs[0].referee.store.clear()
    (folder / "photos" / "a.jpg").write_bytes(b"broken")
    _, _, ended, _, infos = envs.step([BOX, "no box"])
    assert ended.tolist() == [True, False] and infos["outcome"].tolist() == ["error", "open"]
    assert envs.step({1: "B"})[1].tolist() == [0, 1]


def test_a_failure_outside_freezes_its_member(make):
    envs = make(2, 2)
    envs.reset(seed=1)
    envs.fail(0, "engine: out of memory")
    assert envs.active.tolist() == [False, True] and envs.observation(0)["text"] == ""
    assert envs.episode(0).error == "engine: out of memory"
    # Reported once, as for everybody: in the step after it.
    _, _, terminated, _, infos = envs.step(["x", "y"])
    assert terminated.tolist() == [True, False]
    assert infos["outcome"].tolist() == ["error", "open"]
    assert infos["error"].tolist() == ["engine: out of memory", ""]
    assert envs.step(["x", "y"])[2].tolist() == [False, True]


def test_a_finished_episode_cannot_fail_any_more(make):
    envs = make(2, 1, dialogue="single_turn")
    envs.reset(options={"question_id": ["glove", "count"]})
    envs.step({0: "\\boxed{B}"})
    with pytest.raises(gym.error.ResetNeeded, match="no open episode"):
        envs.fail(0, "too late")
    assert envs.episode(0).outcome is Outcome.CORRECT and envs.episode(0).reward == 1


def test_pictures_of_all_members(make):
    envs = make(2, 1, render_mode="rgb_array")
    envs.reset(seed=1)
    assert np.stack(envs.render()).shape == (2, *CANVAS)
    assert make(2, 1).render() is None
