"""The loop on the real environment: groups, failures, and what crosses into training."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents.head import logprobs_of
from agents.prefix import Row, trained_hidden
from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.engines import Reply, Sampling
from agents.rollout.engines.scripted import ScriptedEngine
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.loop import RolloutStats, play, rollout
from agents.vlm import VLM
from hrvision_env.records import Box, Outcome

from . import faulty
from .conftest import script
from .faulty import OneByOne, make_env
from .questions import BOX, BOX_TEXT


@pytest.fixture
def scripted(qwen3_folder: str) -> ScriptedEngine:
    return ScriptedEngine(Codec.from_pretrained(qwen3_folder), script)


@pytest.fixture(scope="module")
def engine(model_folder: str) -> TransformersEngine:
    return TransformersEngine(VLM.load(model_folder))


def test_two_turns_by_script(scripted: ScriptedEngine) -> None:
    stats = RolloutStats()
    groups = rollout(make_env(), scripted, Sampling(), questions=[2, 0, 1], stats=stats)
    assert [group.question_id for group in groups] == ["q2", "q0", "q1"]
    for group in groups:
        assert group.sample.id == group.question_id
        rewards = [1.0, 1.0] if group.question_id == "q0" else [1.0, 0.0]
        assert [e.reward for e in group.episodes] == rewards
        assert [t.reward for t in group.trajectories] == rewards
        assert [t.member for t in group.trajectories] == [0, 1]
        for trajectory, episode in zip(group.trajectories, group.episodes, strict=True):
            assert trajectory.episode is episode and trajectory.group == group.question_id
            assert episode.turns[0].box == Box(*BOX)
            assert [turn.stop_reason for turn in episode.turns] == ["stop", "eos"]
    assert stats.episodes == 6 and stats.errors == 0 and stats.valid_box_rate == 1.0
    assert stats.stop_reasons == {"stop": 6, "eos": 6}
    # Byte by byte, with "}]" as one token: 34 and then \boxed{A} with its end, 9 + 1.
    assert len(scripted.codec.encode(BOX_TEXT)) == 34
    assert stats.sampled_tokens == 6 * (34 + 10)
    assert stats.total_tokens == sum(len(t) for g in groups for t in g.trajectories)


def test_turn_one_ends_at_the_stop_string(scripted: ScriptedEngine) -> None:
    # Fault of the reference code: turn 1 runs on and what follows the box is thrown away later.
    (group,) = rollout(make_env(), scripted, Sampling(), questions=[0])
    for trajectory, episode in zip(group.trajectories, group.episodes, strict=True):
        assert episode.turns[0].reply == BOX_TEXT
        said = trajectory.token_ids[trajectory.loss_mask].tolist()
        end = [*scripted.codec.encode(r"\boxed{A}"), scripted.codec.im_end]
        assert said == [*scripted.codec.encode(BOX_TEXT), *end]


def test_siblings_share_their_opening(scripted: ScriptedEngine) -> None:
    (group,) = rollout(make_env(), scripted, Sampling(), questions=[1])
    one, two = group.trajectories
    assert one.images[0] is two.images[0]  # encoded once for the group
    assert one.prefix == two.prefix and len(one.images) == len(two.images) == 2
    assert np.array_equal(one.token_ids[: one.prefix], two.token_ids[: two.prefix])
    assert one.images[1] is two.images[1]  # the same box, so the same crop
    assert one.images[1].hash != one.images[0].hash


def test_a_refused_box_brings_the_view_again(qwen3_folder: str) -> None:
    engine = ScriptedEngine(Codec.from_pretrained(qwen3_folder), lambda _: r"\boxed{B}")
    stats = RolloutStats()
    (group,) = rollout(make_env(), engine, Sampling(), questions=[1], stats=stats)
    for trajectory in group.trajectories:  # not encoded again, and kept in memory once
        assert trajectory.images[1] is trajectory.images[0] is group.trajectories[0].images[0]
    assert stats.valid_box_rate == 0.0 and stats.stop_reasons == {"eos": 4}
    assert [episode.outcome for episode in group.episodes] == [Outcome.CORRECT] * 2


def test_what_the_engine_sampled_is_what_training_gets(engine: TransformersEngine) -> None:
    # Faults of the reference code: replies encoded again, and other positions in training than
    # in the rollout. 12 tokens of a random model are no box, so turn 2 shows the view again.
    sampling = Sampling(max_tokens=12, temperature=0.8, seed=3)
    groups = rollout(make_env(), engine, sampling, questions=[0, 1, 2])
    trajectories = [t for group in groups for t in group.trajectories]
    assert len(trajectories) == 6
    sampled = np.concatenate([t.logprobs[t.loss_mask] for t in trajectories])
    vlm = engine.vlm
    with torch.no_grad():
        hidden, targets = trained_hidden(
            vlm,
            [Row(t.token_ids, t.images, t.prefix) for t in trajectories],
            [t.loss_mask for t in trajectories],
        )
        trained = logprobs_of(hidden, vlm.lm_head, targets, 0.8, vlm.codec.banned)
    assert np.abs(sampled - trained.numpy()).max() < 1e-4
    for trajectory in trajectories:
        assert trajectory.temperature == 0.8 and trajectory.loss_mask.sum() <= 24
        said = trajectory.loss_mask.astype(np.int8)
        starts, ends = (np.flatnonzero(np.diff(said, append=0) == edge) for edge in (1, -1))
        spans = zip(starts, ends, strict=True)
        ids = [trajectory.token_ids[a + 1 : b + 1].tolist() for a, b in spans]
        replies = [turn.reply for turn in trajectory.episode.turns]
        assert [vlm.codec.reply_text(part) for part in ids] == replies


def test_draws_differ_between_members_and_repeated_questions(engine: TransformersEngine) -> None:
    sampling = Sampling(max_tokens=8, seed=1)
    groups = rollout(make_env(), engine, sampling, questions=[0, 0])
    assert [group.question_id for group in groups] == ["q0", "q0"]
    assert {t.group for group in groups for t in group.trajectories} == {"q0", "q0#2"}
    said = {t.token_ids.tobytes() for group in groups for t in group.trajectories}
    assert len(said) == 4
    again = rollout(make_env(8, 2), engine, sampling, questions=[3, 0, 0])
    assert {t.token_ids.tobytes() for group in again[1:] for t in group.trajectories} == said


def test_more_questions_than_places(scripted: ScriptedEngine) -> None:
    seen: list[tuple[int, int]] = []
    groups = rollout(
        make_env(),
        scripted,
        Sampling(),
        questions=[0, 1, 2, 3, 0],
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [group.question_id for group in groups] == ["q0", "q1", "q2", "q3", "q0"]
    assert seen == [(n, 5) for n in range(1, 6)]
    assert rollout(make_env(), scripted, Sampling(), questions=[]) == []


def test_images_to_come_are_opened_in_rounds(scripted: ScriptedEngine) -> None:
    # The image store drops what was not used for two rounds: rounds of one question each would
    # throw out what open groups still need.
    for engine, rounds in (
        (scripted, [[0, 1], [2, 3], [0, 1], [2]]),
        (OneByOne(scripted), [[0, 1], [2, 3], [0], [1], [2]]),
    ):
        env, seen = make_env(), list[list[int]]()
        env.prefetch = lambda questions, seen=seen: seen.append(list(questions))  # type: ignore
        rollout(env, engine, Sampling(), questions=[0, 1, 2, 3, 0, 1, 2])
        assert seen == rounds
    env, seen = make_env(8, 2), []
    env.prefetch = lambda questions: seen.append(list(questions))  # type: ignore
    rollout(env, OneByOne(scripted), Sampling(), questions=[0, 1, 2, 3] * 3)
    assert [len(questions) for questions in seen] == [4, 4, 2, 2]
    seen.clear()
    rollout(env, OneByOne(scripted), Sampling(), questions=[3])
    assert seen == []  # a single one has nothing to be opened beside


def test_the_first_images_are_opened_side_by_side(
    scripted: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)  # whoever reads an image waits until another one is read too
    monkeypatch.setattr(faulty, "picture", lambda question: both.wait(timeout=20))
    env = make_env(dataset=f"{faulty.__name__}:load")
    groups = rollout(env, scripted, Sampling(), questions=[0, 1], retries=0)
    assert [e.error for g in groups for e in g.episodes] == [""] * 4


@pytest.mark.parametrize("bad", [4, "nobody"])
def test_a_question_that_does_not_exist_is_found_first(
    scripted: ScriptedEngine, bad: int | str
) -> None:
    # Fault of an earlier version: it was found when its turn came, and what was played was lost.
    engine, env = OneByOne(scripted), make_env()
    known: list[Any] = [0, 1, 2] if isinstance(bad, int) else ["q0", "q1", "q2"]
    with pytest.raises((IndexError, KeyError), match=f"{bad}"):
        rollout(env, engine, Sampling(), questions=[*known, bad])
    with pytest.raises((IndexError, KeyError), match=f"{bad}"):
        play(env, engine, Sampling(), questions=[*known, bad])
    assert engine.events == [] and not env.active.any()


def test_a_question_that_cannot_be_graded_is_found_first(scripted: ScriptedEngine) -> None:
    engine, env = OneByOne(scripted), make_env(dataset=f"{faulty.__name__}:load_mixed")
    for one in env.envs:  # a grader that serves choices alone
        one.referee = replace(one.referee, kinds=frozenset({"choice"}))
    with pytest.raises(ValueError, match="question 'q3': got answer_kind 'short', expected choice"):
        rollout(env, engine, Sampling(), questions=[0, 1, 2, 3])
    assert engine.events == [] and not env.active.any()


class Failing(ScriptedEngine):
    """Breaks down whenever certain (group, member, turn) take part."""

    def __init__(self, codec: Codec, broken: set[tuple[str, int, int]]) -> None:
        super().__init__(codec, script)
        self.broken = broken

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[Reply]:
        for chat in chats:
            if (chat.group, chat.member, chat.replies) in self.broken:
                raise MemoryError(f"no room for {len(chat.token_ids)} tokens")
        return super().generate(chats, sampling)


def test_a_failing_member_leaves_its_siblings_alone(scripted: ScriptedEngine) -> None:
    engine = Failing(scripted.codec, {("q1", 0, 1), ("q0", 1, 0)})
    stats = RolloutStats()
    groups = rollout(make_env(), engine, Sampling(), questions=[0, 1], stats=stats)
    first, second = groups
    assert [e.outcome for e in first.episodes] == [Outcome.CORRECT, Outcome.ERROR]
    assert [e.outcome for e in second.episodes] == [Outcome.ERROR, Outcome.WRONG]
    assert second.episodes[0].error.startswith("MemoryError: no room for ")
    # q0's member 1 never said anything; q1's member 0 said its box.
    assert [t.member for t in first.trajectories] == [0]
    assert [t.member for t in second.trajectories] == [0, 1]
    failed = second.trajectories[0]
    assert failed.reward == 0.0 and failed.loss_mask.sum() == 34
    assert stats.errors == 2 and stats.episodes == 4


def test_a_failure_of_everybody_is_raised(scripted: ScriptedEngine) -> None:
    everybody = {(f"q{n}", member, 0) for n in range(2) for member in range(2)}
    with pytest.raises(MemoryError, match="no room"):
        rollout(make_env(), Failing(scripted.codec, everybody), Sampling(), questions=[0, 1])


def test_a_missing_image_fails_its_group_alone(scripted: ScriptedEngine) -> None:
    stats = RolloutStats()
    env = make_env(broken=1)
    bad, good = rollout(env, scripted, Sampling(), questions=[1, 2], stats=stats)
    assert [e.outcome for e in bad.episodes] == [Outcome.ERROR] * 2
    assert "nowhere.png" in bad.episodes[0].error and bad.trajectories == ()
    assert [e.reward for e in good.episodes] == [1.0, 0.0]
    assert stats.errors == 2 and stats.valid_box_rate == 0.5


def test_an_environment_for_another_model_is_refused(scripted: ScriptedEngine) -> None:
    env = make_env(factor=28, min_pixels=28 * 28, max_pixels=4 * 28 * 28)
    with pytest.raises(ValueError, match="multiples of 16"):
        rollout(env, scripted, Sampling(), questions=[0])


def test_a_single_turn_is_one_reply(qwen3_folder: str) -> None:
    engine = ScriptedEngine(
        Codec.from_pretrained(qwen3_folder), lambda _: BOX_TEXT + "\n\\boxed{C}"
    )
    env = make_env(dialogue="single_turn")
    (group,) = rollout(env, engine, Sampling(), questions=[2])
    assert [len(episode.turns) for episode in group.episodes] == [1, 1]
    assert [trajectory.reward for trajectory in group.trajectories] == [1.0, 1.0]
    assert len(group.trajectories[0].images) == 1


def test_versions_are_noted(scripted: ScriptedEngine) -> None:
    scripted.load_weights(None, version=5)
    (group,) = rollout(make_env(), scripted, Sampling(), questions=[0])
    assert {t.policy_version for t in group.trajectories} == {5}


def test_a_hidden_view_is_not_in_the_second_trajectory(scripted: ScriptedEngine) -> None:
    stats = RolloutStats()
    env = make_env(dialogue="crop_only")
    (group,) = rollout(env, scripted, Sampling(), questions=[1], stats=stats)
    assert [t.member for t in group.trajectories] == [0, 0, 1, 1]
    assert [t.reward for t in group.trajectories] == [1.0, 1.0, 0.0, 0.0]
    look, read, other, _ = group.trajectories
    assert [len(t.images) for t in (look, read)] == [1, 1]
    assert look.images[0] is other.images[0] and look.images[0].hash != read.images[0].hash
    text = scripted.codec.decode(read.token_ids.tolist())
    assert "Give the box" not in text and BOX_TEXT not in text and r"\boxed{B}" in text
    assert stats.sampled_tokens == 2 * (34 + 10)
    assert stats.total_tokens == sum(len(t) for t in group.trajectories)


def test_a_single_text_that_cannot_be_tokenised_is_data(
    scripted: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is the only question, as when an interrupted rollout goes on."""
    observe = Chat.observe

    def broken(chat: Chat, text: str, *more: Any, **options: Any) -> None:
        observe(chat, text.replace("Question 0", "Question \ud800"), *more, **options)

    monkeypatch.setattr(Chat, "observe", broken)
    (group,) = rollout(make_env(), scripted, Sampling(), questions=[0])
    assert [e.outcome for e in group.episodes] == [Outcome.ERROR] * 2
    assert "surrogate" in group.episodes[0].error
