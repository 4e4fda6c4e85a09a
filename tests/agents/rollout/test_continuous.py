"""The loop on an engine that gives replies one by one: no lock-step, bounded memory, same result.

The replies are those of a real model; only their order is made up.
"""

import weakref
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from agents.rollout.batches import Batches
from agents.rollout.codec import Codec
from agents.rollout.engines import Sampling
from agents.rollout.engines.scripted import ScriptedEngine
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.loop import Group, play, rollout
from agents.vlm import VLM

from .conftest import script
from .faulty import OneByOne, check_same, make_env, where

SAMPLING = Sampling(max_tokens=8, seed=5)


@pytest.fixture
def scripted(qwen3_folder: str) -> ScriptedEngine:
    return ScriptedEngine(Codec.from_pretrained(qwen3_folder), script)


def last(waiting: list[Any]) -> int:
    return len(waiting) - 1


def at_random() -> Callable[[list[Any]], int]:
    rng = np.random.default_rng(0)
    return lambda waiting: int(rng.integers(len(waiting)))


def test_a_second_turn_does_not_wait_for_siblings(scripted: ScriptedEngine) -> None:
    engine = OneByOne(scripted, last)  # who was asked last is served first
    rollout(make_env(2, 2), engine, SAMPLING, questions=[0])
    assert engine.events == [
        ("ask", ("q0", 0, 0)),
        ("ask", ("q0", 1, 0)),
        ("reply", ("q0", 1, 0)),
        ("ask", ("q0", 1, 1)),  # while member 0 has not said anything yet
        ("reply", ("q0", 1, 1)),
        ("reply", ("q0", 0, 0)),
        ("ask", ("q0", 0, 1)),
        ("reply", ("q0", 0, 1)),
    ]


def test_a_free_place_goes_to_the_next_question_at_once(scripted: ScriptedEngine) -> None:
    # q0's member 0 is served only when nobody else waits.
    def others_first(waiting: list[Any]) -> int:
        return max(range(len(waiting)), key=lambda n: where(waiting[n])[:2] != ("q0", 0))

    engine = OneByOne(scripted, others_first)
    groups = list(play(make_env(4, 2), engine, SAMPLING, questions=[0, 1, 2, 3, 1]))
    assert [group.name for group in groups] == ["q1", "q2", "q3", "q1#2", "q0"]
    assert [group.index for group in groups] == [1, 2, 3, 4, 0]
    assert [group.question_id for group in groups] == ["q1", "q2", "q3", "q1", "q0"]


@pytest.mark.parametrize("choose", [last, at_random()], ids=["last", "random"])
def test_the_order_of_replies_changes_nothing(
    model_folder: str, choose: Callable[[list[Any]], int]
) -> None:
    real = TransformersEngine(VLM.load(model_folder))
    questions = [2, 0, 3, 0]
    one_by_one = OneByOne(real, choose)
    continuous = rollout(make_env(4, 2), one_by_one, SAMPLING, questions=questions)
    together = rollout(make_env(8, 2), real, SAMPLING, questions=questions)
    lock_step = rollout(make_env(4, 2), Batches(one_by_one), SAMPLING, questions=questions)
    assert [group.name for group in together] == ["q2", "q0", "q3", "q0#2"]
    check_same(continuous, together)
    check_same(lock_step, together)
    assert len({t.token_ids.tobytes() for g in together for t in g.trajectories}) == 8


