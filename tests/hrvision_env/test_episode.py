"""One episode: what is shown, what leaks, what fails, and the record it leaves."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from PIL import Image

from hrvision_env import Episode, HighResVQAEnv, Outcome
from hrvision_env.dialogues import UserTurn
from hrvision_env.dialogues.mgpo import Dialogue as Mgpo
from hrvision_env.grading import Verdict
from hrvision_env.rendering import CANVAS

from .conftest import BOX, play, row

KEYS = {
    "question_id": str, "dataset": str, "split": str, "category": tuple, "image_size": tuple,
    "view_size": tuple, "turn": int, "max_turns": int, "outcome": str, "box": tuple, "boxes": tuple,
    "box_raw": tuple, "box_valid": bool, "invalid_reason": str, "crop_size": tuple,
    "n_crops": int, "answer": str, "correct": bool, "system": str, "error": str,
    "stop": tuple, "fresh": bool,
}  # fmt: skip


def test_a_box_brings_the_crop_of_the_original(make):
    env = make()
    start, shown, end = play(env, "glove", BOX, "\\boxed{B}")
    view = start[0]["images"][0]
    assert view.size == (1148, 840) == start[4]["view_size"]
    original = Image.open(env.sample.images[0].path)
    plain = original.resize((1148, 840), Image.Resampling.BICUBIC)
    assert view.tobytes() == plain.tobytes()
    # 280 of 1148 seen pixels are 292.7 of 1200, 140 of 840 are 150 of 900.
    box = (280 * 1200 / 1148, 300.0, 560 * 1200 / 1148, 450.0)
    assert shown[4]["box"] == pytest.approx(box) and shown[4]["box_raw"] == (280, 280, 560, 420)
    plain = original.resize((644, 336), Image.Resampling.BICUBIC, box=shown[4]["box"])
    assert shown[0]["images"][0].tobytes() == plain.tobytes()
    assert shown[1:4] == (0.0, False, False)
    assert end[0] == {"text": "", "images": ()} and end[1:4] == (1.0, True, False)
    assert end[4]["correct"] and end[4]["outcome"] == "correct" and end[4]["answer"] == "B"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I see it.", "no_json"),
        ("\\boxed{B}", "no_json"),
        ('[{"bbox_2d": [5, 5, 20, 20]}]', "too_small"),
        ('[{"bbox_2d": [0, 0, 2000, 400]}]', "outside"),
        ("", "empty"),
        ("x" * 2_000_000, "too_long"),
        ("[" * 50_000, "no_json"),
    ],
    ids=lambda text: text[:20],
)
def test_without_a_box_the_same_view_comes_again(make, reply, reason):
    """Also after an answer in the first turn: it neither ends the episode nor counts."""
    env = make()
    start, shown, end = play(env, "glove", reply, "\\boxed{B}")
    assert shown[0]["images"][0] is start[0]["images"][0]
    assert shown[0]["text"].startswith("No valid box.\n<image>\nWhat is the glove made of?\nA. ")
    assert shown[4]["invalid_reason"] == reason and not shown[4]["box_valid"]
    assert shown[4]["crop_size"] == () and shown[4]["box"] == () and shown[4]["n_crops"] == 0
    assert not shown[2] and end[1] == 1.0  # no penalty


def test_an_answer_in_the_first_turn_does_not_count(make):
    *_, end = play(make(), "glove", BOX + "\\boxed{B}", "I do not know")
    assert end[1] == 0.0 and end[4]["outcome"] == "no_answer"


def test_templates_are_never_graded(make):
    """The user's texts name \\boxed{} themselves; only the last reply counts."""
    env = make(prompt="paper")
    *_, end = play(env, "glove", BOX, "")
    assert "\\boxed{}" in env.episode.turns[1].text
    assert end[4]["outcome"] == "no_answer" and end[4]["answer"] == ""


def test_one_look(make):
    env = make(dialogue="single_turn")
    _, end = play(env, "glove", BOX + "\n\\boxed{B}")
    assert end[1:4] == (1.0, True, False)
    assert end[4]["box_valid"] and end[4]["crop_size"] == () and end[4]["n_crops"] == 0
    assert env.episode.boxes[0].width == pytest.approx(280 * 1200 / 1148)


def test_three_turns_cut_two_crops(make):
    env = make(max_turns=3)
    second = BOX.replace("560", "420")
    _, first, again, end = play(env, "glove", BOX, second, "B")
    assert first[4]["n_crops"] == 1 and again[4]["n_crops"] == 2
    assert again[4]["box_raw"] == (280, 280, 420, 420) and not again[2]
    assert end[2] and end[4]["turn"] == 3 == end[4]["max_turns"]
    assert [turn.crop_size for turn in env.episode.turns] == [(644, 336), (448, 476), None]


