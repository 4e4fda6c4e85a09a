"""Mean and spread over seeds, from quickstarts that are already there."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.seeds import main, over_seeds


def results(accuracy: float, box_side: float | None = 100.0) -> dict[str, Any]:
    found = {"accuracy": accuracy, "n": 10, "box_side": box_side}
    part = {"mgpo": found, "random": {"accuracy": 0.25, "n": 10}}
    manifest = {"versions": {"torch": "2"}, "machine": {"cores": 2}}
    both = {"heldout": part, "out_of_distribution": part}
    return {**both, "seconds": {"total": 1.0}, "training": {"steps": 2}, "manifest": manifest}


def test_mean_and_sample_deviation_by_hand():
    table = over_seeds([results(0.5), results(0.75), results(1.0)])
    # deviations -1/4, 0, 1/4: sqrt(2/16 / (3 - 1)) = 1/4
    expected = {"mean": 0.75, "sd": 0.25, "values": [0.5, 0.75, 1.0]}
    assert table["heldout"]["mgpo"]["accuracy"] == expected
    assert over_seeds([results(0.5)])["heldout"]["mgpo"]["accuracy"]["sd"] is None


def test_a_measure_that_a_seed_lacks_is_left_out():
    table = over_seeds([results(0.5), results(0.5, box_side=None)])
    assert set(table["heldout"]["mgpo"]) == {"accuracy"}


def folder_with(folder: Path, content: bytes) -> Path:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(content)
    return folder


def test_finished_runs_are_used_again_and_studies_kept_side_by_side(tmp_path, monkeypatch, capsys):
    out = tmp_path / "kept.json"
    for n, content in enumerate((b"one", b"two")):
        weights = folder_with(tmp_path / str(n), content)
        name = hashlib.sha256(content).hexdigest()[:8]
        for seed, accuracy in enumerate((0.5, 1.0)):
            run = tmp_path / "runs" / f"{name}_seed{seed}"
            run.mkdir(parents=True)
            (run / "results.json").write_text(json.dumps(results(accuracy)))
        words = ["--seeds", "0", "1", "--weights", str(weights), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["seeds", *words, "--runs", str(tmp_path / "runs")])
        main()
        main()  # the same weights again: replaced, not added
    kept = json.loads(out.read_text())
    assert [study["sha256"] for study in kept["studies"]] == [
        hashlib.sha256(content).hexdigest() for content in (b"one", b"two")
    ]
    study = kept["studies"][1]
    assert study["over_seeds"]["heldout"]["mgpo"]["accuracy"]["mean"] == 0.75
    assert study["runs"]["1"]["manifest"]["machine"] == {"cores": 2}
    assert kept["date"]
    assert "75.0% +- 35.4" in capsys.readouterr().out
