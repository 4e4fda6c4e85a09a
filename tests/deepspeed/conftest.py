"""Starts runs of several processes with torchrun, all runs of a call in one set of processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.families.random_model import write_random_model
from agents.training.tracking import read_metrics

ROOT = Path(__file__).parents[2]
Launch = Callable[..., "subprocess.CompletedProcess[str]"]


def zero(stage: int | str, **sections: Any) -> dict[str, Any]:
    """Sections of a run with one of our DeepSpeed files."""
    return {"scale": {"deepspeed": str(ROOT / f"configs/deepspeed/zero{stage}.json")}, **sections}


def torchrun(world: int, *words: str) -> subprocess.CompletedProcess[str]:
    """`torchrun -m ...` with `world` processes on this machine; ends after four minutes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(world)]
    command += ["--master-port", str(port), "-m", *words]
    env = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """`launch(world, run, ...)`: the runs of `worker.py`, one after the other."""

    def start(world: int, *runs: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "runs.json"
        path.write_text(json.dumps(runs))
        done = torchrun(world, "tests.deepspeed.worker", str(path))
        assert done.returncode == 0, done.stderr[-4000:]
        return done

    return start


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Qwen2.5-VL with an untied head."""
    return write_random_model(tmp_path_factory.mktemp("qwen25"), "qwen25_vl", tied=False)


def rows(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    """Rows of metrics.jsonl of one split."""
    return [row for row in read_metrics(folder / "metrics.jsonl") if row["split"] == split]
