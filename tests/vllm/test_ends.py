"""How vLLM's process can end, or fail to: on being told to, asleep, hung, at the keyboard."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.rollout.engines import Completion, Failure, ModelSource, Sampling, vllm
from agents.vlm import VLM

from ..agents.rollout.engines.talking import TOLERANCE, distance, openings, say, tokens, two_turns
from .conftest import OPTIONS
from .test_lora import adapted
from .test_process import core_processes, workers

pytestmark = pytest.mark.timeout(900)
"""Seconds: every start imports vLLM in three processes."""

LONG = Sampling(max_tokens=400, seed=2)


@pytest.fixture(scope="module")
def folder(folder_of: Callable[[str], str]) -> str:
    return folder_of("qwen3_vl untied")


@pytest.fixture(scope="module")
def policy(folder: str) -> VLM:
    return adapted(folder, 3)


@pytest.fixture(scope="module")
def engine(folder: str, policy: VLM) -> Iterator[Any]:
    """Two replies at a time, adapters served, which every restart must bring back."""
    given = {**OPTIONS, "max_num_seqs": 2, "lora": "served", "max_lora_rank": 8}
    source = ModelSource(path=folder, policy=policy)
    opened = vllm.open_engine(source, vllm.Options(**given, own_process=True, max_restarts=20))
    opened.load_weights(policy, 1)
    yield opened
    opened.close()


def answers(engine: Any, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        found += [reply for _, reply in engine.collect()]
    return found


def check_it_works(engine: Any, policy: VLM) -> None:
    """With the adapters that were served before."""
    fresh = openings(engine, (2, 1))
    say(engine, fresh, Sampling(max_tokens=6))
    assert distance(policy, fresh) < TOLERANCE


def test_adapters_are_served_from_another_process(engine: Any, policy: VLM, folder: str):
    chats = two_turns(engine, Sampling(max_tokens=6, seed=1))
    assert distance(policy, chats) < TOLERANCE
    assert distance(VLM.load(folder), chats) > 0.05


def test_single_requests_end_as_in_this_process(engine: Any, policy: VLM):
    slow, quick = openings(engine, (2,))
    engine.submit(slow, Sampling(max_tokens=400, seed=1, timeout=0.05))
    engine.submit(quick, Sampling(max_tokens=3, seed=1))
    replies = answers(engine, 2)
    assert sorted(type(reply).__name__ for reply in replies) == ["Completion", "Failure"]
    for chat in openings(engine, (4,)):
        engine.submit(chat, LONG)
    engine._step()
    engine.cancel()
    assert engine.collect() == []
    check_it_works(engine, policy)


def test_the_keyboard_does_not_reach_the_core(engine: Any, policy: VLM):
    victims = core_processes(engine)
    for pid in (*victims, *workers(victims[0])):
        os.kill(pid, signal.SIGINT)
    time.sleep(1)
    check_it_works(engine, policy)
    assert core_processes(engine) == victims and engine.restarts == 0


def test_a_core_that_is_told_to_end_gives_no_half_replies(engine: Any, policy: VLM):
    """Two replies have begun, two wait; vLLM sends what it has of each."""
    chats = openings(engine, (4,))
    whole = tokens(engine, chats, LONG)
    restarts, victims = engine.restarts, workers_and_core(engine)
    for chat in chats:
        engine.submit(chat, LONG)
    for _ in range(5):
        engine._step()
    os.kill(victims[0], signal.SIGTERM)
    for reply in answers(engine, len(chats)):
        if isinstance(reply, Completion):
            assert reply.token_ids in whole
        else:
            assert isinstance(reply, Failure) and reply.again
    assert engine.restarts == restarts + 1
    assert not any(os.path.exists(f"/proc/{pid}") for pid in victims)
    check_it_works(engine, policy)


def workers_and_core(engine: Any) -> list[int]:
    (core,) = core_processes(engine)
    return [core, *workers(core)]


def test_an_image_that_the_core_has_lost_fails_once(engine: Any, policy: VLM):
    check_it_works(engine, policy)
    engine.core.engine_core.reset_mm_cache()  # the other side alone
    engine.core.reset_encoder_cache()
    engine.core.reset_prefix_cache()
    chats = openings(engine, (2, 1))
    failed = [r for r in engine.generate(chats, Sampling(max_tokens=3)) if isinstance(r, Failure)]
    assert all(reply == Failure("vLLM ended the request: error", again=True) for reply in failed)
    assert failed
    check_it_works(engine, policy)


def test_a_core_that_dies_asleep_is_opened_again(
    engine: Any, policy: VLM, monkeypatch: pytest.MonkeyPatch
):
    """On a CPU nothing sleeps; the calls reach a dead core all the same."""
    monkeypatch.setattr(engine, "on_cpu", False)
    asleep = engine.options.model_copy(update={"enable_sleep_mode": True})
    monkeypatch.setattr(engine, "options", asleep)
    restarts = engine.restarts
    os.kill(core_processes(engine)[0], signal.SIGKILL)
    engine.sleep()
    engine.wake()
    assert engine.restarts == restarts + 1
    check_it_works(engine, policy)
    # New weights for one that has died are the only ones that it gets.
    os.kill(core_processes(engine)[0], signal.SIGKILL)
    changed = adapted(str(engine.sync.model), 8)
    engine.load_weights(changed, 2)
    assert engine.restarts == restarts + 2 and engine.policy_version == 2
    check_it_works(engine, changed)
    engine.load_weights(policy, 1)


def test_a_core_that_hangs_is_ended(engine: Any, policy: VLM, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vllm, "GRACE", 1.0)
    restarts, chats = engine.restarts, openings(engine, (2,))
    for chat in chats:
        engine.submit(chat, Sampling(max_tokens=400, seed=2, timeout=1.0))
    engine._step()
    os.kill(core_processes(engine)[0], signal.SIGSTOP)
    replies = answers(engine, len(chats))
    assert all(isinstance(reply, Failure) and "timed out" in reply.reason for reply in replies)
    assert engine.restarts == restarts + 1
    check_it_works(engine, policy)


def test_opening_again_is_tried_again(engine: Any, policy: VLM, monkeypatch: pytest.MonkeyPatch):
    """As where the dead process's GPU memory is not free yet."""
    monkeypatch.setattr(vllm, "PAUSE", 0.0)
    tries: list[int] = []
    open_core, restarts = engine._open_core, engine.restarts

    def second_time_lucky() -> Any:
        tries.append(len(tries))
        if len(tries) == 1:
            raise ValueError("Free memory on device is less than desired")
        return open_core()

    monkeypatch.setattr(engine, "_open_core", second_time_lucky)
    engine.submit(openings(engine, (1,))[0], LONG)
    os.kill(core_processes(engine)[0], signal.SIGKILL)
    (reply,) = answers(engine, 1)
    assert isinstance(reply, Failure) and reply.reason.startswith("vLLM's engine process died: ")
    assert tries == [0, 1] and engine.restarts == restarts + 2
    check_it_works(engine, policy)
