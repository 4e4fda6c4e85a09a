"""Kill a benchmark in the middle, go on, and compare with one that was left alone: the embedded
model, real processes, SIGKILL."""

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

from .conftest import ROOT, played, timeless

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WORDS = [
    *("--agents", "random", "oracle", f"base={ROOT / 'configs/mgpo_tiny.yaml'}"),
    *("--datasets", "synthetic:test", "synthetic:ood", "--limit", "40", "--samples", "2"),
    *("--ablate", "crop=blank,shuffled", "--sufficiency", "base", "--pictures", "2"),
    *("--workers", "2"),
]
EPISODES, CROPS = "episodes.jsonl", "sufficiency.jsonl"
RESULTS = ("summary.json", "comparisons.json")
TOTAL = 2 * 40 * (2 + 3 + 2)  # scripted agents; base, and its draws; its ablations


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts the benchmark in a session of its own, or goes on with it."""
    running: list[subprocess.Popen[str]] = []

    def begin(out: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.run", *WORDS, "--out", str(out), "--resume"]
        with out.with_suffix(".log").open("a") as log:
            one = subprocess.Popen(
                command, cwd=ROOT, start_new_session=True, text=True, stdout=log, stderr=log
            )
        running.append(one)
        return one

    yield begin
    for one in running:
        kill(one)


def kill(one: subprocess.Popen[str]) -> None:
    """All processes of a run at once, as a machine that loses its power does."""
    if one.poll() is None:
        os.killpg(one.pid, signal.SIGKILL)
    one.wait()


def results(out: Path) -> list[Any]:
    return [timeless(json.loads((out / name).read_text())) for name in RESULTS]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def stop(one: subprocess.Popen[str]) -> None:
    """As Ctrl-C in a terminal does, which reaches all processes as well."""
    os.killpg(one.pid, signal.SIGINT)
    assert one.wait() == 130


def end_at(
    end_it: Callable[[subprocess.Popen[str]], None],
    one: subprocess.Popen[str],
    path: Path,
    count: int,
) -> None:
    """As soon as a file has so many lines."""
    end = time.monotonic() + 120
    while lines(path) < count:
        assert one.poll() is None, f"it ended at {lines(path)} lines, expected it to be killed"
        assert time.monotonic() < end, f"{path}: {lines(path)} lines, expected {count}"
        time.sleep(0.002)
    end_it(one)


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert start(out).wait() == 0
    return out


def test_an_undisturbed_run_is_in_the_order_of_its_agents(undisturbed):
    rows = played(undisturbed)
    assert len(rows) == TOTAL
    agents = ["random", "oracle", "base", "base [crop=blank]", "base [crop=shuffled]"]
    assert list(dict.fromkeys(row["agent"] for row in rows)) == agents
    keys = [(agents.index(r["agent"]), r["dataset"] != "synthetic:test") for r in rows]
    assert keys == sorted(keys)
    base = [row for row in rows if row["agent"] == "base" and row["dataset"] == "synthetic:ood"]
    order = [(row["sampled"], row["index"], row["draw"]) for row in base]
    assert order == [
        *((False, n, 0) for n in range(40)),
        *((True, n, k) for n in range(40) for k in range(2)),
    ]


@pytest.mark.parametrize(
    ("end_it", "moments"),
    [
        (kill, [(EPISODES, 1)]),
        (kill, [(EPISODES, TOTAL // 3), (EPISODES, TOTAL // 2), (EPISODES, TOTAL - 100)]),
        (kill, [(EPISODES, TOTAL // 4), (CROPS, 50), ("summary.json", 1)]),
        (stop, [(EPISODES, TOTAL // 2), (CROPS, 50)]),
    ],
    ids=["at once", "three times", "in all parts", "ctrl c"],
)
def test_killed_and_gone_on_with_it_is_the_run_that_nothing_happened_to(
    undisturbed, start, tmp_path, end_it, moments
):
    out = tmp_path / "out"
    for name, count in moments:
        end_at(end_it, start(out), out / name, count)
        assert not (out / "report.html").exists()
    before = lines(out / EPISODES)
    assert start(out).wait() == 0
    assert lines(out / EPISODES) == TOTAL >= before
    assert played(out) == played(undisturbed)
    assert played(out, CROPS) == played(undisturbed, CROPS)
    assert results(out) == results(undisturbed)
    for folder in ("images", "originals"):
        kept = {path.name: path.read_bytes() for path in (undisturbed / folder).iterdir()}
        assert {name: (out / folder / name).read_bytes() for name in kept} == kept
