"""wandb for real, offline: what lies in the files that it would send."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agents.config_sections import Tracking
from agents.training.tracking import Tracker, read_metrics
from agents.training.trainer import Trainer

from .conftest import small_run

ROOT = Path(__file__).resolve().parents[3]
OFFLINE = Tracking(wandb="offline", project="p")
HEAD, BLOCK = 7, 2**15
"""Bytes before the first record, and of a block, in wandb's log files (the format of LevelDB)."""


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """No login, no account's settings, wherever the tests run."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # set by the code, it is taken back after the test
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))


def records_of(path: Path) -> list[Any]:
    """The records of a .wandb file: fragments in blocks, each with checksum, length and kind."""
    import wandb.proto.wandb_internal_pb2 as wandb_records

    kinds: Any = wandb_records
    data, place, parts, found = path.read_bytes(), HEAD, b"", []
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:  # too little is left of the block
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(kinds.Record.FromString(parts))
            parts = b""
    return found


def history(run: Path) -> list[dict[str, Any]]:
    """The rows that were logged, once wandb's own process has written them all."""
    (stored,) = run.glob("*.wandb")
    deadline = time.monotonic() + 30
    while True:
        records = records_of(stored)
        if any(r.WhichOneof("record_type") == "exit" for r in records):
            break
        assert time.monotonic() < deadline, "wandb did not finish"
        time.sleep(0.05)
    rows = [r.history.item for r in records if r.WhichOneof("record_type") == "history"]
    return [row_of(items) for items in rows]


def row_of(items: Any) -> dict[str, Any]:
    """`{"train/loss": 0.5, "train/episodes": {"nrows": 2, ...}}`."""
    row: dict[str, Any] = {}
    for item in items:
        *outer, name = item.nested_key
        place = row.setdefault(outer[0], {}) if outer else row
        place[name] = json.loads(item.value_json)
    return row


def runs(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "wandb").glob("offline-run-*"))


def test_what_was_logged_is_in_the_file_and_a_resumed_run_keeps_its_id(tmp_path):
    run_dir = tmp_path / "runs" / "new"  # nobody made it before
    tracker = Tracker(run_dir, OFFLINE, {"seed": 1})
    tracker.start(0, 2)
    tracker.log(1, "train", {"reward_mean": 0.25})
    tracker.log(2, "train", {"reward_mean": float("nan"), "loss": 0.5})
    tracker.log(2, "eval", {"accuracy": 0.75})
    tracker.close()
    (run,) = runs(run_dir)
    rows = [{k: v for k, v in row.items() if k[0] != "_"} for row in history(run)]
    assert rows == [
        {"train/reward_mean": 0.25, "step": 1},
        {"train/loss": 0.5, "step": 2},
        {"eval/accuracy": 0.75, "step": 2},
    ]
    (own,) = run.glob("*.wandb")
    records = records_of(own)
    (about,) = [r.run for r in records if r.WhichOneof("record_type") == "run"][:1]
    identity = (run_dir / "wandb_id").read_text()
    assert (about.run_id, about.project, about.display_name) == (identity, "p", "new")
    assert {c.key: c.value_json for c in about.config.update}["seed"] == "1"

    time.sleep(1.1)  # folders are named by the second
    again = Tracker(run_dir, OFFLINE, {"seed": 1})
    again.start(2, 3)
    again.log(3, "train", {"loss": 0.25})
    again.close()
    assert [path.name.endswith(identity) for path in runs(run_dir)] == [True, True]
    assert [row["step"] for row in history(runs(run_dir)[1])] == [3]


