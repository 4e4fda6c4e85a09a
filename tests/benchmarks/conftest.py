"""The embedded model's environment, and real scripted episodes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.evaluate import make_tasks, run_tasks
from benchmarks.rows import Row
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
    tasks = make_tasks(agents, datasets, 12, samples=1, seed=0)
    return run_tasks(tasks, tmp_path_factory.mktemp("rows") / "episodes.jsonl")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without their figures, which take most of a small run's time: for tests that look at
    rows, numbers and texts. `test_run` and `pages` draw them."""
    pixel = io.BytesIO()
    Image.new("RGBA", (1, 1)).save(pixel, "PNG")
    monkeypatch.setattr("benchmarks.pages.parts.png_of", lambda draw, theme: pixel.getvalue())


TIMES = ("seconds", "latency", "correct_per_second")


def timeless(value: Any) -> Any:
    """The same without what a clock said: equal for two runs that did the same."""
    if isinstance(value, dict):
        return {key: timeless(part) for key, part in value.items() if key not in TIMES}
    return [timeless(part) for part in value] if isinstance(value, list) else value


def played(out: Path, name: str = "episodes.jsonl") -> list[Row]:
    """The rows of a folder, timeless, in their order."""
    return [timeless(json.loads(line)) for line in (out / name).open()]
