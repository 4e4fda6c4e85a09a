"""Tokens with what they were worth, for people."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.engines import Completion, StopReason
from agents.training.algorithm import get_algorithm
from agents.training.credit import credit
from agents.training.pieces import IMAGE, pieces_of, worth_of
from hrvision_env.records import Episode, Outcome
from hrvision_env.trace import Piece, Trace, TraceWriter

from ..conftest import FACTOR, noise_image
from .conftest import episode_of
from .groups import group_of
from .played import play


@pytest.fixture(scope="module")
def codec(qwen3_folder) -> Codec:
    return Codec.from_pretrained(qwen3_folder)


def said(codec: Codec, text: str, logprob: float) -> Completion:
    ids = [*codec.encode(text), codec.im_end]
    return Completion(ids, [logprob] * len(ids), StopReason.EOS)


def group_with(codec: Codec, texts: list[str], rewards: list[float], **more: Any) -> Any:
    """A group of one turn, a sibling per text; its replies have log-probs of -0.5."""
    opening = Chat(codec, group="q")
    opening.observe("Look: <image>?", [noise_image(3 * FACTOR, 2 * FACTOR, 0)])
    trajectories = []
    for member, text in enumerate(texts):
        chat = opening.fork(member)
        chat.reply(said(codec, text, -0.5))
        trajectories += chat.trajectories(episode_of("q", rewards[member]))
    return replace(group_of(trajectories, rewards, **more), name="q")


def worth(group: Any, name: str = "dr_grpo") -> Any:
    algorithm = get_algorithm(name)
    return worth_of(credit([group], algorithm, next(iter(algorithm.presets.values())))[0])


def test_every_token_and_what_it_was_worth(codec):
    group = group_with(codec, ["red", "blue?"], [1.0, 0.0])
    for member, advantage in enumerate((0.5, -0.5)):  # 1 and 0 around their mean
        ((*told, end),) = pieces_of(group, member, codec, worth(group))
        ids = group.trajectories[member].collapsed_ids
        assert len(told) + 1 == len(ids)
        assert end == Piece("<|im_end|>", True, -0.5, advantage)
        reply = [piece for piece in told if piece.trained]
        assert "".join(piece.text for piece in reply) == ["red", "blue?"][member]
        assert {(p.logprob, p.advantage) for p in reply} == {(-0.5, advantage)}
        before = "".join(piece.text for piece in told if not piece.trained)
        opening = "<|im_start|>user\nLook: <|vision_start|><image><|vision_end|>?<|im_end|>\n"
        assert before == opening + "<|im_start|>assistant\n"
        assert [piece.text for piece in told].count(IMAGE) == 1


def test_what_was_not_trained_on_has_no_advantage(codec):
    group = group_with(codec, ["a", "b", "c"], [1.0, 0.0, 0.0], failed=(2,))
    ((*_, end),) = pieces_of(group, 2, codec, worth(group))
    assert end == Piece("<|im_end|>", True, -0.5, None)
    constant = group_with(codec, ["a", "b"], [1.0, 1.0])
    assert pieces_of(constant, 0, codec, {})[0][-1].advantage is None
    assert pieces_of(constant, 0, codec, worth(constant))[0][-1].advantage == 0.0
    assert pieces_of(replace(constant, trajectories=()), 0, codec, {}) == ()


def test_odd_numbers_and_parts_of_characters(codec, tmp_path):
    text = "\U0001f9ed</script>\x00"
    group = group_with(codec, [text, "b"], [1.0, 0.0])
    (tokens,) = pieces_of(group, 0, codec, worth(group))
    assert any("\ufffd" in piece.text for piece in tokens)  # four bytes, more than one token
    episode = Episode(
        "q", "test", "test", "mgpo", "brief", "", ((64, 64),), ((64, 64),), (), Outcome.WRONG, 0.0
    )
    TraceWriter(tmp_path).append(replace(record(episode), tokens=(tokens,)))
    assert [r.tokens for r in Trace(tmp_path)] == [(tokens,)]


def record(episode: Episode) -> Any:
    from hrvision_env.trace import Record

    return Record(episode=episode)


@pytest.mark.parametrize("dialogue", ["mgpo", "crop_only", "free"])
def test_replies_have_advantages_of_their_own_in_every_dialogue(codec, dialogue):
    for siblings in play(codec, dialogue):
        found = worth_of([siblings])
        whole = group_of([c.trajectory for c in siblings], [0.0] * len(siblings))
        whole = replace(whole, name=siblings[0].trajectory.group)
        for member in {c.trajectory.member for c in siblings}:
            own = [c for c in siblings if c.trajectory.member == member]
            told = pieces_of(whole, member, codec, found)
            assert len(told) == len(own)  # a conversation each
            advantages = [p.advantage for pieces in told for p in pieces if p.trained]
            expected = [float(a) for c in own for a in c.token_advantages]
            assert len(advantages) == len(expected) > 0
            assert advantages == pytest.approx(expected, rel=1e-5)
