"""One run per folder, whatever became of the one before."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from agents.training.run_lock import LOCK, RunLock
from agents.training.trainer import Trainer

from .conftest import small_run

HOLD = """
    import sys, time
    from pathlib import Path
    from agents.training.run_lock import RunLock
    lock = RunLock(Path(sys.argv[1]))
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `tmp_path`."""
    words = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        yield child
        child.kill()


def test_a_second_run_is_refused_by_name(holder, tmp_path):
    expected = rf"another run is writing into it \(process {holder.pid} on .+, since 20"
    with pytest.raises(ValueError, match=expected):
        RunLock(tmp_path)


def test_what_a_killed_run_left_is_taken_over(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).is_file()
    lock = RunLock(tmp_path)
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    lock.close()


def test_a_folder_that_is_given_back_is_free(tmp_path):
    RunLock(tmp_path).close()
    words = [sys.executable, "-c", textwrap.dedent(HOLD).replace("60", "0"), str(tmp_path)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "held\n"


def test_a_second_run_of_the_same_process_is_refused(tmp_path):
    """And the first one's lock still holds against other processes."""
    first = RunLock(tmp_path / "run")
    with pytest.raises(ValueError, match="another run of this process is writing into it"):
        RunLock(tmp_path / "run" / ".." / "run")
    words = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path / "run")]
    other = subprocess.run(words, capture_output=True, text=True, check=False)
    assert other.returncode == 1 and f"another run is writing into it (process {os.getpid()}" in (
        other.stderr
    )
    first.close()
    RunLock(tmp_path / "run").close()


def test_without_locks_of_the_file_system_a_run_goes_on(tmp_path, monkeypatch):
    import fcntl

    asked = []

    def missing(*_):
        asked.append(True)
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "lockf", missing)
    RunLock(tmp_path).close()
    assert asked, "the lock was not asked for"
    RunLock(tmp_path).close()  # and it is free again


def test_a_run_in_a_folder_that_is_held_does_not_start(holder, qwen3_folder, tmp_path):
    with pytest.raises(ValueError, match=f"another run is writing into it .process {holder.pid} "):
        Trainer(small_run(qwen3_folder, resume="auto"), tmp_path)
    holder.kill()
    holder.wait()
    config = small_run(qwen3_folder, resume="auto", optim={"steps": 1}, eval={"every": 0})
    assert Trainer(config, tmp_path).fit()
