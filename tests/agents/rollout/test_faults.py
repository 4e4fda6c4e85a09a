"""What breaks, and what becomes of the run: a table of faults, interruptions and going on.

The replies are those of a real model. Every fault is put into an environment and an engine that
otherwise work, and what it leaves alone is compared with an undisturbed run, token by token.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from agents.rollout.chat import Chat
from agents.rollout.engines import Completion, Failure, Sampling, StopReason
from agents.rollout.engines.scripted import ScriptedEngine
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.loop import Group, rollout
from agents.rollout.stats import RolloutStats
from agents.vlm import VLM
from hrvision_env.records import Outcome

from . import faulty
from .conftest import script
from .faulty import Flaky, Memory, OneByOne, Where, Wrapped, check_same, flaky_env, make_env, where

pytestmark = pytest.mark.usefixtures("well")

SAMPLING = Sampling(max_tokens=6, seed=11)
QUESTIONS = [1, 0, 2]
SICK: Where = ("q1", 0, 1)
"""The reply at which the engine's faults strike: the second one of the first member."""


@pytest.fixture(scope="module")
def engine(qwen3_folder: str) -> TransformersEngine:
    return TransformersEngine(VLM.load(qwen3_folder))


@pytest.fixture(scope="module")
def undisturbed(engine: TransformersEngine) -> list[Group]:
    return rollout(flaky_env(), engine, SAMPLING, questions=QUESTIONS)


# -- The table


def at(spot: Where, reply: Any, times: int) -> Callable[[Any, int], Any]:
    """A fault of the engine at one reply, the first `times` times it is asked for."""
    return lambda chat, time: reply if where(chat) == spot and time <= times else None


def banned(engine: TransformersEngine) -> Completion:
    token = engine.codec.image
    return Completion([token], [-1.0], StopReason.LENGTH)


ALWAYS = 99
TIMED_OUT = Failure("timed out after 2 s, 17 tokens sampled")
WORKER = Failure("EngineDeadError: the worker died (exit code -9)")
TOO_LONG = Failure("prompt of 5,000 tokens does not fit the model's context", again=False)


@dataclass(frozen=True)
class Fault:
    """One row. `lost`: how many members of group q1 end with an error; `reason`: theirs."""

    name: str
    reply: Any = None
    """Of the engine at SICK; a callable gets the engine."""
    times: int = ALWAYS
    picture: int = 0
    """How often q1's image fails to be read."""
    step: int = 0
    """How often a step of q1 raises."""
    observe: int = 0
    """How often the observation of q1's member 0 cannot be tokenised after its first reply."""
    lost: int = 0
    reason: str = ""
    retries: int = 0
    """Replies asked for again and episodes begun anew, in all."""
    halved: int = 0
    """Batches that failed as a whole and were asked again in halves."""

    def __str__(self) -> str:
        return self.name


TABLE = [
    Fault("worker_died_and_came_back", reply=WORKER, times=1, retries=1),
    Fault("worker_stays_dead", reply=WORKER, lost=1, reason="EngineDeadError: .*-9", retries=1),
    Fault("timeout_once", reply=TIMED_OUT, times=1, retries=1),
    Fault("timeout_always", reply=TIMED_OUT, lost=1, reason="timed out after 2 s", retries=1),
    Fault("prompt_too_long", reply=TOO_LONG, lost=1, reason="prompt of 5,000 tokens"),
    Fault(
        "raises_once", reply=RuntimeError("CUDA error"), times=1, halved=1
    ),  # in halves it goes well
    Fault(
        "raises_for_one",
        reply=RuntimeError("CUDA error"),
        lost=1,
        reason="RuntimeError: CUDA error",
        retries=1,
        halved=4,  # twice each time: of three or four, of two
    ),
    Fault("banned_token_once", reply=banned, times=1, retries=1),
    Fault("banned_token_always", reply=banned, lost=1, reason="ValueError: reply 2", retries=1),
    Fault("image_fails_once", picture=1, retries=2),
    Fault("image_fails_always", picture=ALWAYS, lost=2, reason="ImageError: .*disk", retries=2),
    Fault("step_raises_once", step=1, retries=1),
    Fault("step_raises_always", step=ALWAYS, lost=2, reason="RuntimeError: no crop", retries=2),
    Fault("observation_unfit_once", observe=1, retries=1),
    Fault(
        "observation_unfit_always",
        observe=ALWAYS,
        lost=1,
        reason="ValueError: image: too odd",
        retries=1,
    ),
]