def test_replies_come_in_any_order_and_results_in_that_of_the_questions(
    scripted: ScriptedEngine,
) -> None:
    seen: list[tuple[int, int]] = []
    groups = rollout(
        make_env(6, 2),
        OneByOne(scripted, at_random()),
        SAMPLING,
        questions=["q3", "q1", "q2", "q0", "q1"],
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [group.name for group in groups] == ["q3", "q1", "q2", "q0", "q1#2"]
    assert seen == [(n, 5) for n in range(1, 6)]


def test_no_more_groups_are_open_than_the_environment_has(scripted: ScriptedEngine) -> None:
    engine = OneByOne(scripted, at_random())
    finished: list[str] = []
    most = 0
    for group in play(make_env(6, 2), engine, SAMPLING, questions=[0, 1, 2, 3] * 5):
        finished.append(group.name)
        asked = {name for kind, (name, _, _) in engine.events if kind == "ask"}
        most = max(most, len(asked - set(finished)) + 1)
    assert len(finished) == 20 and len(set(finished)) == 20
    assert most == 3


def test_images_of_finished_groups_are_freed(scripted: ScriptedEngine) -> None:
    alive: dict[int, weakref.ref[Any]] = {}
    questions = [0, 1, 2, 3] * 3
    with closing(play(make_env(4, 2), OneByOne(scripted), SAMPLING, questions=questions)) as groups:
        for group in groups:
            for trajectory in group.trajectories:
                alive |= {id(image): weakref.ref(image) for image in trajectory.images}
            del group, trajectory
            # Also while other groups are open: the caller held the last references.
            assert [ref for ref in alive.values() if ref() is not None] == []
    assert len(alive) > 0


def test_what_is_given_up_leaves_nothing_behind(scripted: ScriptedEngine) -> None:
    engine, env = OneByOne(scripted), make_env(4, 2)
    with closing(play(env, engine, SAMPLING, questions=[0, 1, 2, 3])) as groups:
        first: Group = next(groups)
        assert engine.waiting
    assert not engine.waiting
    again = rollout(env, engine, SAMPLING, questions=[0, 1, 2, 3])
    check_same([first], again[:1])
    assert not engine.waiting and not env.active.any()


@pytest.mark.parametrize("kind", [OneByOne, Batches])
def test_new_weights_while_groups_are_open_are_refused(
    scripted: ScriptedEngine, kind: Callable[[Any], Any]
) -> None:
    # Fault of an earlier version: trajectories of two policies that named the first one.
    def uneven(chat: Any) -> str:  # q0 is done after one reply of each member, the others go on
        return r"\boxed{A}" if chat.group == "q0" else script(chat)

    scripted.reply = uneven
    engine, env = kind(scripted), make_env(4, 2, dialogue="free")
    with closing(play(env, engine, Sampling(), questions=[0, 1, 2])) as groups:
        assert next(groups).name == "q0"
        engine.load_weights(None, version=1)
        with pytest.raises(RuntimeError, match=r"version 1 while group 'q1' is open.*version 0"):
            next(groups)
    assert (engine._waiting if kind is Batches else engine.waiting) == []
    again = rollout(env, engine, Sampling(), questions=[0, 1, 2])
    assert {t.policy_version for g in again for t in g.trajectories} == {1}


def test_new_weights_between_two_groups_are_no_matter_of_those_to_come(
    scripted: ScriptedEngine,
) -> None:
    engine = OneByOne(scripted)
    with closing(play(make_env(2, 2), engine, SAMPLING, questions=[0, 1])) as groups:
        versions = []
        for version, group in enumerate(groups, 1):  # one group at a time: none is open here
            versions.append({t.policy_version for t in group.trajectories})
            engine.load_weights(None, version)
    assert versions == [{0}, {1}]


def test_who_waits_costs_nothing_but_time(scripted: ScriptedEngine) -> None:
    (group,) = rollout(make_env(2, 2), OneByOne(scripted, last), SAMPLING, questions=[0])
    first, second = group.costs
    assert (first.tokens, first.turns, first.retries) == (16, 2, 0)
    assert first.seconds_engine > second.seconds_engine > 0  # the first was served last
    assert first.seconds_env > 0


def test_a_reply_that_nobody_waits_for_is_refused(scripted: ScriptedEngine) -> None:
    class Twice(OneByOne):
        def collect(self) -> list[Any]:
            return super().collect() * 2

    engine = Twice(scripted)
    with pytest.raises(ValueError, match="got a reply for member 0 of group 'q0'"):
        rollout(make_env(2, 2), engine, SAMPLING, questions=[0])
    assert not engine.waiting
