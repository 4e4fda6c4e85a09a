"""Training episodes that are kept for people, with what the policy saw."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agents.config_sections import Tracking
from agents.rollout.codec import Codec
from agents.rollout.engines import Sampling, StopReason
from agents.rollout.engines.scripted import ScriptedEngine
from agents.rollout.loop import rollout
from agents.training.pieces import IMAGE
from agents.training.shown import choose, forget_after, keep
from agents.training.tracking import Tracker
from agents.training.trainer import Trainer
from hrvision_env.__main__ import main as hrvision
from hrvision_env.trace import EPISODES, Trace, TraceWriter
from hrvision_env.vector import HighResVQAVectorEnv

from ..conftest import FACTOR
from .conftest import small_run

BOX = '[{"bbox_2d": [250, 500, 500, 750]}]'
PIXELS = 24 * FACTOR**2


def group_of(name: str, *rewards: float) -> Any:
    """What `choose` looks at."""
    return SimpleNamespace(name=name, episodes=[SimpleNamespace(reward=r) for r in rewards])


def chosen(groups, count):
    return [(group.name, member) for group, member in choose(groups, count)]


def test_right_and_wrong_siblings_are_shown_side_by_side():
    groups = [group_of("a", 0, 0), group_of("b", 0, 1, 0), group_of("c", 1, 0), group_of("d", 1, 1)]
    assert chosen(groups, 1) == [("b", 1)]
    assert chosen(groups, 2) == [("b", 1), ("b", 0)]
    assert chosen(groups, 4) == [("b", 1), ("b", 0), ("c", 0), ("c", 1)]
    assert chosen(groups, 6) == [*chosen(groups, 4), ("a", 0), ("d", 0)]
    # The others of a group are shown where there is room: equal rewards, other replies.
    assert chosen(groups, 9) == [*chosen(groups, 6), ("a", 1), ("d", 1)]
    assert chosen(groups[:1], 4) == [("a", 0), ("a", 1)] and chosen([], 4) == []


@pytest.fixture(scope="module")
def played(qwen3_folder):
    """An environment with two groups of two that have just played; every second answer differs."""
    codec = Codec.from_pretrained(qwen3_folder)

    def reply(chat):
        return BOX if not chat.replies else rf"\boxed{{{'AB'[chat.member]}}}"

    env = HighResVQAVectorEnv(
        num_envs=6, group_size=2, dialogue="mgpo", factor=FACTOR, min_pixels=PIXELS,
        max_pixels=PIXELS, box_dialect="relative_1000", min_box=2, box_parser="strict",
    )  # fmt: skip
    engine = ScriptedEngine(codec, reply)
    groups = rollout(env, engine, Sampling(), questions=[4, 2])  # the third place stays idle
    return env, groups


def test_an_episode_is_kept_as_it_was_played(played, tmp_path):
    env, groups = played
    pairs = [(groups[0], 1), (groups[1], 0)]
    shown = keep(tmp_path / "run", 25, pairs, env, drawn=True)
    trace = Trace(tmp_path / "run")
    records = list(trace)
    for (group, member), record, one in zip(pairs, records, shown, strict=True):
        assert record.episode == group.episodes[member] == one.record.episode
        assert (record.agent, record.step) == ("run", 25)
        assert (record.sampled, record.draw) == (True, member)
        assert record.measures["valid_box"] == record.measures["crops"] == 1
        assert record.gold == group.sample.boxes and record.tokens == ()
        assert [turn.stop_reason for turn in record.episode.turns] == [StopReason.EOS] * 2
        (view,), (crop,) = record.pictures
        assert view.region is None and crop.region is not None
        assert crop.size == record.episode.turns[0].crop_size
        for picture in (view, crop):
            assert trace.read(picture)
        (original,) = record.originals
        with Image.open(tmp_path / "run/originals" / original.file) as image:
            assert image.size == original.size == group.sample.images[0].make().size
        assert one.picture is not None
        assert one.picture.shape == (720, 1280, 3) and one.picture.dtype == np.uint8
    assert records[0].episode.answer == "B" and records[1].episode.answer == "A"
    first, second = (np.asarray(one.picture) for one in shown)
    assert (first != second).any()


def test_without_the_environment_the_texts_are_kept(played, tmp_path):
    env, groups = played
    (one,) = keep(tmp_path, 1, [(groups[0], 0)], None, drawn=True)
    (record,) = Trace(tmp_path)
    assert one.picture is None and record.pictures == ()
    assert record.episode == groups[0].episodes[0] and record.question == groups[0].sample.question
    fresh = HighResVQAVectorEnv(num_envs=2, group_size=2, factor=FACTOR)  # has played nothing
    elsewhere = replace(groups[1].episodes[0], reward=-1.0, turns=())
    foreign = replace(groups[1], episodes=(elsewhere,))  # read from an archive, half-way resumed
    for group, where in ((groups[0], fresh), (foreign, env)):
        (one,) = keep(tmp_path, 1, [(group, 0)], where, drawn=True)
        assert one.picture is None and one.record.pictures == ()
    (one,) = keep(tmp_path, 1, [(groups[0], 0)], env, drawn=False)
    assert one.picture is None and len(one.record.pictures) == 2


def test_a_resumed_run_drops_what_it_plays_again(played, tmp_path):
    env, groups = played
    for step in (1, 25, 50):
        keep(tmp_path, step, [(groups[0], 0)], env, drawn=False)
    TraceWriter(tmp_path).write(env.envs[0].running)  # somebody else's, without a step
    with (tmp_path / EPISODES).open("a") as file:
        file.write('{"question_id": "cut of')
    forget_after(tmp_path, 30)
    trace = Trace(tmp_path)
    assert [record.step for record in trace] == [1, 25, None] and not trace.broken
    forget_after(tmp_path / "nothing here", 30)


def test_a_reply_with_an_odd_line_end_stays_when_a_run_resumes(played, tmp_path):
    env, groups = played
    turn = replace(groups[0].episodes[0].turns[-1], reply="A\u2028B\x85C\x0cD")
    episode = replace(groups[0].episodes[0], turns=(turn,))
    keep(tmp_path, 3, [(replace(groups[0], episodes=(episode,)), 0)], env, drawn=False)
    forget_after(tmp_path, 3)
    assert [record.episode for record in Trace(tmp_path)] == [episode]


def test_a_run_can_be_looked_at(qwen3_folder, tmp_path, capsys):
    tracking = {"episodes_every": 2, "episodes": 3}
    config = small_run(qwen3_folder, optim={"steps": 4}, eval={"every": 0}, tracking=tracking)
    assert Trainer(config, tmp_path).fit()
    records = list(Trace(tmp_path))
    assert [record.step for record in records] == [1, 1, 1, 2, 2, 2, 4, 4, 4]
    assert {record.agent for record in records} == {tmp_path.name}
    for record in records:
        (pieces,) = record.tokens
        trained = [piece for piece in pieces if piece.trained]
        assert len(trained) == 4 * len(record.episode.turns)  # rollout.max_tokens is 4
        advantages = {piece.advantage for piece in trained}
        assert len(advantages) == 1 and None not in advantages
        assert all(piece.logprob is not None and piece.logprob <= 0 for piece in trained)
        others = {(piece.logprob, piece.advantage) for piece in pieces if not piece.trained}
        assert others == {(None, None)} and IMAGE in {piece.text for piece in pieces}
    right = [r.episode.correct for r in records[:2]]
    signs = [(r.tokens[0][-1].advantage or 0) > 0 for r in records[:2]]
    assert right == signs == [True, False]
    assert hrvision(["view", str(tmp_path)]) == 0
    assert "9 episodes, 9 with pictures" in capsys.readouterr().out


@pytest.mark.parametrize("tracking", [{"episodes_every": 0}, {"episodes": 0}])
def test_none_are_kept_where_none_are_wanted(qwen3_folder, tmp_path, tracking):
    config = small_run(qwen3_folder, optim={"steps": 1}, eval={"every": 0}, tracking=tracking)
    assert Trainer(config, tmp_path).fit()
    assert not (tmp_path / EPISODES).exists() and not (tmp_path / "images").exists()


def test_pictures_that_cannot_be_kept_end_no_run(played, tmp_path, capsys):
    env, groups = played
    (tmp_path / "images").write_text("a file where a folder should be")
    tracker = Tracker(tmp_path, Tracking(episodes_every=1), {})
    tracker.played(1, groups, env)
    tracker.played(2, groups, env)
    assert capsys.readouterr().out.count("warning: tracking: episodes.jsonl: FileExistsError") == 1
