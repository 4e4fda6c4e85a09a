"""The benchmark from the command line: scripted agents and the embedded model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.command import environment_overrides
from benchmarks.metrics import summarise_all
from benchmarks.run import main
from hrvision_env.records import Episode

from ..hrvision_env.datasets.formats import Written
from .conftest import ENV, ROOT, played, timeless

OVERRIDES = [word for key, value in ENV.items() for word in (f"--env.{key}", str(value))]


def run(*words: str, out: Path) -> dict[str, Any]:
    assert main([*words, "--out", str(out)]) == 0
    return json.loads((out / "summary.json").read_text())


def test_scripted_agents_frame_the_table(tmp_path):
    words = ["--agents", "random", "oracle", "--datasets", "synthetic:test", "synthetic:ood"]
    summary = run(*words, "--limit", "12", *OVERRIDES, out=tmp_path)
    assert set(summary) == {"random", "oracle"}
    for dataset in ("synthetic:test", "synthetic:ood"):
        assert summary["oracle"][dataset]["accuracy"] == 1.0
        assert summary["random"][dataset]["accuracy"] < 0.8
        assert summary["random"][dataset]["n"] == 12
        assert summary["random"][dataset]["chance"] == pytest.approx(1 / 6)
    categories = summary["oracle"]["synthetic:ood"]["categories"]
    assert {name: part["n"] for name, part in categories.items()} == dict.fromkeys(
        ("small", "big", "crowded", "large_image"), 3
    )


def test_every_episode_is_a_line_from_which_the_summary_can_be_made_again(tmp_path):
    summary = run("--agents", "oracle", "--limit", "3", *OVERRIDES, out=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "episodes.jsonl").open()]
    assert len(rows) == 3
    assert Episode.from_dict(rows[0]["episode"]).correct
    assert summarise_all(rows) == summary


def test_the_manifest_names_the_protocol(tmp_path):
    run("--agents", "random", "--limit", "1", "--seed", "5", *OVERRIDES, out=tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["seed"] == 5
    assert manifest["versions"]["gymnasium"]
    env = manifest["agents"]["random"]["env"]
    assert (env["prompt"], env["min_pixels"], env["max_pixels"]) == ("brief", 9216, 9216)
    assert env["box_parser"] == "strict"  # a default is written out as well


def test_the_embedded_model_plays_greedily_and_sampled(tmp_path):
    base = f"base={ROOT / 'configs/mgpo_tiny.yaml'}"
    words = ["--agents", base, "random", "--limit", "16", "--samples", "1"]
    summary = run(*words, *OVERRIDES, out=tmp_path)
    found = summary["base"]["synthetic:test"]
    assert found["n"] == 16
    assert found["valid_box_rate"] > 0.9
    assert 0 <= found["hit_rate_sampled"] <= 1
    # A scripted agent's second episode would be its first one again.
    assert "hit_rate_sampled" not in summary["random"]["synthetic:test"]
    rows = [json.loads(line) for line in (tmp_path / "episodes.jsonl").open()]
    sampled = [row for row in rows if row["agent"] == "base" and row["sampled"]]
    assert len(sampled) == 16


def test_two_workers_give_the_rows_of_one(tmp_path):
    words = ["--agents", "random", "centre", "--limit", "5", *OVERRIDES]
    one = run(*words, out=tmp_path / "one")
    two = run(*words, "--workers", "2", out=tmp_path / "two")
    assert timeless(one) == timeless(two)
    assert played(tmp_path / "one") == played(tmp_path / "two")


def test_a_users_own_folder_with_a_broken_image_is_reported(tmp_path, capsys):
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "good.jpg")
    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    rows = [
        {"images": [name], "question": "Which colour?", "answer": "grey"}
        for name in ("good.jpg", "bad.jpg")
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    words = ["--agents", "oracle", "--datasets", f"jsonl:{tmp_path}", *OVERRIDES]
    assert main([*words, "--out", str(tmp_path / "out")]) == 1
    text = "".join(capsys.readouterr().out.split())  # wherever the console breaks lines
    assert "1of2episodesfailed" in text and "bad.jpg" in text
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    part = summary["oracle"][f"jsonl:{tmp_path}"]
    assert (part["accuracy"], part["outcomes"]) == (0.5, {"correct": 1, "error": 1})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--agents", "orakle"], "orakle"),
        (["--agents", "random", "random"], "given twice"),
        (["--agents", "random", "--datasets", "synthetik"], "did you mean 'synthetic'"),
        (["--agents", "random", "--datasets", "synthetic:tset"], "'tset'"),
        (["--agents", "random", "--datasets", "synthetic,seeed=1"], "did you mean 'seed'"),
        (["--agents", "random", "--datasets", "jsonl:no/such/folder"], "no/such/folder"),
        (["--agents", "random", "--limit", "0"], "expected 1 or more"),
        (["--agents", "random", "--min_box", "2"], "expected --env.KEY VALUE"),
        (["--agents", "random", "--env.min_box"], "without a value"),
        (["--agents", "random", "--env.min_bocks", "2"], "min_bocks"),
    ],
)
def test_bad_input_is_named_before_anything_is_played(tmp_path, capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out/episodes.jsonl").exists()


def test_finished_episodes_are_neither_mixed_nor_lost(tmp_path, capsys):
    words = ["--agents", "random", "--limit", "1", "--out", str(tmp_path), *OVERRIDES]
    assert main(words) == 0
    before = (tmp_path / "episodes.jsonl").read_text()
    with pytest.raises(SystemExit):
        main(words)
    assert "holds episodes already" in capsys.readouterr().err
    assert (tmp_path / "episodes.jsonl").read_text() == before


def test_overrides_are_read_as_yaml():
    words = ["--env.min_box", "2", "--env.max_turns", "null", "--env.prompt", "brief"]
    assert environment_overrides(words) == {"min_box": 2, "max_turns": None, "prompt": "brief"}


BASE = f"base={ROOT / 'configs/mgpo_tiny.yaml'}"


def test_the_crops_may_be_judged_afterwards_and_by_nobody_else(tmp_path, capsys):
    words = ["--agents", "oracle", BASE, "--limit", "4", "--out", str(tmp_path)]
    assert main(words) == 0
    before = played(tmp_path)
    assert main([*words, "--resume", "--sufficiency", "base"]) == 0
    assert played(tmp_path) == before
    answers = played(tmp_path, "sufficiency.jsonl")
    assert len(answers) == 8 and {row["agent"] for row in answers} == {"base"}
    assert all(len(row["episode"]["turns"]) == 1 for row in answers)
    summary = json.loads((tmp_path / "summary.json").read_text())
    found = summary["oracle"]["synthetic:test"]["sufficiency"]
    assert (found["reference"], found["n"], found["with_box"]) == ("base", 4, 4)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["sufficiency"] == "base" and manifest["reference"]["max_tokens"] == 24
    capsys.readouterr()
    for other in ([], ["--sufficiency", f"other={ROOT / 'configs/mgpo_tiny.yaml'}"]):
        with pytest.raises(SystemExit):
            main([*words, "--resume", *other])
        assert "sufficiency: 'base' before" in capsys.readouterr().err
    assert played(tmp_path, "sufficiency.jsonl") == answers


def test_ablations_trainings_and_what_is_not_played_are_in_the_manifest(tmp_path, capsys):
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "a.jpg")
    row = {"images": ["a.jpg"], "question": "Which colour?", "answer": "grey"}
    boxed = {**row, "boxes": [[10, 10, 90, 90]]}
    (tmp_path / "test.jsonl").write_text("\n".join(json.dumps(one) for one in (row, boxed)))
    words = ["--agents", "random", BASE, "--datasets", f"jsonl:{tmp_path}", "--samples", "2"]
    words += ["--ablate", "crop=oracle,blank", "turns=1", "--env.dialogue", "mgpo"]
    summary = run(*words, out=tmp_path / "out")
    assert list(summary) == [
        *("random", "base", "base [crop=oracle]", "base [crop=blank]", "base [turns=1]"),
    ]
    parts = {name: part[f"jsonl:{tmp_path}"] for name, part in summary.items()}
    assert (parts["base"]["n"], parts["base [crop=oracle]"]["n"]) == (2, 1)
    assert parts["base"]["draws"]["k"] == 2
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["ablations"] == ["crop=oracle,blank", "turns=1"]
    assert manifest["agents"]["base [turns=1]"]["condition"] == ["turns", "1"]
    (note,) = manifest["notes"]
    assert note.startswith("base [crop=oracle]: plays 1 of 2 questions")
    assert "plays 1 of 2 questions" in capsys.readouterr().out
    assert "--ablate crop=oracle,blank turns=1" in manifest["command"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ablate", "krop"], "did you mean 'crop'"),
        (["--ablate", "crop=blnk"], "did you mean 'blank'"),
        (["--samples", "-1"], "expected 0 or more"),
        (["--sufficiency", "nobody"], "nobody"),
        (["--sufficiency", "random"], "expected a model"),
    ],
)
def test_a_wrong_experiment_is_named_before_anything_is_played(tmp_path, capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        main(["--agents", "random", BASE, *words, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out/episodes.jsonl").exists()


@pytest.mark.parametrize("name", ["vstar_questions", "mmiu_json", "refcoco_val"])
def test_everything_at_once_on_published_layouts(name, tmp_path, capsys):
    """Options, several images, answers that are boxes; all ablations, and the crops alone."""
    case = Written(tmp_path)[name]
    options = "".join(f",{key}={value}" for key, value in case.options.items())
    dataset = f"{case.dataset}:{case.split}{options}"
    words = ["--agents", "oracle", BASE, "--datasets", dataset, "--samples", "2"]
    words += ["--ablate", "crop", "turns=1", "options=1", "--sufficiency", "base", "--limit", "4"]
    summary = run(*words, out=tmp_path / "out")
    assert all(part[dataset]["n"] >= 1 for part in summary.values())
    assert summary["oracle"][dataset]["accuracy"] == 1.0
    rows = played(tmp_path / "out")
    assert all(row["strict"] is not None for row in rows)
    places = {row["sample"]["answer_kind"] for row in rows} <= {"box", "points"}
    assert ("sufficiency" in summary["oracle"][dataset]) != places
    said = capsys.readouterr().out
    assert ("Published numbers that do not compare" in said) == (case.dataset != "refcoco")
