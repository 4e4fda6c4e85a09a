"""Runs with several processes that are interrupted, killed or let down by a server: real processes,
real signals, real requests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import workers
from benchmarks.processes import only_one
from benchmarks.run import main
from tests.agents.rollout.engines.openai_server import ChatServer, Refuse, Say

from .conftest import ENV, ROOT
from .crew import nothing, stubborn, work
from .test_openai_agent import PRICES, two_turns

pytest.importorskip("openai")

DATASETS = ["synthetic:test", "synthetic:ood", "synthetic:test,seed=3", "synthetic:test,seed=4"]
LIMIT, AT_ONCE, PROCESSES = 6, 2, 2
QUESTIONS = LIMIT * len(DATASETS)


def slowly(request: dict[str, Any]) -> Say:
    time.sleep(0.1)
    return two_turns(request)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    running = ChatServer(slowly)
    yield running
    running.stop()


@pytest.fixture
def words(server: ChatServer, tmp_path: Path) -> list[str]:
    engine = {"name": "openai", "url": server.url, "model": "m", "retries": 0, **PRICES}
    engine["concurrency"] = AT_ONCE
    values = {"engine": engine, "env": {**ENV, "dialogue": "mgpo"}, "rollout": {"retries": 0}}
    (tmp_path / "served.yaml").write_text(yaml.safe_dump(values))
    found = ["--agents", f"gpt={tmp_path / 'served.yaml'}", "--datasets", *DATASETS]
    found += ["--limit", str(LIMIT), "--workers", str(PROCESSES)]
    return [*found, "--out", str(tmp_path / "out")]


@pytest.fixture
def start(words: list[str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the benchmark in a session of its own."""
    running: list[subprocess.Popen[str]] = []

    def begin(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.run", *words, *more]
        one = subprocess.Popen(
            command,
            cwd=ROOT,
            start_new_session=True,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        running.append(one)
        return one

    yield begin
    for one in running:
        for process in in_session(one.pid):
            os.kill(process, signal.SIGKILL)
        one.communicate()


def in_session(leader: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has just ended
            continue
        if int(session) == leader and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "out" / "episodes.jsonl"
    return [json.loads(line) for line in path.open()] if path.exists() else []


def finish(words: list[str], server: ChatServer, tmp_path: Path) -> None:
    """Go on, and see that nothing was asked for twice that had been answered."""
    before = rows(tmp_path)
    server.script = two_turns
    assert main([*words, "--resume"]) == 0
    after = rows(tmp_path)
    assert len(after) == QUESTIONS
    assert all(row in after for row in before)
    broken_off = AT_ONCE * PROCESSES
    assert 2 * QUESTIONS <= len(server.asked) <= 2 * QUESTIONS + broken_off


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["the first process", "all"])
def test_ctrl_c_ends_all_processes_and_keeps_what_they_played(server, words, start, tmp_path, whom):
    run = start()
    wait_until(lambda: len(rows(tmp_path)) >= 4)
    there, asked = len(rows(tmp_path)), len(server.asked)
    send = os.killpg if whom == "all" else os.kill
    send(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=30)
    assert (run.returncode, said) == (130, "")
    wait_until(lambda: in_session(run.pid) == [], 5)
    assert there <= len(rows(tmp_path)) < QUESTIONS
    # Those that were being written when the signal came, and no round after them.
    assert len(server.asked) - asked <= 2 * AT_ONCE * PROCESSES
    finish(words, server, tmp_path)


@pytest.mark.slow
def test_processes_end_with_a_parent_that_was_killed(server, words, start, tmp_path):
    run = start()
    wait_until(lambda: len(rows(tmp_path)) >= 4)
    with pytest.raises(SystemExit):  # the folder is taken
        main([*words, "--resume"])
    os.kill(run.pid, signal.SIGKILL)
    run.wait(30)
    asked = len(server.asked)
    wait_until(lambda: in_session(run.pid) == [], 10)
    assert len(server.asked) - asked <= 2 * AT_ONCE * PROCESSES
    finish(words, server, tmp_path)


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_run_in_one_line(server, words, start, tmp_path):
    run = start()
    wait_until(lambda: len(rows(tmp_path)) >= 4)
    there = len(rows(tmp_path))
    worker = next(
        process
        for process in in_session(run.pid)
        if b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    )
    os.kill(worker, signal.SIGKILL)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 2
    assert said == "benchmarks.run: a process died, killed by signal 9; out of memory?\n"
    assert there <= len(rows(tmp_path)) < QUESTIONS
    finish(words, server, tmp_path)


@pytest.mark.slow
def test_a_server_that_goes_away_loses_nothing_that_was_played(server, words, tmp_path, capsys):
    left = iter(range(20))
    server.script = lambda request: slowly(request) if next(left, None) is not None else Refuse(401)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "look at the key" in said
    asked = server.asked[:]
    answered = [request for request in asked[:20] if len(request["messages"]) > 2]
    # Whoever was answered last may have been broken off by the other process's failure.
    assert len(answered) - AT_ONCE * PROCESSES <= len(rows(tmp_path)) < QUESTIONS
    refused = len(asked) - 20
    assert 1 <= refused <= AT_ONCE * PROCESSES
    server.script, before = two_turns, len(asked)
    assert main([*words, "--resume"]) == 0
    assert len(rows(tmp_path)) == QUESTIONS
    assert len(server.asked) - before <= 2 * QUESTIONS - 20 + AT_ONCE * PROCESSES


def test_a_folder_is_for_one_run_at_a_time(tmp_path, capsys):
    words = ["--agents", "random", "--limit", "1", "--out", str(tmp_path)]
    with only_one(tmp_path):
        for more in ([], ["--resume"]):
            with pytest.raises(SystemExit) as stopped:
                main([*words, *more])
            assert stopped.value.code == 2
            assert "another run is at work in this folder" in capsys.readouterr().err
    assert main(words) == 0


def test_parts_arrive_with_the_number_of_their_item():
    found: dict[int, list[int]] = {0: [], 1: [], 2: []}
    workers.run(work, [5, 6, 7], 2, lambda number, part: found[number].append(part), nothing)
    assert found == {0: [5, 50], 1: [6, 60], 2: [7, 70]}


def test_an_error_is_raised_here_whatever_it_is_made_of():
    found: list[int] = []
    with pytest.raises(RuntimeError, match="Untold: not portable") as raised:
        workers.run(work, [1, 3], 1, lambda number, part: found.append(part), nothing)
    assert found == [1, 10]
    assert "in work" in raised.value.__notes__[0]


def test_a_process_that_does_not_end_when_asked_is_killed(monkeypatch):
    monkeypatch.setattr(workers, "GRACE_SECONDS", 0.2)
    found: list[int] = []

    def interrupt(number: int, process: int) -> None:
        found.append(process)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workers.run(stubborn, [0], 1, interrupt, nothing)
    with pytest.raises(ProcessLookupError):
        os.kill(found[0], 0)
