"""The same episodes in other processes: forked, spawned, and with other hash seeds."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hrvision_env import HighResVQAEnv, HighResVQAVectorEnv
from hrvision_env.plugins import available

from .conftest import TINY

DIALOGUES = available("hrvision_env.dialogues")
REPLIES = ('[{"bbox_2d": [300, 300, 700, 700]}]', "none", "\\boxed{B}", "\\boxed{A}", "")
ROOT = Path(__file__).resolve().parents[2]


def digest(*said: Any) -> str:
    """Of observations and infos: every text, every pixel, every key in its order."""
    seen = hashlib.sha256()
    for item in said:
        if isinstance(item, dict):
            seen.update(digest(*(part for pair in item.items() for part in pair)).encode())
        elif isinstance(item, tuple | list):
            seen.update(digest(*item, len(item)).encode())
        elif hasattr(item, "tobytes"):
            seen.update(repr(item.size).encode() + item.tobytes())
        else:
            seen.update(repr(item).encode())
    return seen.hexdigest()


def play(env: HighResVQAEnv, seed: int) -> list[str]:
    """Digests of everything that is said in the question of a seed and in the next one."""
    digests = []
    for drawn in (seed, None):
        digests.append(digest(env.reset(seed=drawn)))
        for reply in REPLIES:
            digests.append(digest(env.step(reply)))
            if not env.running.open:
                break
    return digests


def play_everywhere(seed: int) -> dict[str, list[str]]:
    """Every dialogue in an environment of this process's own."""
    return {name: play(HighResVQAEnv(dialogue=name, **TINY), seed) for name in DIALOGUES}


def go_on(envs: HighResVQAVectorEnv, queue: Any) -> None:
    """In a child: answer, begin again, answer."""
    said = [envs.step([REPLIES[2]] * 4), envs.reset(seed=8), envs.step([REPLIES[0]] * 4)]
    queue.put([digest(*map(str, one[1:]), one[0]) for one in said])


# A fork of a process with threads is warned of; here it is what is tested.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_environment_made_in_a_child_plays_alike(method):
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        results = pool.map(play_everywhere, [3, 4])
    assert results == [play_everywhere(3), play_everywhere(4)]
    assert results[0] != results[1]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_environment_of_the_parent_goes_on_in_a_child(method):
    """With open episodes, a warm image cache and a thread that decodes ahead."""
    context = multiprocessing.get_context(method)
    envs = HighResVQAVectorEnv(num_envs=4, group_size=2, **TINY)
    envs.reset(seed=7)
    envs.step([REPLIES[0]] * 4)
    envs.prefetch(range(8))
    queue = context.Queue()
    child = context.Process(target=go_on, args=(envs, queue))
    child.start()
    there = queue.get(timeout=120)
    child.join(timeout=120)
    assert child.exitcode == 0
    here: Any = multiprocessing.get_context("spawn").SimpleQueue()
    go_on(envs, here)  # the parent's own episodes are as they were
    assert here.get() == there


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_while_another_thread_opens_images_does_not_hang():
    env = HighResVQAEnv(**TINY)
    stop = threading.Event()

    def work() -> None:
        other = HighResVQAEnv(**TINY)
        index = 0
        while not stop.is_set():
            other.reset(options={"index": index % 50})
            env.prefetch([index % 50])
            index += 1

    thread = threading.Thread(target=work)
    thread.start()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    try:
        for _ in range(5):
            child = context.Process(target=lambda: queue.put(play(env, 3)))
            child.start()
            assert queue.get(timeout=60) == play_everywhere(3)["mgpo"]
            child.join(timeout=60)
            assert child.exitcode == 0
    finally:
        stop.set()
        thread.join()


def test_the_hash_seed_changes_nothing():
    code = (
        "import json, sys\n"
        "from tests.hrvision_env.test_processes import play_everywhere\n"
        "print(json.dumps([play_everywhere(seed) for seed in range(3)]))\n"
    )
    runs = []
    for hash_seed in ("0", "1", "424242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        runs.append(json.loads(done.stdout))
    assert runs[0] == runs[1] == runs[2] == [play_everywhere(seed) for seed in range(3)]
    assert len({json.dumps(one) for one in runs[0]}) == 3
    assert set(runs[0][0]) == set(DIALOGUES)