def test_free_answers_have_no_options(make):
    env = make()
    _, shown, end = play(env, "count", "nothing", "three")
    assert shown[0]["text"] == (
        "No valid box.\n<image>\nWhat is the glove made of?\nAnswer in \\boxed{}."
    )
    assert end[1] == 1.0


def test_the_info_keeps_its_keys_and_types(make):
    for replies in ((BOX, "B"), ("nothing", ""), ("nothing", "C")):
        for *_, info in play(make(), "glove", *replies):
            assert list(info) == list(KEYS)
            assert {key: type(value) for key, value in info.items()} == KEYS
            assert json.loads(json.dumps(info))


def test_stop_strings_belong_to_the_next_reply(make):
    for prompt, stop in (("brief", ("}]",)), ("paper", ("]\n```",))):
        infos = [step[4] for step in play(make(prompt=prompt), "glove", BOX, "B")]
        assert [info["stop"] for info in infos] == [stop, (), ()]
        assert bool(infos[0]["system"]) == (prompt == "paper")


def test_the_record_of_an_episode(make):
    env = make()
    play(env, "glove", BOX, "\\boxed{C}")
    episode = env.episode
    assert (episode.question_id, episode.dataset, episode.split) == ("glove", "jsonl", "test")
    assert (episode.dialogue, episode.prompt, episode.answer) == ("mgpo", "brief", "C")
    assert episode.outcome is Outcome.WRONG and episode.reward == 0.0
    assert episode.image_sizes == ((1200, 900),) and episode.view_sizes == ((1148, 840),)
    first, second = episode.turns
    assert first.reply == BOX and first.n_images == 1 and first.box.label == "there"
    assert second.reply == "\\boxed{C}" and second.box is None and second.invalid_reason == ""
    assert Episode.from_dict(json.loads(json.dumps(episode.to_dict()))) == episode


def test_all_images_of_a_sample_are_shown(make_root):
    two = row(id="two", images=["photos/a.jpg", "photos/b.jpg"])
    env = HighResVQAEnv("jsonl", root=make_root(two), prompt="brief")
    start, shown, _ = play(env, "two", BOX.replace('"label"', '"image_index": 1, "label"'), "B")
    assert start[0]["text"].count("<image>") == 2 == len(start[0]["images"])
    assert [box.image_index for box in env.episode.boxes] == [1]
    assert len(shown[0]["images"]) == 1 and shown[4]["box"][3] == pytest.approx(420 * 1000 / 1008)


# -- Gold


def test_the_gold_answer_never_leaks(make):
    env = make()
    steps = play(env, "plate", BOX, "?")
    for observation, _, _, _, info in steps:
        shown = json.dumps([observation["text"], info]) + repr(env)
        assert "SA 60" not in shown and "SA60" not in shown and "target" not in info
        assert all(image.info == {} for image in observation["images"])


def test_the_options_are_hidden_in_the_first_turn(make):
    start, shown, _ = play(make(prompt="paper"), "glove", BOX, "B")
    assert "cotton" not in start[0]["text"] + start[4]["system"]
    assert "B. cotton" in shown[0]["text"]


def test_the_target_is_exposed_on_demand(make):
    steps = play(make(expose_target=True), "plate", BOX, "?")
    assert [step[4]["target"] for step in steps] == [("SA 60", "SA60")] * 3


# -- Failures


def test_a_crop_that_fails_ends_the_episode(make):
    env = make()
    play(env, "glove")
    env.referee.store.clear()
    env.sample.images[0].path.write_bytes(b"broken")
    observation, reward, terminated, truncated, info = env.step(BOX)
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert (
        info["outcome"] == "error"
        and "a.jpg" in info["error"]
        and observation == {"text": "", "images": ()}
    )
    assert env.episode.outcome is Outcome.ERROR and "a.jpg" in env.episode.error
    assert env.episode.turns[0].reply == BOX and env.episode.turns[0].crop_size is None
    assert env.reset(options={"question_id": "count"})[1]["outcome"] == "open"


def broken_grader(sample, text):
    raise RuntimeError("no verdict")


def test_a_grader_that_fails_ends_the_episode(make):
    env = make(grader=f"{__name__}:broken_grader")
    *_, end = play(env, "glove", BOX, "B")
    assert end[4]["outcome"] == "error" and env.episode.error == "RuntimeError: no verdict"


def test_a_missing_image_is_named_at_reset(make, folder):
    env = make()
    (folder / "photos" / "a.jpg").unlink()
    with pytest.raises(ValueError, match=r"sample 'glove': image .*a\.jpg': the file does not exi"):
        env.reset(options={"question_id": "glove"})


