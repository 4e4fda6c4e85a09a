"""Reports made again from what lies in a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import report, run
from hrvision_env.trace import TraceWriter
from hrvision_env.vector import HighResVQAVectorEnv

from .conftest import ENV

OVERRIDES = [word for key, value in ENV.items() for word in (f"--env.{key}", str(value))]
MADE = ("summary.json", "comparisons.json", "report.html", "episodes.html")


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("benchmark") / "run"
    words = ["--agents", "random", "oracle", "--datasets", "synthetic:ood", "--limit", "8"]
    assert run.main([*words, "--pictures", "2", "--out", str(out), *OVERRIDES]) == 0
    return out


def test_a_report_is_made_again_from_the_episodes_alone(benchmark, tmp_path, capsys):
    again = tmp_path / "again"
    kept = shutil.ignore_patterns(*MADE, "episodes_files")
    shutil.copytree(benchmark, again, ignore=kept)
    assert not any((again / name).exists() for name in MADE)
    assert report.main([str(again)]) == 0
    assert capsys.readouterr().out.strip() == str(again / "report.html")
    for name in ("summary.json", "comparisons.json"):
        assert (again / name).read_bytes() == (benchmark / name).read_bytes(), name
    html = (again / "report.html").read_text()
    assert "episodes.html#agent=oracle&amp;dataset=synthetic%3Aood" in html
    assert "asked were only the first 8 of 2000 questions" in html
    assert (again / "episodes.html").is_file()


def test_a_report_shows_what_changed_in_the_episodes(benchmark, tmp_path):
    """It is computed from the rows, not copied from the summary."""
    changed = tmp_path / "changed"
    shutil.copytree(benchmark, changed)
    rows = [json.loads(line) for line in (changed / "episodes.jsonl").read_text().splitlines()]
    kept = [row for row in rows if row["agent"] == "oracle"]
    (changed / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    report.write_report(changed)
    assert set(json.loads((changed / "summary.json").read_text())) == {"oracle"}
    assert json.loads((changed / "comparisons.json").read_text()) == []


def test_the_folder_of_a_training_gets_curves_and_its_episodes(tmp_path, capsys):
    folders = [tmp_path / "mgpo", tmp_path / "grpo"]
    for folder in folders:
        folder.mkdir()
        (folder / "config.yaml").write_text(f"algorithm: {{name: {folder.name}}}\n")
        rows = [{"step": n, "split": "train", "reward_mean": n / 4} for n in (1, 2, 3)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    env = HighResVQAVectorEnv(num_envs=1, **ENV)
    env.reset(seed=0)
    writer = TraceWriter(folders[0])
    writer.write(env.envs[0].running, env.envs[0].referee.rules, agent="step 2")
    assert report.main([str(folder) for folder in folders]) == 0
    pages = [Path(line) for line in capsys.readouterr().out.split()]
    assert pages == [folder / "report.html" for folder in folders]
    assert "beside grpo" in pages[0].read_text()
    assert "beside mgpo" in pages[1].read_text()
    assert 'href="episodes.html#step=2"' in pages[0].read_text()
    assert (folders[0] / "episodes.html").is_file()
    assert not (folders[1] / "episodes.html").exists()  # it kept no episode


def test_a_folder_of_neither_kind_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        report.main([str(tmp_path)])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert str(tmp_path) in message
    assert "expected manifest.json and episodes.jsonl" in message


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ('{"seed": 1}', "misses agents")])
def test_a_broken_manifest_is_named(tmp_path, text, message):
    (tmp_path / "episodes.jsonl").write_text("")
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        report.write_report(tmp_path)
