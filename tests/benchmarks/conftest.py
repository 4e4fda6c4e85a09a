"""The embedded model's environment, and real scripted episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.evaluate import make_tasks, run_tasks
from benchmarks.metrics import Row
from benchmarks.specs import AgentSpec, parse_dataset

ROOT = Path(__file__).resolve().parents[2]

ENV: dict[str, Any] = {
    "prompt": "brief",
    "factor": 16,
    "min_pixels": 9216,
    "max_pixels": 9216,
    "box_dialect": "relative_1000",
    "min_box": 2,
}


@pytest.fixture(scope="session")
def scripted_rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Twelve questions of two splits with every scripted agent."""
    agents = [AgentSpec(name, scripted=name, env=ENV) for name in ("random", "centre", "oracle")]
    datasets = [parse_dataset("synthetic:test"), parse_dataset("synthetic:ood")]
    tasks = make_tasks(agents, datasets, 12, sampled=True, seed=0)
    return run_tasks(tasks, tmp_path_factory.mktemp("rows") / "episodes.jsonl")
