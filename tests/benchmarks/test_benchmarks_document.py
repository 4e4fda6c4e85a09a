"""docs/benchmarks.md: its commands are understood, its agent plays, its names exist."""

from __future__ import annotations

import json
import re
import shlex
import sys

import pytest

from benchmarks import ablations
from benchmarks.command import make_parser
from benchmarks.published import load
from benchmarks.run import main
from benchmarks.specs import parse_dataset
from hrvision_env.crops import CROPS
from hrvision_env.plugins import resolve
from hrvision_env.scripted import SCRIPTED

from .conftest import ROOT

TEXT = (ROOT / "docs/benchmarks.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


COMMANDS = [
    shlex.split(line, comments=True)
    for block in blocks("bash")
    for line in block.replace("\\\n", " ").splitlines()
    if "benchmarks.run" in line
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[-1])
def test_its_commands_are_understood(words):
    options, rest = make_parser(None).parse_known_args(words[words.index("benchmarks.run") + 1 :])
    assert rest == [] and options.agents and options.out
    assert [parse_dataset(text).name for text in options.datasets] == options.datasets
    assert set(ablations.parse(options.ablate)) <= set(ablations.ABLATIONS)


def test_its_agent_plays(tmp_path, monkeypatch, capsys):
    (code,), (config, *_) = blocks("python"), blocks("yaml")
    (tmp_path / "my_agent.py").write_text(code)
    (tmp_path / "my_agent.yaml").write_text(config.replace("agents/tiny", f"{ROOT}/agents/tiny"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_agent", raising=False)
    words = ["--agents", f"mine={tmp_path}/my_agent.yaml", "--limit", "4", "--pictures", "0"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out/episodes.jsonl").open()]
    assert [row["valid_box"] for row in rows] == [True] * 4
    assert {row["episode"]["answer"] for row in rows} == {"A"}
    missing = [name for name in FILES if not (tmp_path / "out" / name).exists()]
    assert missing == ["sufficiency.jsonl", "images/", "originals/"]  # they were not asked for


def test_its_numbers_are_wholly_stated(tmp_path):
    (tmp_path / "own.yaml").write_text(blocks("yaml")[-1])
    (number,) = load(tmp_path / "own.yaml")
    silent = [name for name, value in vars(number.protocol).items() if value is None]
    # These are for numbers of draws, and for those of crops alone.
    assert silent == ["temperature", "reference", "reference_max_pixels"]


SECTION = TEXT.split("## What is written")[1].split("\n\n")[1]
FILES = re.findall(r"`([\w.]+\.(?:jsonl?|html)|images/|originals/)`", SECTION)


def test_every_name_in_it_exists():
    assert FILES[0] == "episodes.jsonl" and len(FILES) == 9
    assert all(f"`{name}`" in TEXT for name in SCRIPTED)
    assert all(f"`{name}`" in TEXT for name in CROPS if name != "real")
    named = re.findall(r"^\| `(\w+)[`=]", TEXT.split("| `--ablate` |")[1], re.MULTILINE)
    assert set(named) <= set(ablations.ABLATIONS) and "crop" in named
    for loader in ("vstar", "synthetic", "hrbench"):
        assert callable(resolve("hrvision_env.datasets", loader, "load", call=False))


def test_its_links_lead_somewhere():
    paths = re.findall(r"`((?:benchmarks|agents|configs|docs)/[\w./]+)`", TEXT)
    assert "benchmarks/published/" in paths
    later = {"benchmarks/results/evidence.json"}  # made by `make evidence`
    assert [path for path in paths if not (ROOT / path).exists() and path not in later] == []