def test_a_failure_outside_can_be_recorded(make):
    env = make()
    play(env, "glove", BOX)
    env.fail("engine: out of memory")
    assert env.episode.error == "engine: out of memory" and env.info()["outcome"] == "error"
    with pytest.raises(gym.error.ResetNeeded):
        env.step("B")


class Odd(Mgpo):
    """A dialogue with a mistake in its second turn."""

    mistake: Any = None

    def next(self, sample, reply):
        return type(self).mistake


class NoTurn(Odd):
    pass


class TooManyMarkers(Odd):
    mistake = UserTurn("<image> and <image>", show="views")


class CropsOfNothing(Odd):
    mistake = UserTurn("<image>", show="crops")


class Endless(Odd):
    mistake = UserTurn("Go on.", show="nothing")


@pytest.mark.parametrize(
    ("dialogue", "replies", "words"),
    [
        ("NoTurn", 1, "turn 1: got None, expected a UserTurn or an End"),
        ("TooManyMarkers", 1, "turn 1: its text has 2 <image> markers, expected 1, one per image"),
        ("CropsOfNothing", 1, "turn 1: shows crops, but the reply before it holds no valid box"),
        ("Endless", 2, "turn 2: goes on after its max_turns = 2 replies"),
    ],
)
def test_a_dialogue_that_is_wrong_is_named(make, dialogue, replies, words):
    env = make(dialogue=f"{__name__}:{dialogue}")
    *_, end = play(env, "glove", *["no box"] * replies)
    assert end[2] and end[4]["outcome"] == "error" and words in end[4]["error"]
    assert f"dialogue '{__name__}:{dialogue}'" in env.episode.error


def test_a_first_turn_that_is_wrong_is_an_error_of_reset(make, monkeypatch):
    monkeypatch.setattr(Mgpo, "first", lambda self, sample: UserTurn("no marker"))
    with pytest.raises(ValueError, match=r"'mgpo', turn 0: its text has 0 <image> markers, expec"):
        make().reset(seed=0)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (True, "grader: got True, expected a Verdict"),
        ((True, 7.0, "x", "match"), "score: got 7.0, expected 0 to 1"),
        ((True, float("nan"), "x", "match"), "score: got nan, expected 0 to 1"),
        ((False, 0.0, None, "match"), "extracted: got None, expected a str"),
    ],
)
def test_a_verdict_that_is_wrong_is_named(make, monkeypatch, verdict, words):
    def grade(sample, text):
        return Verdict(*verdict) if isinstance(verdict, tuple) else verdict

    env = make(grader=f"{__name__}:broken_grader")
    env.referee = replace(env.referee, grade=grade)
    *_, end = play(env, "glove", BOX, "B")
    assert end[1] == 0.0 and end[4]["outcome"] == "error" and words in end[4]["error"]


def test_answers_can_be_written_down_whatever_they_hold(make):
    *_, end = play(make(), "plate", BOX, "\\boxed{\ud800x}")
    assert end[4]["answer"] == "\ufffdx" and json.dumps(end[4], ensure_ascii=False).encode()


# -- Copies


@pytest.mark.parametrize("twin_of", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
def test_an_episode_can_be_copied_in_the_middle(make, twin_of):
    env = make()
    env.reset(seed=3)
    twin = twin_of(env)
    for reply in (BOX, "\\boxed{B}"):
        assert data_equivalence(env.step(reply), twin.step(reply), exact=True)
    assert twin.episode == env.episode
    assert data_equivalence(env.reset(), twin.reset(), exact=True)


# -- Pictures


def test_the_picture_follows_the_episode(make):
    env = make(render_mode="rgb_array", max_turns=3)
    pictures = [env.render()]
    play(env, "glove")
    pictures.append(env.render())
    for reply in (BOX, "no box", "\\boxed{B}"):
        env.step(reply)
        pictures.append(env.render())
    for before, after in itertools.pairwise(pictures):
        assert after.shape == CANVAS and after.dtype == np.uint8 and (before != after).any()
    assert make().render() is None


def test_the_words_follow_the_episode(make):
    env = make(render_mode="ansi")
    play(env, "glove", BOX, "\\boxed{B}")
    text = env.render()
    assert "What is the glove made of?" in text and "correct" in text and "bbox_2d" in text


class NoCrop(Mgpo):
    """A dialogue of another package: a box is asked for, and the whole image comes back."""

    def next(self, sample, reply):
        user = super().next(sample, reply)
        return replace(user, show="views") if isinstance(user, UserTurn) else user


def test_a_dialogue_decides_what_is_shown(make):
    env = make(dialogue=f"{__name__}:NoCrop")
    start, shown, end = play(env, "glove", BOX, "B")
    assert shown[0]["images"][0] is start[0]["images"][0] and shown[4]["box_valid"]
    assert (shown[4]["n_crops"], shown[4]["crop_size"]) == (0, ()) and end[1] == 1.0