def test_a_run_logs_episodes_as_a_table_with_pictures(qwen3_folder, tmp_path):
    config = small_run(
        qwen3_folder,
        optim={"steps": 2},
        eval={"every": 0},
        tracking={"wandb": "offline", "episodes_every": 2, "episodes": 2},
    )
    assert Trainer(config, tmp_path).fit()
    (run,) = runs(tmp_path)
    rows = history(run)
    told = read_metrics(tmp_path / "metrics.jsonl")
    assert [r["train/loss"] for r in rows if "train/loss" in r] == [r["loss"] for r in told]
    logged = [row for row in rows if "train/episodes" in row]
    assert [row["step"] for row in logged] == [1, 2]
    assert (logged[0]["train/episodes"]["nrows"], logged[0]["train/episodes"]["ncols"]) == (2, 9)
    content, files = table_of(run)
    episodes = [json.loads(line) for line in (tmp_path / "episodes.jsonl").open()][:2]
    captions = []
    for values, episode in zip(content["data"], episodes, strict=True):
        row = dict(zip(content["columns"], values, strict=True))
        assert (row["step"], row["question"]) == (1, episode["question_id"])
        assert row["asked"].startswith(episode["sample"]["question"])
        assert (row["outcome"], row["reward"]) == (episode["outcome"], episode["reward"])
        assert row["replies"] == "\n---\n".join(turn["reply"] for turn in episode["turns"])
        assert Image.open(files[row["picture"]["path"]]).size == (1280, 720)
        captions.append(f"{row['question']}: {row['outcome']}")
    panel = logged[0]["train/pictures"]
    assert (panel["count"], panel["width"], panel["captions"]) == (2, 1280, captions)
    assert all((run / "files" / name).is_file() for name in panel["filenames"])


def table_of(run: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """The first table that waits to be sent, and the files that belong to it by name."""
    (stored,) = run.glob("*.wandb")
    made = (r.artifact for r in records_of(stored) if r.WhichOneof("record_type") == "artifact")
    first = next(made).manifest.contents
    files = {entry.path: Path(entry.local_path) for entry in first}
    assert all(path.is_relative_to(run.parents[1]) for path in files.values())
    (name,) = (name for name in files if name.endswith(".table.json"))
    return json.loads(files[name].read_text()), files


def test_without_a_login_an_online_run_goes_offline(tmp_path, capsys):
    tracker = Tracker(tmp_path, Tracking(wandb="online"), {})
    tracker.start(0, 1)
    tracker.log(1, "train", {"loss": 0.5})
    tracker.close()
    printed = capsys.readouterr().out
    assert "warning: tracking.wandb: no login was found (`wandb login`), offline; send" in printed
    assert [row["train/loss"] for row in history(runs(tmp_path)[0])] == [0.5]
    (command,) = re.findall(r"later with `(wandb sync [^`]+)`", " ".join(printed.split()))
    written = (ROOT / "docs" / "metrics.md").read_text()
    assert "`wandb sync RUN/wandb/offline-run-*`" in written
    assert command == f"wandb sync {tmp_path}/wandb/offline-run-*"
    done = subprocess.run(
        f"{Path(sys.executable).parent}/{command} --dry-run",
        shell=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Would sync 1 run(s)" in done.stdout + done.stderr


def test_a_wandb_that_breaks_is_left_behind(tmp_path, capsys):
    tracker = Tracker(tmp_path, OFFLINE, {})
    tracker.start(0, 9)
    tracker.log(1, "train", {"loss": 0.5})
    service: Any = tracker.services[0]
    service.run.finish()  # as when its process died: everything after it raises
    for step in (2, 3):
        tracker.log(step, "train", {"loss": 0.25})
    tracker.close()
    printed = capsys.readouterr().out
    assert printed.count("warning: tracking: wandb: ") == 1
    assert "the run goes on without it" in printed
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3]


def test_a_wandb_that_cannot_start_is_left_behind(tmp_path, capsys):
    (tmp_path / "wandb_id").mkdir()
    tracker = Tracker(tmp_path, OFFLINE, {})
    assert tracker.services == []
    assert "warning: tracking: wandb: IsADirectoryError" in capsys.readouterr().out
    tracker.close()


def test_wandb_that_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ImportError, match=r"tracking\.wandb: got 'offline', but wandb is not"):
        Tracker(tmp_path, OFFLINE, {})


UNREACHABLE = """
import sys
from pathlib import Path
from agents.config_sections import Tracking
from agents.training.tracking import Tracker
tracker = Tracker(Path(sys.argv[1]), Tracking(wandb="online"), {})
tracker.start(0, 1)
tracker.log(1, "train", {"loss": 0.5})
tracker.close()
"""


@pytest.mark.slow
def test_a_server_that_cannot_be_reached_sends_the_run_offline(tmp_path):
    # A process of its own: wandb reads its settings once.
    settings = {"BASE_URL": "http://127.0.0.1:9", "API_KEY": 40 * "0", "INIT_TIMEOUT": "2"}
    env = {**os.environ, **{f"WANDB_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-c", UNREACHABLE, str(tmp_path)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "warning: tracking.wandb: cannot go online" in done.stdout
    assert [row["train/loss"] for row in history(runs(tmp_path)[0])] == [0.5]
