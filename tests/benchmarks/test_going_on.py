"""What goes wrong in a run, and that one which goes on afterwards is the one that nothing happened
to: broken files, Ctrl-C, SIGKILL, other weights, folders that cannot be written."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from benchmarks import playing
from benchmarks.manifest import machine
from benchmarks.playing import close_engine
from benchmarks.run import main

from ..disk import no_file_beyond
from .conftest import ENV, ROOT, played, timeless

pytestmark = pytest.mark.usefixtures("undrawn")

OVERRIDES = [word for key, value in ENV.items() for word in (f"--env.{key}", str(value))]
BASE = f"base={ROOT / 'configs/mgpo_tiny.yaml'}"
SCRIPTED = ["--agents", "random", "oracle", "--limit", "4", "--pictures", "1", *OVERRIDES]
MODEL = ["--agents", "oracle", BASE, "--limit", "4", "--samples", "2", "--sufficiency", "base"]
RESULTS = ("summary.json", "comparisons.json")


def results(out: Path) -> list[Any]:
    return [timeless(json.loads((out / name).read_text())) for name in RESULTS]


def test_failed_episodes_are_reported_and_played_again(tmp_path, capsys):
    """A picture whose file is broken, and mended later, is asked about again; nothing else is."""
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    for path in (good, bad):
        Image.new("RGB", (300, 200), "grey").save(path)
    rows = [
        {"images": [path.name], "question": "Which colour?", "answer": "grey", "category": "c"}
        for path in (good, bad)
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    words = ["--agents", "oracle", BASE, "--datasets", f"jsonl:{tmp_path}", "--samples", "2"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    whole, out = bad.read_bytes(), tmp_path / "out"
    bad.write_bytes(b"\0" * len(whole))
    words += ["--out", str(out)]
    assert main(words) == 1
    assert "4 of 8 episodes failed; oracle, question" in capsys.readouterr().out
    first = [row for row in played(out) if row["episode"]["outcome"] != "error"]
    failed = [row for row in played(out) if row["episode"]["outcome"] == "error"]
    assert [(row["agent"], row["sampled"], row["index"]) for row in failed] == [
        *(("oracle", False, 1), ("base", False, 1), ("base", True, 1), ("base", True, 1)),
    ]
    assert all("bad.jpg" in row["episode"]["error"] for row in failed)
    assert {row["tokens"]["prompt"] for row in failed} == {None}
    summary = json.loads((out / "summary.json").read_text())["base"][f"jsonl:{tmp_path}"]
    assert (summary["n"], summary["outcomes"]["error"]) == (2, 1)
    assert "Episodes failed: oracle 1, base 3." in (out / "report.html").read_text()
    assert main([*words, "--resume"]) == 1  # still broken
    assert [row for row in played(out) if row["episode"]["outcome"] == "error"] == failed
    bad.write_bytes(whole)
    assert main([*words, "--resume"]) == 0
    assert played(out) == played(tmp_path / "whole")
    assert results(out) == results(tmp_path / "whole")
    assert [row for row in played(out) if row in first] == first
    assert "Episodes failed" not in (out / "report.html").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    assert main([*MODEL, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("count", [pytest.param(3, marks=pytest.mark.slow), 9, 20])
def test_ctrl_c_leaves_what_the_same_command_finishes(undisturbed, tmp_path, monkeypatch, count):
    """A real signal: at the first agent, among the second one's draws, and in the second part."""
    made = playing.make_row
    left = iter(range(count))

    def interrupted(*words, **more):
        if next(left, None) is None:
            signal.raise_signal(signal.SIGINT)
        return made(*words, **more)

    monkeypatch.setattr(playing, "make_row", interrupted)
    words = [*MODEL, "--out", str(tmp_path)]
    assert main(words) == 130
    assert not (tmp_path / "report.html").exists()
    monkeypatch.undo()
    before = played(tmp_path)
    assert len(before) <= count < 24 == sum(len(played(undisturbed, name)) for name in FILES)
    assert main([*words, "--resume"]) == 0
    assert [row for row in played(tmp_path) if row in before] == before
    for name in FILES:
        assert played(tmp_path, name) == played(undisturbed, name)
    assert results(tmp_path) == results(undisturbed)


FILES = ("episodes.jsonl", "sufficiency.jsonl")


