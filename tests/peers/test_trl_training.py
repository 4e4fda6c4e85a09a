"""A training step of TRL's and one of ours on the same tokens: same prompts, same gradient."""

from __future__ import annotations

import json

import pytest

from benchmarks.speed import training

from . import trl_environment

pytestmark = [pytest.mark.peers, pytest.mark.timeout(900)]


def test_both_sides_do_the_same_work(tmp_path):
    out = tmp_path / "result.json"
    python = str(trl_environment.build())
    arguments = ["--trl-python", python, "--tokens", "54", "--rounds", "1", "--out", str(out)]
    assert training.main(arguments) == 0
    found = json.loads(out.read_text())["54"]
    assert found["gradient_difference"] < 2e-5
    assert found["prompt_tokens"] > 54
    assert found["versions"]["trl"] == "1.16.0"
    assert found["settings_of_trl"]["gradient_checkpointing"] is False
    assert found["counted"]["trl"]["update"] > 2 * found["counted"]["ours"]["update"]
    assert found["step_speedup"] > 0
