"""Nothing of the vLLM engine stays behind: folders of weights, processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agents.rollout.engines import _vllm_folders, _vllm_processes

ROOT = Path(__file__).resolve().parents[4]


def test_folders_go_with_their_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(_vllm_folders, "MEMORY", tmp_path)
    kept, dropped = _vllm_folders.Folder("weights", 1), _vllm_folders.Folder("lora")
    path = dropped.path
    assert kept.path.is_dir() and path.is_dir() and path.parent == tmp_path
    del dropped
    assert not path.exists()
    code = (
        "import sys, os; from agents.rollout.engines._vllm_folders import Folder\n"
        "kept = Folder('lora'); (kept.path / 'file').touch(); print(kept.path, flush=True)\n"
        "os._exit(1) if sys.argv[1] == 'killed' else sys.exit(str(1 / 0))"
    )
    left = {}
    for end in ("killed", "raised"):
        done = subprocess.run(
            [sys.executable, "-c", code, end],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        left[end] = Path(done.stdout.strip())
        assert left[end].parent == tmp_path
    assert left["killed"].exists() and not left["raised"].exists()
    assert _vllm_folders.remove_leftovers() == [left["killed"]]
    assert not left["killed"].exists() and kept.path.is_dir()
    kept.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_process_and_its_children_are_ended() -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '60']); print(flush=True); input()"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None and parent.stdout.readline() == b"\n"
    processes = _vllm_processes.tree(parent.pid)
    assert len(processes) == 2 and processes[0].pid == parent.pid
    # One of another time under the same number is left alone.
    other = [process._replace(started=process.started + 1) for process in processes]
    assert _vllm_processes.end(other, 5) == [] and parent.poll() is None
    assert _vllm_processes.end(processes, 30) == []
    assert parent.wait() == -9
    parent.stdin.close()  # type: ignore[union-attr]
    parent.stdout.close()
