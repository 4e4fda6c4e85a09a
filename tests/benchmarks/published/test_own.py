"""Numbers that a person brings along, from the command line to the page that is made again."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.published import copies, keep, kept, read
from benchmarks.run import main

from ..conftest import ENV, ROOT

BASE = f"base={ROOT}/configs/mgpo_tiny.yaml"
WORDS = ["--agents", BASE, "--datasets", "synthetic:test,size=4", "--pictures", "0"]
WORDS += [word for key, value in ENV.items() for word in (f"--env.{key}", str(value))]
NUMBERS = """
defaults: {benchmark: synthetic, split: test, metric: micro, n: 4, source: our wiki}
numbers:
  - {model: Mine of last year, percent: 61.5, protocol: {max_pixels: 9216, dialogue: mgpo}}
  - {model: Someone's, percent: 62.5, protocol: {max_pixels: 4, dialogue: mgpo}}
"""


def write(path: Path, text: str = NUMBERS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_a_run_shows_them_and_its_folder_keeps_them(tmp_path, capsys):
    own, out = write(tmp_path / "own.yaml"), tmp_path / "out"
    words = [*WORDS, "--out", str(out)]
    assert main([*words, "--published", str(own)]) == 0
    said = capsys.readouterr().out
    assert "published: Mine of last year 61.5 (micro, our wiki); here: base" in said
    assert re.search(r"as far as stated, [0-9]+ points open\)", " ".join(said.split()))
    assert "Published numbers that do not compare with this run: 1;" in said
    page = (out / "report.html").read_bytes()
    assert b">As far as stated<" in page and b"at most 4 pixels per image" in page
    own.unlink()  # the folder is enough
    (out / "report.html").unlink()
    assert report.main([str(out)]) == 0
    assert (out / "report.html").read_bytes() == page
    hashed = {"own.yaml": hashlib.sha256(NUMBERS.encode()).hexdigest()[:16]}
    assert noted(out) == {name: f"sha256:{text}" for name, text in hashed.items()}
    # A shorter command that goes on keeps them, in the manifest too.
    assert main([*words, "--resume"]) == 0
    assert [number.model for number in kept(out)] == ["Mine of last year", "Someone's"]
    assert list(noted(out)) == ["own.yaml"]
    assert b"Mine of last year" in (out / "report.html").read_bytes()
    # Going on with others is no other run: nothing that was played depends on them.
    other = write(tmp_path / "other.yaml", NUMBERS.replace("Mine of last year", "Another"))
    assert main([*words, "--resume", "--published", str(other)]) == 0
    assert [number.model for number in kept(out)] == ["Another", "Someone's"]
    assert list(noted(out)) == ["other.yaml"] and not (out / "published/own.yaml").exists()
    earlier = json.loads((out / "manifest.json").read_text())["earlier"]
    assert earlier[-1]["published.own.yaml"] == f"sha256:{hashed['own.yaml']}"


def noted(out: Path) -> dict[str, str]:
    return dict(json.loads((out / "manifest.json").read_text())["published"])


def test_a_bad_file_is_named_before_anything_is_played(tmp_path, capsys):
    bad = write(tmp_path / "bad.yaml", NUMBERS.replace("61.5", "615"))
    for file, message in (
        (bad, "bad.yaml, number 1 (Mine of last year): percent: got 615"),
        (tmp_path / "none.yaml", "none.yaml: no such file, expected"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*WORDS, "--out", str(tmp_path / "out"), "--published", str(file)])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_files_are_kept_by_name_and_replace_earlier_ones(tmp_path):
    first, second = write(tmp_path / "a/x.yml"), write(tmp_path / "b/x.yaml")
    assert kept(tmp_path / "out") == []
    with pytest.raises(ValueError, match=r"x\.yml: expected files of different names"):
        read([first, second])
    keep(read([first]), tmp_path / "out")
    assert copies(tmp_path / "out") == {"x.yaml": NUMBERS.encode()}
    assert [number.percent for number in kept(tmp_path / "out")] == [61.5, 62.5]
    keep({}, tmp_path / "out")
    assert kept(tmp_path / "out") == []
