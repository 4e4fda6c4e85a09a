"""Training runs as child processes, with the real trainer on the embedded model."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.processes import TrainingFailed, TrainingRun, only_one, read_metrics, stop, train

from .conftest import ROOT

SMALL = ["--rollout.groups_per_step", "2", "--rollout.group_size", "2", "--eval.every", "0"]


def make_run(folder: Path, steps: int, *overrides: str) -> TrainingRun:
    config = ROOT / "configs/mgpo_tiny.yaml"
    return TrainingRun("mgpo", config, folder, steps, [*SMALL, *overrides])


def wait_for_rows(run: TrainingRun, n: int) -> None:
    end = time.monotonic() + 90
    while len(run.rows("train")) < n:
        run.check()
        assert time.monotonic() < end, run.log_file.read_text()
        time.sleep(0.1)


def test_a_stopped_run_keeps_its_steps_and_goes_on_to_the_end(tmp_path, capfd):
    first = make_run(tmp_path, 12)
    first.start()
    wait_for_rows(first, 2)
    stop([first])
    assert first.process is not None
    assert first.process.returncode is not None
    assert list((tmp_path / "checkpoints").glob("step_*"))
    done = len(first.rows("train"))
    if not (tmp_path / "model").is_dir():
        assert 2 <= done < 12
    second = make_run(tmp_path, 12)
    train([second], Console())
    assert [row["step"] for row in second.rows("train")] == list(range(1, 13))
    assert (tmp_path / "model/config.json").is_file()
    assert "mgpo  step 12 of 12" in capfd.readouterr().out


def test_a_run_that_fails_says_why_and_stops_its_sibling(tmp_path):
    good = make_run(tmp_path / "good", 100_000)
    bad = make_run(tmp_path / "bad", 2, "--model.path", str(tmp_path / "no_model"))
    with pytest.raises(TrainingFailed, match="no_model"):
        train([good, bad], Console())
    assert good.process is not None
    assert good.process.returncode is not None


def test_metrics_are_read_up_to_a_line_that_is_still_being_written(tmp_path):
    rows = [
        {"step": 1, "split": "train", "reward_mean": 0.5},
        {"step": 0, "split": "eval", "accuracy": 0.25},
        {"step": 2, "split": "train", "reward_mean": 0.75},
    ]
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path, "train") == []
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 3, "sp')
    assert [row["reward_mean"] for row in read_metrics(path, "train")] == [0.5, 0.75]
    assert [row["accuracy"] for row in read_metrics(path, "eval")] == [0.25]


def test_a_step_that_was_done_again_after_a_resume_counts_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": s, "split": "train", "n": n} for n, s in enumerate((1, 2, 3, 2, 3))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(row["step"], row["n"]) for row in read_metrics(path, "train")] == [
        (1, 0),
        (2, 3),
        (3, 4),
    ]


def test_a_folder_takes_one_run_at_a_time(tmp_path):
    refused = pytest.raises(RuntimeError, match="another run")
    with only_one(tmp_path), refused, only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass
