"""The evidence: which trainings it takes, what it asks for, and all of it in small."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from agents.config import load
from benchmarks import evidence
from benchmarks.evidence import EMBEDDED, Study, check, conclude, main, measure, seconds, train_all
from benchmarks.processes import ROOT
from benchmarks.quickstart import CONFIGS

STEPS = 2


def study(folder: Path, **changes) -> Study:
    plain = Study(
        weights=EMBEDDED,
        seeds=(0, 1),
        out=folder / "out",
        trainings=folder / "trainings",
        steps=STEPS,
        questions=8,
        samples=2,
        workers=1,
    )
    return replace(plain, **changes)


def finish(study: Study) -> None:
    """Put the model before training where the trained ones would be."""
    for run in study.runs():
        run.run_dir.mkdir(parents=True)
        config = load(run.config, ["--optim.steps", str(run.steps), *run.overrides])
        (run.run_dir / "config.yaml").write_text(config.to_yaml())
        rows = [{"step": n + 1, "split": "train", "seconds_step": 1.5} for n in range(run.steps)]
        rows.append({"step": run.steps, "split": "eval", "seconds_eval": 0.25})
        (run.run_dir / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        shutil.copytree(study.weights, run.run_dir / "model")


def test_a_training_for_each_seed_and_algorithm(tmp_path):
    runs = study(tmp_path).runs()
    assert [run.name for run in runs] == ["mgpo 0", "mgpo 1", "grpo 0", "grpo 1"]
    sha256 = hashlib.sha256((EMBEDDED / "model.safetensors").read_bytes()).hexdigest()
    assert runs[1].run_dir == tmp_path / f"trainings/{sha256[:8]}_seed1/mgpo"
    assert list(runs[1].overrides) == ["--seed", "1", "--model.path", "agents/tiny/weights"]
    assert runs[3].config == CONFIGS["grpo"]


def test_one_benchmark_with_everybody_in_it():
    words = study(ROOT / "runs/never").command()
    agents = words[1 : words.index("--datasets")]
    assert [agent.partition("=")[0] for agent in agents] == [
        *("random", "centre", "oracle", "base", "base_one_look", "grpo", "mgpo"),
    ]
    assert agents[-1].count(",") == 1 and agents[-1].startswith("mgpo=runs/never/trainings/")
    assert "synthetic:test,size=8" in words and "synthetic:ood,size=4" in words
    assert words[words.index("--sufficiency") + 1] == "base"
    assert "crop" in words and str(ROOT) not in " ".join(words)


def test_what_is_there_is_not_trained_again(tmp_path, monkeypatch, capsys):
    small = study(tmp_path)
    asked: list[str] = []
    monkeypatch.setattr(evidence, "train", lambda runs, *_: asked.extend(r.name for r in runs))
    finish(small)
    train_all(small, Console())
    assert asked == [] and "4 of 4 trainings are there" in capsys.readouterr().out
    shutil.rmtree(small.folder("mgpo", 1) / "model")  # interrupted
    shutil.rmtree(small.folder("grpo", 0))
    train_all(small, Console())
    assert asked == ["mgpo 1", "grpo 0"]
    assert [seconds(run) for run in small.runs()] == [3.25, 3.25, 0.0, 3.25]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 3}, "optim.steps = 2, now 3"),
        ({"overrides": ("--optim.lr", "0.5")}, "optim.lr = 0.0002, now 0.5"),
    ],
)
def test_trainings_of_other_settings_are_no_evidence(tmp_path, changes, words):
    finish(study(tmp_path))
    run = study(tmp_path, **changes).runs()[0]
    with pytest.raises(ValueError, match="holds a training of other settings") as error:
        check(run)
    assert words in str(error.value) and "--trainings" in str(error.value)


def test_wrong_settings_are_told_in_a_line(tmp_path, capsys):
    finish(study(tmp_path))
    words = ["--out", tmp_path / "out", "--trainings", tmp_path / "trainings", "--steps", "5"]
    assert main([*map(str, words), "--seeds", "0"]) == 2
    assert "optim.steps = 2, now 5" in capsys.readouterr().out
    assert main(["--out", str(tmp_path / "out"), "--weights", str(tmp_path)]) == 2
    assert "model.safetensors" in capsys.readouterr().out


def test_the_whole_of_it_with_models_that_learned_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "ABLATIONS", ("crop=blank,oracle",))
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)
    monkeypatch.setattr(evidence, "PICTURE", tmp_path / "picture.png")
    small = study(tmp_path, questions=4, samples=1)
    finish(small)
    assert measure(small) == 0
    found = conclude(small, keep=True)
    assert json.loads((tmp_path / "evidence.json").read_text()) == found
    assert found["training"]["seconds"] == {run.name: 3.2 for run in small.runs()}  # 3.25, rounded
    held = found["results"]["heldout"]
    assert set(held) == {"random", "centre", "oracle", "base", "base_one_look", "grpo", "mgpo"}
    assert held["oracle"]["accuracy"] == 1.0 and held["oracle"]["n"] == 4
    # The same weights answer alike, whatever the agent is called.
    assert held["mgpo"]["trainings"]["values"] == [held["base"]["accuracy"]] * 2
    assert held["grpo"]["trainings"]["values"] == [held["base_one_look"]["accuracy"]] * 2
    assert set(found["ablations"]["heldout"]) == {"base", "mgpo"}  # the others see no crop
    crops = found["ablations"]["heldout"]["mgpo"]["crop"]
    assert set(crops) == {"real", "blank", "oracle"}
    assert crops["real"]["accuracy"] == held["mgpo"]["accuracy"]
    assert held["mgpo"]["sufficiency"]["reference"] == "base"
    pairs = [{row["a"], row["b"]} for row in found["comparisons"]["out_of_distribution"]]
    assert {"grpo", "mgpo"} in pairs and {"mgpo", "mgpo [crop=blank]"} in pairs
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width > 1200
    assert (small.out / "benchmark/report.html").is_file()
    assert "| MGPO, two turns |" in (small.out / "evidence.md").read_text()


@pytest.mark.slow
def test_trainings_benchmark_and_the_same_command_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evidence, "ABLATIONS", ("crop=blank",))
    words = ["--out", str(tmp_path / "out"), "--seeds", "0", "7", "--steps", "1"]
    words += ["--questions", "4", "--samples", "1", "--workers", "2"]
    words += ["--rollout.groups_per_step", "2", "--rollout.group_size", "2", "--eval.every", "0"]
    assert main(words) == 0
    first = json.loads((tmp_path / "out/evidence.json").read_text())
    assert first["training"]["seeds"] == [0, 7] and first["training"]["steps"] == 1
    assert len(first["results"]["heldout"]["grpo"]["trainings"]["values"]) == 2
    episodes = (tmp_path / "out/benchmark/episodes.jsonl").read_bytes()
    capsys.readouterr()
    assert main(words) == 0
    assert "4 of 4 trainings are there" in capsys.readouterr().out
    assert (tmp_path / "out/benchmark/episodes.jsonl").read_bytes() == episodes
    assert json.loads((tmp_path / "out/evidence.json").read_text()) == first
