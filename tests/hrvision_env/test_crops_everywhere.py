"""`crop=` with every dialogue, in groups, copies and pickles: only the pictures differ."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence

from hrvision_env import HighResVQAEnv, HighResVQAVectorEnv
from hrvision_env.crops import CROPS, GREY, without_images
from hrvision_env.plugins import available
from hrvision_env.scripted import SCRIPTED
from hrvision_env.scripted import play as play_scripted

from .conftest import BOX, TINY, play, row

REPLACED = [crop for crop in CROPS if crop != "real"]


def box(*numbers: float, **more: Any) -> str:
    return json.dumps([{"bbox_2d": list(numbers), **more}])


def same_but_for_the_pictures(env: HighResVQAEnv, real: HighResVQAEnv) -> bool:
    """Do two episodes say the same, whatever they showed?"""

    def told(one: HighResVQAEnv) -> dict[str, Any]:
        record = one.episode.to_dict()
        for turn in record["turns"]:
            turn["text"] = without_images(turn["text"])
            del turn["crop_sizes"], turn["n_images"], turn["shown"]
        return {key: value for key, value in record.items() if key != "crop"}

    return told(env) == told(real)


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("dialogue", available("hrvision_env.dialogues"))
@pytest.mark.parametrize("prompt", ["brief", "paper"])
def test_only_the_pictures_differ(make, dialogue, crop, prompt):
    """Two boxes in a row, each asked of the original, and an answer."""
    turns = {"mgpo": 3, "free": 4, "crop_only": 2, "single_turn": 1}[dialogue]
    replies = [BOX, box(0, 0, 560, 420), "\\boxed{B}"] if turns > 2 else [BOX, "\\boxed{B}"]
    envs = [
        make(dialogue=dialogue, max_turns=turns, crop=kind, prompt=prompt)
        for kind in (crop, "real")
    ]
    steps = [play(env, "glove", *replies[:turns]) for env in envs]
    assert same_but_for_the_pictures(*envs)
    for (seen, *_, info), (real, *_, told) in zip(*steps, strict=True):
        assert set(info) == set(told) and info["boxes"] == told["boxes"]
        assert seen in envs[0].observation_space
        shown = 0 if crop == "none" and info["turn"] else len(real["images"])
        assert len(seen["images"]) == shown == seen["text"].count("<image>")
    assert steps[0][-1][2] and envs[0].episode.crop == crop


@pytest.mark.parametrize("crop", ["blank", "shuffled"])
def test_a_box_in_a_replaced_crop_lies_where_the_real_crop_would_be(make, crop):
    inner = box(250, 250, 750, 750)
    where = {}
    for kind in ("real", crop):
        env = make(dialogue="free", box_frame="last_image", box_dialect="relative_1000", crop=kind)
        *_, again = play(env, "glove", box(200, 300, 600, 700), inner)
        assert again[4]["n_crops"] == 2
        where[kind] = again[4]["box"]
    assert where[crop] == where["real"] == (360.0, 360.0, 600.0, 540.0)


@pytest.mark.parametrize("crop", ["random", "oracle"])
def test_a_box_in_a_crop_of_elsewhere_lies_where_that_was_cut(make, crop):
    env = make(dialogue="free", box_frame="last_image", box_dialect="relative_1000", crop=crop)
    *_, again = play(env, "glove", box(200, 300, 600, 700), box(0, 0, 1000, 1000))
    assert again[4]["box"] == env.running.frames[1].region != (240.0, 270.0, 720.0, 630.0)
    if crop == "oracle":
        assert again[4]["box"] == (100, 120, 220, 260)


def test_without_crops_the_last_image_is_the_view(make):
    env = make(dialogue="free", box_frame="last_image", box_dialect="relative_1000", crop="none")
    *_, again = play(env, "glove", box(200, 300, 600, 700), box(250, 250, 750, 750))
    assert again[4]["box"] == (300.0, 225.0, 900.0, 675.0)
    # And there is no crop to name.
    *_, named = play(env, "glove", box(200, 300, 600, 700), box(0, 0, 500, 500, image_index=1))
    assert named[4]["invalid_reason"] == "no_such_image"


def test_without_crops_crop_only_shows_nothing_at_all(make):
    env = make(dialogue="crop_only", crop="none")
    _, shown, end = play(env, "glove", BOX, "\\boxed{B}")
    assert shown[0]["images"] == () == env.running.frames and shown[4]["fresh"]
    assert end[1:3] == (1.0, True)


@pytest.mark.parametrize("crop", REPLACED)
def test_several_boxes_on_several_images(make_root, crop):
    gold = [{"box": [10, 20, 110, 220], "image_index": i} for i in range(2)]
    root = make_root(
        row(id="two", images=["photos/a.jpg", "photos/b.jpg"], boxes=gold),
        row(id="one", images=["photos/c.jpg"]),
    )
    both = json.dumps([{"bbox_2d": [0, 0, 280, 280 + i], "image_index": i} for i in (1, 0)])
    shown = {}
    for kind in (crop, "real"):
        env = HighResVQAEnv("jsonl", root=root, prompt="brief", max_boxes=2, crop=kind)
        shown[kind] = play(env, "two", both)[1]
        frames = env.running.frames[2:]
        assert [frame.image_index for frame in frames] == ([] if kind == "none" else [1, 0])
    assert shown[crop][4]["boxes"] == shown["real"][4]["boxes"]
    pictures = shown[crop][0]["images"]
    assert len(pictures) == shown[crop][4]["n_crops"] == (0 if crop == "none" else 2)
    if crop in ("blank", "random"):
        assert [p.size for p in pictures] == [p.size for p in shown["real"][0]["images"]]


@pytest.mark.parametrize("crop", CROPS)
def test_groups_share_what_is_shown(make_vec, crop):
    envs = make_vec(num_envs=4, group_size=2, crop=crop)
    envs.reset(options={"question_id": ["glove", "plate"]})
    observations, *_ = envs.step([BOX] * 4)
    pixels = [[image.tobytes() for image in images] for images in observations["images"]]
    assert pixels[0] == pixels[1] and pixels[2] == pixels[3]
    alone = HighResVQAEnv(dataset="jsonl", root=envs.sample(0).images[0].path.parents[1],
                          prompt="brief", crop=crop)  # fmt: skip
    (image, *_) = play(alone, "glove", BOX)[1][0]["images"] or (None,)
    assert pixels[0] == ([] if image is None else [image.tobytes()])
    again = envs.restart(1)
    assert again["images"][0] is not None and envs.active.all()
    observations, *_ = envs.step({1: BOX})
    assert [image.tobytes() for image in observations["images"][1]] == pixels[0]
    envs.close()


def test_a_group_without_gold_boxes_has_no_oracle(make_vec):
    envs = make_vec(num_envs=2, group_size=1, crop="oracle")
    with pytest.raises(ValueError, match="crop 'oracle': question 'count'"):
        envs.reset(options={"question_id": ["glove", "count"]})


@pytest.mark.parametrize("crop", REPLACED)
def test_pickles_copies_and_siblings_go_on(make, crop):
    env = make(crop=crop, dialogue="free")
    play(env, "glove", BOX)
    twins = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    sibling = env.sibling()
    play(sibling, "glove", BOX)
    expected = env.step(box(0, 0, 560, 420))[0]
    for twin in (*twins, sibling):
        assert data_equivalence(twin.step(box(0, 0, 560, 420))[0], expected, exact=True)


@pytest.mark.parametrize("crop", REPLACED)
def test_the_spec_survives_json_and_the_checker_is_content(make_root, crop):
    root = make_root(row(id="a"), row(id="b", images=["photos/b.jpg"]))
    env = gym.make(
        "HighResVQA-v0", dataset="jsonl", root=str(root), crop=crop, dialogue="free", **TINY
    )
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json())).unwrapped
    assert isinstance(again, HighResVQAEnv) and again.referee.cropper.crop == crop
    if crop not in ("none", "shuffled"):  # the checker takes its time
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(again)


@pytest.mark.parametrize(("crop", "opened"), [("none", 0), ("real", 1), ("blank", 1)])
def test_what_is_never_cut_is_not_opened_ahead(make, monkeypatch, crop, opened):
    env, asked = make(crop=crop), []
    store = env.referee.store
    monkeypatch.setattr(store, "prefetch", lambda refs, budget, originals: asked.append(originals))
    env.prefetch([0])
    assert asked == [bool(opened)]


@pytest.mark.parametrize("crop", REPLACED)
@pytest.mark.parametrize("dialogue", available("hrvision_env.dialogues"))
def test_scripted_agents_play_on_and_the_oracle_is_always_right(crop, dialogue):
    envs = HighResVQAVectorEnv(num_envs=6, dialogue=dialogue, crop=crop, **TINY)
    played = play_scripted(SCRIPTED["oracle"](), envs, range(6))
    assert all(episode.correct for _, episode in played)
    shown = [s.image for env in envs.envs for s in env.running.shown if s.is_crop]
    assert all(0 < image.width * image.height <= TINY["max_pixels"] for image in shown)
    assert bool(shown) == (crop != "none" and dialogue != "single_turn")
    if crop == "blank":
        assert all((np.asarray(image) == GREY).all() for image in shown)
    envs.close()