@pytest.mark.parametrize(
    ("file", "share", "pictures", "least"),
    [
        ("manifest.json", 0.5, 0, 0),
        ("episodes.jsonl", 0.01, 0, 0),
        ("episodes.jsonl", 0.4, 0, 3),
        ("episodes.jsonl", 0.4, 1, 0),  # room for no picture
        ("report.html", 0.95, 0, 8),
    ],
)
def test_a_full_disk_is_told_in_a_line_and_loses_no_episode(
    tmp_path, capsys, file, share, pictures, least
):
    whole, out = tmp_path / "whole", tmp_path / "out"
    words = [*SCRIPTED, "--pictures", str(pictures)]
    assert main([*words, "--out", str(whole)]) == 0
    capsys.readouterr()
    with no_file_beyond(int(share * (whole / file).stat().st_size)):
        assert main([*words, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(f"benchmarks.run: .*({out}).*\n", told)
    assert "File too large" in told or "No space left" in told
    rows = played(out) if (out / "episodes.jsonl").exists() else []
    assert rows == [row for row in played(whole) if row in rows]
    assert least <= len(rows)
    assert main([*words, "--out", str(out), "--resume"]) == 0
    assert played(out) == played(whole)
    assert results(out) == results(whole)


KILLED = """
import os, signal, sys
import benchmarks.report
from benchmarks.run import main

def kill(*words):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(benchmarks.report, sys.argv[1], kill)
main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("moment", "there"),
    [
        pytest.param("compare_all", [], marks=pytest.mark.slow),
        ("make_page", ["comparisons.json", "summary.json"]),
        pytest.param("write_page", ["comparisons.json", "summary.json"], marks=pytest.mark.slow),
    ],
)
def test_killed_while_the_report_is_written(tmp_path, moment, there):
    """SIGKILL; whatever of the report is there is whole, and the rest is made again."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert main([*SCRIPTED, "--out", str(whole)]) == 0
    command = [sys.executable, "-c", KILLED, moment, *SCRIPTED, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (out / "report.html").exists()
    found = [name for name in sorted(RESULTS) if (out / name).exists()]
    assert found == there
    assert all(json.loads((out / name).read_text()) for name in found)
    rows = (out / "episodes.jsonl").read_bytes()
    assert main([*SCRIPTED, "--out", str(out), "--resume"]) == 0
    assert (out / "episodes.jsonl").read_bytes() == rows
    assert played(out) == played(whole) and results(out) == results(whole)
    assert (out / "report.html").exists() and (out / "episodes.html").exists()


def test_other_weights_under_the_same_path_are_another_agent(tmp_path, capsys):
    model, out = tmp_path / "weights", tmp_path / "out"
    shutil.copytree(ROOT / "agents/tiny/weights", model)
    values = yaml.safe_load((ROOT / "configs/mgpo_tiny.yaml").read_text())
    values["model"]["path"] = str(model)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(values))
    words = ["--agents", f"own={tmp_path / 'own.yaml'}", "--limit", "1", "--out", str(out)]
    assert main(words) == 0
    rows = (out / "episodes.jsonl").read_bytes()
    (weights,) = model.glob("*.safetensors")
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))  # as large as before
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--limit", "1", "--resume"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "agents.own.fingerprints: ['" in said and said.count("\n") == 2
    assert (out / "episodes.jsonl").read_bytes() == rows
    weights.write_bytes(before)
    assert main([*words, "--resume"]) == 0
    close_engine()


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that we may not write to, as somebody else where we may do everything."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("inside", [True, False])
def test_a_folder_that_cannot_be_written_is_named(read_only, capsys, inside):
    out = read_only / "out" if inside else read_only
    with pytest.raises(SystemExit) as stopped:
        main([*SCRIPTED, "--out", str(out)])
    assert stopped.value.code == 2
    said = f"--out {out}: Permission denied; expected a folder that can be written\n"
    assert capsys.readouterr().err.endswith(said)
    assert list(read_only.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "got a file, expected a new or empty folder"),
        ("file/out", "Not a directory; expected a folder that can be written"),
    ],
)
def test_a_file_is_no_folder(tmp_path, capsys, name, message):
    (tmp_path / "file").write_text("something")
    out = tmp_path / name
    with pytest.raises(SystemExit) as stopped:
        main([*SCRIPTED, "--out", str(out)])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith(f"--out {out}: {message}\n")
    assert (tmp_path / "file").read_text() == "something"


def test_outside_of_a_checkout_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.manifest.ROOT", tmp_path)
    words = [*SCRIPTED, "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert json.loads((tmp_path / "out/manifest.json").read_text())["git"] is None
    page = (tmp_path / "out/report.html").read_text()
    assert "not in a checkout" in page and html.escape(machine()["cpu"]) in page
    monkeypatch.undo()  # and it may go on in one, which is noted
    assert main([*words, "--resume"]) == 0
    (earlier,) = json.loads((tmp_path / "out/manifest.json").read_text())["earlier"]
    assert earlier["git"] is None
