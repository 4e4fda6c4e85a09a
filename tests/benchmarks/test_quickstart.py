"""The whole demonstration, small: two trainings, the evaluation, results and page."""

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
from PIL import Image
from rich.console import Console

from benchmarks.processes import only_one, signals_as_interrupts
from benchmarks.quickstart import (
    AGENTS,
    Quickstart,
    make_results,
    run,
)

from .conftest import ROOT

SMALL = [
    *("--rollout.groups_per_step", "2", "--rollout.group_size", "2"),
    *("--eval.every", "1", "--eval.n", "4"),
]
SHAPE = {
    "accuracy",
    "n",
    "interval",
    "valid_box_rate",
    "hit_rate_greedy",
    "hit_rate_sampled",
    "iou",
    "coverage",
    "box_side",
}


def small(out: Path) -> Quickstart:
    return Quickstart(out, steps=2, questions=8, workers=1, console=Console(), overrides=SMALL)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "quickstart"
    out.mkdir()
    assert run(small(out), []) == out / "report.html"
    return out


@pytest.fixture(scope="module")
def results(finished: Path) -> dict[str, Any]:
    return json.loads((finished / "results.json").read_text())


@pytest.mark.parametrize("part", ["heldout", "out_of_distribution"])
def test_results_have_every_agent_in_the_promised_shape(results, part):
    assert set(results[part]) == set(AGENTS)
    for result in results[part].values():
        assert set(result) >= SHAPE
        assert result["n"] == {"heldout": 8, "out_of_distribution": 4}[part]
        low, high = result["interval"]
        assert 0 <= low <= result["accuracy"] <= high <= 1
    assert results[part]["oracle"]["accuracy"] == 1.0


def test_unfamiliar_categories_are_listed_separately(results):
    categories = results["out_of_distribution"]["mgpo"]["categories"]
    assert {name: part["n"] for name, part in categories.items()} == dict.fromkeys(
        ("small", "big", "crowded", "large_image"), 1
    )
    assert set(categories["small"]) >= SHAPE


def test_time_is_accounted_for(results):
    seconds = results["seconds"]
    parts = [seconds[name] for name in ("training", "evaluation", "report")]
    assert all(value > 0 for value in parts)
    assert seconds["total"] == pytest.approx(sum(parts), abs=0.3)


def test_the_page_and_the_picture_are_there(finished):
    html = (finished / "report.html").read_text()
    titles = ("Reward in training", "Accuracy", "Valid boxes", "Hit rate, sampled", "IoU")
    for title in (*titles, "Hit rate, greedy", "Coverage", "Box side, ‰ of the image"):
        assert f'alt="{title} over training steps"' in html
    assert html.count('class="question"') == 4
    assert "the mechanism works" in html
    assert html.count("<script") == 1  # its own, which sorts tables
    assert Image.open(finished / "summary.png").width > 1000
    assert len(list((finished / "episodes").glob("*.png"))) == 4


def test_the_results_can_be_made_again_from_the_episodes(finished, results):
    rows = [json.loads(line) for line in (finished / "evaluation/episodes.jsonl").open()]
    assert json.loads(json.dumps(make_results(rows)))["heldout"] == results["heldout"]


def test_a_finished_run_is_set_aside_and_an_interrupted_one_taken_up(finished, tmp_path):
    out = tmp_path / "quickstart"
    interrupted = small(out)
    out.mkdir()
    interrupted.prepare()
    interrupted.count_seconds("training", time.perf_counter() - 5)
    again = small(out)
    again.prepare()
    assert again.seconds["training"] == pytest.approx(5, abs=1)

    (out / "results.json").write_text("{}")
    (out / "mgpo").mkdir()
    fresh = small(out)
    fresh.prepare()
    assert fresh.seconds == {}
    assert not (out / "mgpo").exists()
    assert (tmp_path / "quickstart.previous/mgpo").is_dir()


def test_an_unfinished_run_of_other_settings_is_not_taken_up(tmp_path):
    small(tmp_path / "q").out.mkdir()
    first = small(tmp_path / "q")
    first.prepare()
    first.count_seconds("training", time.perf_counter() - 5)
    other = small(tmp_path / "q")
    other.steps = 3
    other.prepare()
    assert other.seconds == {}


def test_setting_aside_can_itself_be_cut_short(tmp_path, monkeypatch):
    out = tmp_path / "q"
    out.mkdir()
    small(out).prepare()
    for name in ("results.json", "zzz"):
        (out / name).write_text("{}")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="killed"):
        patch.setattr(Path, "rename", fail_at("zzz"))
        small(out).prepare()
    assert (out / "state.json").is_file()


def fail_at(name: str) -> Callable[[Path, Path], Path]:
    rename = Path.rename

    def renamed(path: Path, target: Path) -> Path:
        if path.name == name:
            raise OSError("killed")
        return rename(path, target)

    return renamed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_kill_and_a_closed_terminal_act_as_ctrl_c(number, handler):
    with pytest.raises(KeyboardInterrupt), signals_as_interrupts():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is handler


def test_nohup_stays_in_force():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_as_interrupts():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture
def handler(number: signal.Signals) -> Iterator[Callable[..., None]]:
    """What handled the signal before, and may not be lost."""

    def mine(*_: object) -> None:
        raise AssertionError("not asked")

    before = signal.signal(number, mine)
    yield mine
    signal.signal(number, before)


def test_an_interrupt_stops_both_trainings_with_a_checkpoint(tmp_path):
    out = tmp_path / "quickstart"
    command = [sys.executable, "-m", "benchmarks.quickstart", "--out", str(out), "--steps", "5000"]
    command += [*SMALL, "--eval.every", "0"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_for_steps([out / name / "metrics.jsonl" for name in ("grpo", "mgpo")], process)
        os.kill(process.pid, signal.SIGTERM)  # as by `kill`; Ctrl-C arrives as the same exception
        text, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, text
    assert "about 4 minutes" in text
    assert "goes on from there" in text
    with only_one(out):  # the trainings held the folder as well: both are gone
        for name in ("grpo", "mgpo"):
            assert list((out / name / "checkpoints").glob("step_*"))
    assert json.loads((out / "state.json").read_text())["seconds"]["training"] > 0


def wait_for_steps(files: list[Path], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not all(file.is_file() and '"train"' in file.read_text() for file in files):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.2)
