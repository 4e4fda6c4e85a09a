"""What a run writes about itself."""

import json
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agents.config_sections import Tracking
from agents.training import about_run
from agents.training.about_run import describe_run
from agents.training.health import Health
from agents.training.symptoms import Limits
from agents.training.tracking import Tracker, read_metrics

from ...disk import no_file_beyond
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


@pytest.mark.parametrize(
    "line",
    [b'"weird"', b"7", b"{}", b'{"step": 2', b'{"step": "2", "split": "train"}', b"[1]", b"\xff"]
    + [b'{"step": 2, "split": "train", "loss": [1]}', b'{"step": 2}', b'{"split": "train"}'],
)
def test_a_line_that_is_no_row_costs_no_other(tracker, tmp_path, capsys, line):
    path = tmp_path / "metrics.jsonl"
    tracker.log(1, "train", {"loss": 0.5})
    with path.open("ab") as file:
        file.write(line + b"\n")
    tracker.log(3, "train", {"loss": 0.25})
    assert [row["step"] for row in read_metrics(path)] == [1, 3]
    assert tracker.resume(3) == {(1, "train"), (3, "train")}
    assert len(path.read_bytes().splitlines()) == 2
    printed = " ".join(capsys.readouterr().out.split())
    assert "warning: metrics.jsonl: left out what is no row, lines: 1" in printed
    assert tracker.resume(3) == {(1, "train"), (3, "train")}
    assert "warning" not in capsys.readouterr().out


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
    (tmp_path / "about_run.py").write_text("")
    monkeypatch.setattr(about_run, "__file__", str(tmp_path / "about_run.py"))
    assert about_run._git_commit() is None

    def git(*words):
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *name, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    commit = about_run._git_commit()
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "about_run.py").write_text("changed")
    assert about_run._git_commit() == commit + "+changes"


def test_a_full_disk_loses_no_row_and_ends_no_run(tracker, tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    tracker.log(1, "train", {"loss": 1.0})
    whole = path.read_bytes()
    with no_file_beyond(len(whole) + 20):  # room for a part of the line
        tracker.log(2, "train", {"loss": 2.0})
        tracker.log(2, "eval", {"accuracy": 0.5})
        assert path.read_bytes() == whole  # no half line
    assert [row["step"] for row in read_metrics(path)] == [1]
    tracker.log(3, "train", {"loss": 3.0})
    found = [(row["step"], row["split"]) for row in read_metrics(path)]
    assert found == [(1, "train"), (2, "train"), (2, "eval"), (3, "train")]
    printed = capsys.readouterr().out
    assert printed.count("warning: tracking: metrics.jsonl: OSError") == 1
    assert "rows are kept and written when it can be" in printed


def test_rows_that_stay_unwritten_are_told_at_the_end(tracker, tmp_path, capsys):
    tracker.log(1, "train", {"loss": 1.0})
    with no_file_beyond((tmp_path / "metrics.jsonl").stat().st_size):
        tracker.log(2, "train", {"loss": 2.0})
        tracker.close()
    assert "warning: 1 rows of metrics are lost" in capsys.readouterr().out


def test_records_that_cannot_be_written_end_no_run(tracker, tmp_path, capsys):
    (tmp_path / "episodes").write_text("a file where a folder should be")
    tracker.episodes(50, "greedy", [episode_of("q1", 1.0)])
    tracker.episodes(75, "greedy", [episode_of("q1", 1.0)])
    assert capsys.readouterr().out.count("warning: tracking: episodes: FileExistsError") == 1


def test_half_a_surrogate_pair_is_no_reason_to_stop(tracker, tmp_path):
    tracker.episodes(1, "greedy", [replace(episode_of("q1", 1.0), answer="\ud800")])
    (line,) = (tmp_path / "episodes" / "step_000001_greedy.jsonl").read_text().splitlines()
    assert json.loads(line)["answer"] == "\ud800"


def test_a_terminal_that_is_gone_silences_the_run(tmp_path, monkeypatch):
    full = open("/dev/full", "w", buffering=1)  # noqa: SIM115 - closing it fails, too
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", full)
        tracker = Tracker(tmp_path, Tracking(), {})
        tracker.start(0, 2)
        tracker.log(2, "train", {"loss": 1.0})
        tracker.message("still there")
        tracker.close()
    with suppress(OSError):
        full.close()
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1
    assert "still there" in (tmp_path / "log.txt").read_text()


class Broken:
    """A service that breaks at one kind of call."""

    name = "a service"

    def __init__(self, at):
        self.at, self.calls = at, []

    def __getattr__(self, call):
        def called(*_):
            self.calls.append(call)
            if call == self.at:
                raise ConnectionError("gone")

        return called


@pytest.mark.parametrize("at", ["resume", "log", "episodes", "close"])
def test_a_service_that_fails_is_left(tracker, capsys, at):
    broken, other = Broken(at), Broken("")
    tracker.services += [broken, other]
    tracker.resume(-1)
    tracker.played(1, [], None)
    for step in (1, 2):
        tracker.log(step, "train", {"loss": 1.0})
    tracker.close()
    line = "warning: tracking: a service: ConnectionError: gone; the run goes on without it"
    assert capsys.readouterr().out.count(line) == 1
    assert broken.calls.count(at) == 1 + (at == "close")  # closed once more, in vain
    assert other.calls == ["resume", "episodes", "log", "log", "close"]


def test_warnings_are_told_kept_and_not_repeated_after_a_resume(tmp_path, capsys):
    def run(steps):
        tracker = Tracker(tmp_path, Tracking(), {}, Health(Limits(mismatch=0.1)))
        tracker.start(0, 100)
        tracker.resume(steps[0] - 1)
        for step in steps:
            tracker.log(step, "train", {"mismatch_mean": 0.2})
        tracker.close()

    run(range(1, 11))
    run(range(8, 25))  # 8 to 10 once more
    text = "differ by 0.2 nats on average (optim.mismatch_warn = 0.1)"
    for told in (capsys.readouterr().out, (tmp_path / "log.txt").read_text()):
        lines = [line for line in told.splitlines() if text in line]
        steps = [line.split("warning: step ")[1].split(":")[0] for line in lines]
        assert steps == ["1", "21"]
