"""Ctrl-C anywhere: nothing is left behind, and the same call goes on where it was."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.rollout.archive import Archive
from agents.rollout.chat import Chat
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.loop import Group, rollout
from agents.rollout.stats import RolloutStats
from agents.vlm import VLM

from . import child, faulty
from .faulty import Flaky, OneByOne, Wrapped, check_same, flaky_env, make_env
from .test_faults import SAMPLING, breaking_at

pytestmark = pytest.mark.usefixtures("well")

QUESTIONS = [0, 1, 2, 3, 0]
STOP = KeyboardInterrupt()


@pytest.fixture(scope="module")
def engine(qwen3_folder: str) -> TransformersEngine:
    return TransformersEngine(VLM.load(qwen3_folder))


@pytest.fixture(scope="module")
def uninterrupted(engine: TransformersEngine) -> list[Group]:
    return rollout(flaky_env(), engine, SAMPLING, questions=QUESTIONS)


def in_engine(call: int) -> Callable[..., None]:
    def put(engine: TransformersEngine, archive: Any, patch: pytest.MonkeyPatch) -> None:
        breaking_at(engine.vlm, call, STOP, patch)

    return put


def in_step(question: str) -> Callable[..., None]:
    def put(engine: TransformersEngine, archive: Any, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(faulty, "step", Flaky(1, STOP, question))

    return put


def in_reset(engine: TransformersEngine, archive: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(faulty, "picture", Flaky(1, STOP, "q1"))


def in_observe(number: int) -> Callable[..., None]:
    def put(engine: TransformersEngine, archive: Any, patch: pytest.MonkeyPatch) -> None:
        observe, calls = Chat.observe, iter(range(1, 10**9))

        def stopping(chat: Chat, *args: Any, **options: Any) -> None:
            observe(chat, *args, **options)
            if next(calls) == number:
                raise STOP

        patch.setattr(Chat, "observe", stopping)

    return put


def in_write(written: bool) -> Callable[..., None]:
    def put(engine: TransformersEngine, archive: Archive, patch: pytest.MonkeyPatch) -> None:
        write = archive.write

        def stopping(group: Group) -> None:
            if written:
                write(group)
            raise STOP

        patch.setattr(archive, "write", stopping)

    return put


MOMENTS: dict[str, Callable[..., None]] = {
    "first forward": in_engine(1),
    "between two tokens": in_engine(5),
    "in a later wave": in_engine(30),
    "first step": in_step("q0"),
    "step of a later question": in_step("q3"),
    "while an image is opened": in_reset,
    "after the first observation": in_observe(1),
    "after a second turn's observation": in_observe(5),
    "before a group is written": in_write(False),
    "after a group is written": in_write(True),
}


@pytest.mark.parametrize("kind", [Wrapped, OneByOne], ids=["batches", "continuous"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_and_on(
    moment: str,
    kind: type[Any],
    engine: TransformersEngine,
    uninterrupted: list[Group],
    tmp_path: Path,
) -> None:
    archive, env, watched = Archive(tmp_path, {"seed": 11}), flaky_env(), kind(engine)
    with pytest.MonkeyPatch.context() as patch:
        MOMENTS[moment](engine, archive, patch)
        with pytest.raises(KeyboardInterrupt):
            rollout(env, watched, SAMPLING, questions=QUESTIONS, archive=archive)
    assert kind is Wrapped or watched.waiting == []
    kept = list(archive)
    check_same(kept, [uninterrupted[group.index] for group in kept])
    watched.asked.clear()
    stats, seen = RolloutStats(), list[tuple[int, int]]()
    groups = rollout(
        env,
        watched,
        SAMPLING,
        questions=QUESTIONS,
        archive=archive,
        stats=stats,
        progress=lambda done, total: seen.append((done, total)),
    )
    check_same(groups, uninterrupted)
    assert {name for name, _, _ in watched.asked}.isdisjoint(group.name for group in kept)
    assert stats.groups_read == len(kept) and stats.groups == len(QUESTIONS) - len(kept)
    assert seen == [(n, 5) for n in range(1, 6)] and len(archive) == 5


def test_moments_differ_in_what_is_kept(engine: TransformersEngine, tmp_path: Path) -> None:
    kept = {}
    for n, (moment, put) in enumerate(MOMENTS.items()):
        archive = Archive(tmp_path / str(n), {"seed": 11})
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            put(engine, archive, patch)
            rollout(flaky_env(), engine, SAMPLING, questions=QUESTIONS, archive=archive)
        kept[moment] = len(archive)
    assert kept["first forward"] == kept["before a group is written"] == 0
    assert kept["after a group is written"] == 1
    assert kept["step of a later question"] == 2  # the first two were whole


def test_a_finished_rollout_is_read_and_asks_nothing(
    engine: TransformersEngine, uninterrupted: list[Group], tmp_path: Path
) -> None:
    archive = Archive(tmp_path, {"seed": 11})
    rollout(flaky_env(), engine, SAMPLING, questions=QUESTIONS, archive=archive)
    watched = Wrapped(engine)
    groups = rollout(make_env(4, 2), watched, SAMPLING, questions=QUESTIONS, archive=archive)
    check_same(groups, uninterrupted)
    assert not watched.asked


def test_a_real_sigint(qwen3_folder: str, engine: TransformersEngine, tmp_path: Path) -> None:
    command = [sys.executable, "-m", child.__name__, qwen3_folder, str(tmp_path)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=Path(__file__).parents[3], **pipes) as running:
        assert running.stdout is not None
        first = [running.stdout.readline() for _ in range(2)]
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate()
    assert running.returncode == -signal.SIGINT, errors
    assert "KeyboardInterrupt" in errors
    assert first == ["1 of 24\n", "2 of 24\n"]
    archive = Archive(tmp_path, child.MANIFEST)
    kept = len(archive)
    assert 2 <= kept < 24
    stats = RolloutStats()
    resumed = child.play_on(engine, archive, stats=stats)
    assert (stats.groups_read, stats.groups) == (kept, 24 - kept)
    check_same(resumed, child.play_on(engine))
