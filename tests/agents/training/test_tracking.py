"""What a run writes about itself."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from agents.config_sections import Tracking
from agents.training import tracking
from agents.training.tracking import METRICS, Tracker, describe_run, read_metrics

from .conftest import episode_of, small_run


@pytest.fixture
def tracker(tmp_path):
    made = Tracker(tmp_path, Tracking(), {})
    made.start(0, 10)
    yield made
    made.close()


def test_rows_say_step_split_and_values(tracker, tmp_path):
    tracker.log(1, "train", {"reward_mean": 0.25})
    tracker.log(1, "eval", {"accuracy": 0.5, "n": 4})
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": 1, "split": "train", "reward_mean": 0.25},
        {"step": 1, "split": "eval", "accuracy": 0.5, "n": 4},
    ]


def test_every_line_is_json_whatever_the_value(tracker, tmp_path):
    tracker.log(1, "train", {"grad_norm": float("nan"), "loss": float("inf")})

    def refuse(constant):
        raise ValueError(constant)

    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    row = json.loads(line, parse_constant=refuse)
    assert (row["grad_norm"], row["loss"]) == (None, None)


def test_unknown_names_are_refused(tracker):
    with pytest.raises(ValueError, match="metrics: got rewards, expected names in METRICS"):
        tracker.log(1, "train", {"rewards": 1.0})


def test_resuming_drops_what_came_after_the_checkpoint(tracker, tmp_path):
    for step in (1, 2, 3):
        tracker.log(step, "train", {"loss": float(step)})
    tracker.log(2, "eval", {"n": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "spl')  # killed while writing
    assert tracker.resume(2) == {(1, "train"), (2, "train"), (2, "eval")}
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 2]


def test_rows_survive_a_death_in_the_middle_of_a_resume(tracker, tmp_path, monkeypatch):
    tracker.log(1, "train", {"loss": 1.0})

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        tracker.resume(1)
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1]


def test_plain_lines_when_there_is_no_terminal(tracker, capsys):
    tracker.log(1, "train", {"reward_mean": 0.25})
    tracker.log(2, "train", {"reward_mean": 0.5})  # too soon for another line
    tracker.log(2, "eval", {"accuracy": 0.75})
    tracker.log(10, "train", {"reward_mean": 0.875})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["train", "1/10"],
        ["eval", "2/10"],
        ["train", "10/10"],
    ]
    assert "reward_mean 0.25" in lines[0]
    assert "left" in lines[0]
    assert "\x1b" not in "".join(lines)


def test_a_progress_bar_on_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    tracker = Tracker(tmp_path, Tracking(), {})
    tracker.start(0, 10)
    tracker.log(4, "train", {"reward_mean": 0.25})
    tracker.log(4, "eval", {"accuracy": 0.75})
    tracker.close()
    printed = capsys.readouterr().out
    assert "\x1b" in printed
    assert "4/10" in printed
    assert "accuracy 0.75" in printed
    assert "train 4/10" not in printed  # the bar says it


def test_long_lines_are_not_folded(tracker, capsys):
    tracker.message("x" * 500)
    assert capsys.readouterr().out == "x" * 500 + "\n"


def test_episodes_are_saved_as_text_records(tracker, tmp_path):
    episode = episode_of("q1", 1.0)
    tracker.episodes(50, "greedy", [episode])
    line = (tmp_path / "episodes" / "step_000050_greedy.jsonl").read_text()
    assert json.loads(line)["question_id"] == "q1"


def test_the_run_folder_says_what_made_it(tmp_path, qwen3_folder):
    config = small_run(qwen3_folder, env={"seed": 4})
    describe_run(tmp_path / "a", config, {"dataset": {"questions": 12, "hash": "abc"}})
    record = json.loads((tmp_path / "a" / "versions.json").read_text())
    assert record["packages"]["transformers"][0] == "5"
    assert (record["dataset"]["name"], record["dataset"]["questions"]) == ("synthetic", 12)
    assert record["dataset"]["hash"] == "abc"
    describe_run(tmp_path / "b", small_run(qwen3_folder, env={"seed": 5}), {"dataset": {}})
    other = json.loads((tmp_path / "b" / "versions.json").read_text())
    assert other["dataset"]["env_hash"] != record["dataset"]["env_hash"]


def test_the_commit_is_written_where_there_is_one(tmp_path, monkeypatch):
    (tmp_path / "tracking.py").write_text("")
    monkeypatch.setattr(tracking, "__file__", str(tmp_path / "tracking.py"))
    assert tracking._git_commit() is None

    def git(*words):
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *name, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    commit = tracking._git_commit()
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "tracking.py").write_text("changed")
    assert tracking._git_commit() == commit + "+changes"


def test_wandb_offline_leaves_a_run_on_disk(tmp_path):
    run_dir = tmp_path / "runs" / "new"  # nobody made it before
    tracker = Tracker(run_dir, Tracking(wandb="offline", project="p"), {"seed": 1})
    tracker.start(0, 2)
    tracker.log(1, "train", {"reward_mean": 0.25})
    tracker.log(2, "train", {"reward_mean": float("nan")})
    tracker.close()
    (run,) = (run_dir / "wandb").glob("offline-run-*")
    (stored,) = run.glob("*.wandb")
    deadline = time.monotonic() + 20  # wandb's own process writes the file a little later
    while b"train/reward_mean" not in stored.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert b"train/reward_mean" in stored.read_bytes()
    assert (run_dir / "wandb_id").read_text() in stored.name


def test_wandb_that_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ImportError, match=r"tracking\.wandb: got 'offline', but wandb is not"):
        Tracker(tmp_path, Tracking(wandb="offline"), {})


def test_every_metric_has_a_meaning():
    assert all(len(meaning.split()) >= 2 for meaning in METRICS.values())
