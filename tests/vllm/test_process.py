"""vLLM's core in a process of its own: weights through a folder, and what happens when it dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from agents.rollout.engines import Failure, Sampling
from agents.vlm import VLM

from ..agents.rollout.engines.talking import (
    TOLERANCE,
    changed_weights,
    distance,
    openings,
    say,
    two_turns,
)
from .conftest import Opener

pytestmark = pytest.mark.timeout(900)
"""Seconds: every start imports vLLM in three processes."""


@pytest.fixture(scope="module")
def folder(folder_of: Any) -> str:
    """Tied, the harder case: vLLM on a CPU has two copies of the embedding."""
    return folder_of("qwen3_vl")


@pytest.fixture(scope="module")
def engine(open_vllm: Opener, folder: str) -> Any:
    return open_vllm(folder, own_process=True, max_restarts=2)


def core_processes(engine: Any) -> list[int]:
    """Ids of the processes of vLLM's core."""
    return [p.pid for p in engine.core.engine_core.resources.engine_manager.processes]


def workers(pid: int) -> list[int]:
    """Ids of the processes that a core's process has started, and those that they have."""
    children = [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(grandchild for child in children for grandchild in workers(child))]


def kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_it_is_another_process_and_samples_the_same(engine: Any, folder: str, open_vllm: Opener):
    assert core_processes(engine) != [os.getpid()]
    sampling = Sampling(max_tokens=8, seed=3)
    here = open_vllm(folder)
    chats = two_turns(engine, sampling)
    assert [c.token_ids for c in chats] == [c.token_ids for c in two_turns(here, sampling)]
    assert distance(VLM.load(folder), chats) < TOLERANCE


def test_weights_travel_through_a_folder(engine: Any, folder: str, tmp_path: Any):
    sampling = Sampling(max_tokens=6, seed=1)
    for seed in (1, 2):
        changed = changed_weights(folder, seed)
        engine.load_weights(changed, seed)
        assert engine.sync.way == "folder"
        chats = two_turns(engine, sampling)
        assert distance(changed, chats) < TOLERANCE
        assert {chat.policy_version for chat in chats} == {seed}
    changed.save(tmp_path)
    engine.load_weights(folder, 3)
    assert distance(VLM.load(folder), two_turns(engine, sampling)) < TOLERANCE
    engine.load_weights(tmp_path, 4)
    assert distance(changed, two_turns(engine, sampling)) < TOLERANCE


@pytest.mark.parametrize("victim", ["core", "worker"])
def test_a_killed_process_costs_what_was_under_way(engine: Any, folder: str, victim: str):
    changed = changed_weights(folder, 5)
    engine.load_weights(changed, 5)
    sampling = Sampling(max_tokens=400, seed=2)
    chats = openings(engine, (3, 1))
    for chat in chats:
        engine.submit(chat, sampling)
    victims = core_processes(engine)
    kill(victims if victim == "core" else workers(victims[0]))
    replies: list[Any] = []
    while len(replies) < len(chats):
        replies += [reply for _, reply in engine.collect()]
    failures = [reply for reply in replies if isinstance(reply, Failure)]
    assert failures and all(f.again for f in failures)
    assert all(f.reason.startswith("vLLM's engine process died: ") for f in failures)
    # Opened again, with the weights that were loaded last.
    fresh = openings(engine, (2,))
    say(engine, fresh, Sampling(max_tokens=6))
    assert distance(changed, fresh) < TOLERANCE
    assert engine.policy_version == 5


def test_too_many_deaths_are_an_error(engine: Any):
    assert engine.restarts == 2
    engine.submit(openings(engine, (1,))[0], Sampling(max_tokens=400))
    kill(core_processes(engine))
    with pytest.raises(RuntimeError, match="died 3 times, 2 restarts are allowed"):
        while True:
            engine.collect()