def prepare(fault: Fault, engine: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Put the faults of the environment in place; returns those of the engine."""
    monkeypatch.setattr(faulty, "picture", Flaky(fault.picture, OSError("disk"), "q1"))
    monkeypatch.setattr(faulty, "step", Flaky(fault.step, RuntimeError("no crop"), "q1"))
    observe, unfit = Chat.observe, Flaky(fault.observe, ValueError("image: too odd"))

    def watched(chat: Chat, *args: Any, **options: Any) -> None:
        if where(chat) == SICK:
            unfit()
        observe(chat, *args, **options)

    monkeypatch.setattr(Chat, "observe", watched)
    reply = fault.reply(engine) if callable(fault.reply) else fault.reply
    return at(SICK, reply, fault.times)


@pytest.mark.parametrize("kind", [Wrapped, OneByOne], ids=["batches", "continuous"])
@pytest.mark.parametrize("fault", TABLE, ids=str)
def test_a_fault_stays_where_it_is(
    fault: Fault,
    kind: type[Any],
    engine: TransformersEngine,
    undisturbed: list[Group],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind is OneByOne and fault.name == "raises_once":
        fault = replace(fault, retries=1)  # there is nobody to be asked without
    if kind is OneByOne:
        fault = replace(fault, halved=0)  # there are no batches
    sick = kind(engine, fault=prepare(fault, engine, monkeypatch))
    stats, env = RolloutStats(), flaky_env()
    groups = rollout(env, sick, SAMPLING, questions=QUESTIONS, stats=stats)
    check_same(groups[1:], undisturbed[1:])
    members = range(fault.lost, 2)
    assert [e.outcome is Outcome.ERROR for e in groups[0].episodes] == [
        member not in members for member in range(2)
    ]
    for member in members:  # siblings are what they would have been
        assert groups[0].episodes[member] == undisturbed[0].episodes[member]
        ours, theirs = (
            [t for t in group.trajectories if t.member == member]
            for group in (groups[0], undisturbed[0])
        )
        assert [t.token_ids.tolist() for t in ours] == [t.token_ids.tolist() for t in theirs]
    for member in range(fault.lost):
        episode = groups[0].episodes[member]
        assert episode.reward == 0 and re.search(fault.reason, episode.error)
    assert stats.errors == fault.lost == sum(stats.error_reasons.values())
    assert stats.retries == fault.retries == sum(c.retries for g in groups for c in g.costs)
    assert stats.batches_failed == fault.halved == sum(stats.batch_reasons.values())
    assert not env.active.any()


# -- The same by the model itself


def breaking_at(vlm: VLM, call: int, error: BaseException, monkeypatch: Any) -> None:
    """The model's `call`-th forward from now on raises, once."""
    forward, calls = vlm.hidden, iter(range(1, 10**9))

    def hidden(*args: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise error
        return forward(*args, **options)

    monkeypatch.setattr(vlm, "hidden", hidden)


@pytest.mark.parametrize("call", [1, 4, 9])
def test_an_engine_that_raises_in_the_middle_of_a_batch(
    call: int,
    engine: TransformersEngine,
    undisturbed: list[Group],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    breaking_at(engine.vlm, call, MemoryError("no room"), monkeypatch)
    stats = RolloutStats()
    groups = rollout(flaky_env(), engine, SAMPLING, questions=QUESTIONS, stats=stats)
    check_same(groups, undisturbed)  # asked in halves, all say what they would have said
    assert stats.errors == stats.retries == 0
    assert stats.batch_reasons == {"MemoryError": 1} and stats.batches_failed == 1


def test_prompts_that_do_not_fit_the_context(
    engine: TransformersEngine, undisturbed: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [t.token_ids[: t.loss_mask.nonzero()[0][-1]] for t in undisturbed[0].trajectories]
    monkeypatch.setattr(engine, "context", max(len(ids) for ids in first) - SAMPLING.max_tokens)
    stats = RolloutStats()
    groups = rollout(flaky_env(), engine, SAMPLING, questions=QUESTIONS, stats=stats)
    errors = [e.error for g in groups for e in g.episodes if e.outcome is Outcome.ERROR]
    assert errors and all("does not fit the model's context" in error for error in errors)
    # The first replies are kept; asking again would not have helped.
    assert all(len(e.turns) <= 1 for g in groups for e in g.episodes if e.error)
    assert stats.retries == 0 and stats.errors == len(errors)
    reason = "prompt of N tokens does not fit the model's context of N tokens"
    assert stats.error_reasons == {reason: len(errors)}


@pytest.mark.parametrize("kind", [Wrapped, OneByOne], ids=["batches", "continuous"])
def test_everybody_times_out(kind: type[Any], engine: TransformersEngine) -> None:
    stats, hasty = RolloutStats(), replace(SAMPLING, timeout=1e-9)
    groups = rollout(flaky_env(), kind(engine), hasty, questions=QUESTIONS, stats=stats, retries=2)
    assert [e.outcome for g in groups for e in g.episodes] == [Outcome.ERROR] * 6
    assert all(e.error.startswith("timed out after ") for g in groups for e in g.episodes)
    assert stats.retries == 12 and [len(g.trajectories) for g in groups] == [0, 0, 0]


def test_without_retries_nothing_is_tried_again(engine: TransformersEngine) -> None:
    stats = RolloutStats()
    sick = Wrapped(engine, at(SICK, WORKER, times=1))
    groups = rollout(flaky_env(), sick, SAMPLING, questions=[1], stats=stats, retries=0)
    assert groups[0].episodes[0].error == WORKER.reason and stats.retries == 0
    assert sick.asked[SICK] == 1


def test_nothing_of_a_given_up_attempt_stays(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = ScriptedEngine(engine.codec, script)
    (expected,) = rollout(flaky_env(), scripted, Sampling(), questions=[1])
    monkeypatch.setattr(faulty, "step", Flaky(1, RuntimeError("no crop"), "q1"))
    (group,) = rollout(flaky_env(), scripted, Sampling(), questions=[1])
    check_same([group], [expected])
    assert [t.stop_reason for t in group.episodes[0].turns] == ["stop", "eos"]
    assert [(c.turns, c.retries) for c in group.costs] == [(3, 1), (2, 0)]


# -- What ends the run


def test_a_continuous_engine_that_breaks_down_ends_the_run(
    engine: TransformersEngine, undisturbed: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, env, broken = Memory(), flaky_env(), OneByOne(engine)
    collect, replies = broken.collect, iter(range(10**9))

    def failing() -> list[Any]:
        if next(replies) == 9:
            raise ConnectionError("the engine is gone")
        return collect()

    monkeypatch.setattr(broken, "collect", failing)
    with pytest.raises(ConnectionError, match="the engine is gone"):
        rollout(env, broken, SAMPLING, questions=QUESTIONS, archive=archive)
    assert broken.waiting == [] and set(archive.groups) == {0, 1}
    groups = rollout(env, OneByOne(engine), SAMPLING, questions=QUESTIONS, archive=archive)
    check_same(groups, undisturbed)


def test_observations_that_fit_no_member_are_a_wrong_configuration(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = make_env(4, 2, factor=28, min_pixels=28 * 28, max_pixels=4 * 28 * 28)
    broken = OneByOne(engine)
    with pytest.raises(ValueError, match="multiples of 16"):
        rollout(env, broken, SAMPLING, questions=QUESTIONS)
    assert broken.events == []


def test_a_first_observation_that_does_not_fit_is_the_groups_own(
    engine: TransformersEngine, undisturbed: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    observe = Chat.observe

    def picky(chat: Chat, *args: Any, **options: Any) -> None:
        if chat.group == "q1" and not chat.replies:
            raise ValueError("image: too odd")
        observe(chat, *args, **options)

    monkeypatch.setattr(Chat, "observe", picky)
    stats = RolloutStats()
    groups = rollout(flaky_env(), engine, SAMPLING, questions=QUESTIONS, stats=stats)
    check_same(groups[1:], undisturbed[1:])
    assert [e.error for e in groups[0].episodes] == ["ValueError: image: too odd"] * 2
    assert groups[0].trajectories == () and stats.retries == 2
    assert stats.retry_reasons == {"ValueError": 2} == stats.error_reasons
