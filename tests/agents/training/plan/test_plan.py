"""Whole plans: the configs that ship, the command line, and what is proposed."""

import functools
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from agents.config import load
from agents.training.plan import PHASES, alternatives, plan, remedy
from agents.training.plan.command import is_asked, plan_command, split
from agents.training.plan.memory import GIB
from agents.training.plan.report import show
from agents.training.plan.zero import zero_of

ROOT = Path(__file__).parents[4]
CONFIGS = ROOT / "configs"
GPU_CONFIGS = sorted(
    path.stem for path in CONFIGS.glob("*.yaml") if "GPUs of 80 GB" in path.read_text()[:200]
) + sorted(path.stem for path in CONFIGS.glob("*_1gpu*.yaml"))


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    """Configs name DeepSpeed's files as seen from the checkout."""
    monkeypatch.chdir(ROOT)


@functools.cache
def planned(name, *words, gpu=""):
    return plan(load(CONFIGS / f"{name}.yaml", words), gpu)


def test_the_sizes_that_people_ask_for_are_there():
    wanted = {f"mgpo_{size}_{gpus}gpu" for size in ("3b", "7b") for gpus in (1, 8, 16)}
    assert wanted | {"mgpo_reference"} <= set(GPU_CONFIGS)


@pytest.mark.parametrize("name", GPU_CONFIGS)
@pytest.mark.parametrize("gpu", ["h100-80", "a100-80"])
def test_every_config_fits_80_gb_with_margin(name, gpu):
    made = planned(name, gpu=gpu)
    assert made.fits
    assert made.peak <= 0.9 * made.card.memory * GIB
    assert made.peak == max(made.gpu(phase) for phase in PHASES)
    stem = re.search(r"_(\d+)gpu", name)
    if stem:
        assert made.config.scale.processes == int(stem[1])


@pytest.mark.parametrize("name", GPU_CONFIGS)
def test_the_first_line_says_what_the_plan_says(name):
    first = (CONFIGS / f"{name}.yaml").read_text().splitlines()[0]
    made = planned(name)
    found = re.search(r"by estimate (\d+) GiB(?: each)?, (\d+) s a step", first)
    assert found, first
    gib, seconds = found.groups()
    assert int(gib) == pytest.approx(made.peak / GIB, abs=1.5)
    assert int(seconds) == pytest.approx(made.seconds.usual, rel=0.05, abs=1)
    assert first.endswith("not measured.")


def test_the_embedded_model_is_planned_too():
    made = planned("mgpo_tiny")
    assert made.fits
    assert made.itemsize == 4
    assert made.shapes.family == "qwen3_vl"
    assert made.works[1].groups * 8 == made.works[1].rows == 128


def test_more_processes_need_a_deepspeed_file():
    with pytest.raises(ValueError, match=r"scale.processes: got 8 without scale.deepspeed"):
        planned("mgpo_7b_1gpu", "--scale.processes", "8")


def test_what_does_not_fit_comes_with_changes_that_help():
    made = planned("mgpo_7b_8gpu", gpu="a100-40")
    assert not made.fits
    others = alternatives(made)
    assert [other.peak for _, other in others] == sorted(other.peak for _, other in others)
    assert all(other.peak < made.peak for _, other in others)
    words = [words for words, _ in others]
    assert '--model.lora "{rank: 64, alpha: 128}"' in words
    assert "--scale.deepspeed configs/deepspeed/zero2_offload.json" in words
    chosen, best = remedy(made)
    assert best.fits
    assert chosen[0] == words[0]


@pytest.mark.parametrize(
    "words",
    [
        ["--optim.micro_batch_tokens", "12288"],
        ["--scale.deepspeed", "configs/deepspeed/zero2_offload.json"],
        ["--model.lora", "{rank: 64, alpha: 128}"],
    ],
)
def test_a_proposal_is_worth_what_it_says(words):
    """The file that is named has the settings that the proposal was computed with."""
    made = planned("mgpo_7b_8gpu", gpu="a100-40")
    asked = f'{words[0]} "{words[1]}"' if "{" in words[1] else " ".join(words)
    promised = dict(alternatives(made))[asked]
    assert planned("mgpo_7b_8gpu", *words, gpu="a100-40").peak == promised.peak


def test_checkpointing_pays_on_one_gpu():
    plain = planned("mgpo_7b_1gpu", "--model.gradient_checkpointing", "false")
    assert not plain.fits
    assert "--model.gradient_checkpointing true" in dict(alternatives(plain))


def test_deepspeed_files_are_read_as_they_are():
    files = {path.stem: zero_of(str(path)) for path in (CONFIGS / "deepspeed").glob("*.json")}
    stages = {name: zero.stage for name, zero in files.items()}
    assert stages == {"zero2": 2, "zero2_offload": 2, "zero3": 3, "zero3_offload": 3}
    for name, zero in files.items():
        assert zero.optimizer_on_host == ("offload" in name)
        assert zero.weights_on_host == (name == "zero3_offload")


def test_command_line(capsys):
    words = ["configs/mgpo_7b_8gpu.yaml", "--plan", "h200", "--optim.steps", "7"]
    assert is_asked(words)
    assert split(words) == ("h200", False, ["configs/mgpo_7b_8gpu.yaml", "--optim.steps", "7"])
    assert split(["a.yaml", "--plan", "--json"]) == ("", True, ["a.yaml"])
    assert split(["a.yaml", "--plan", "--seed", "1"]) == ("", False, ["a.yaml", "--seed", "1"])
    assert split(["--plan=l40s", "a.yaml"]) == ("l40s", False, ["a.yaml"])
    assert split(["--plan", "a.yaml"]) == ("", False, ["a.yaml"])
    assert plan_command(words) == 0
    printed = capsys.readouterr().out
    for word in ("Parameters", "Memory, GiB", "A step", "Seconds", "Assumed", "It fits"):
        assert word in printed
    assert plan_command(["configs/mgpo_reference.yaml", "--plan", "rtx4090"]) == 1
    assert "It does not fit" in capsys.readouterr().out
    assert plan_command(["configs/mgpo_7b_8gpu.yaml", "--plan", "v100"]) == 2
    assert "error: --plan: got GPU 'v100'" in capsys.readouterr().err
    assert plan_command(["--plan"]) == 2
    assert "got no config" in capsys.readouterr().err


def test_json_holds_the_same_numbers(capsys):
    assert plan_command(["configs/mgpo_7b_16gpu.yaml", "--plan", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    made = planned("mgpo_7b_16gpu")
    assert told["gpus"] == 16
    assert told["gpu_bytes"] == {phase: made.gpu(phase) for phase in PHASES}
    assert told["seconds_step"]["usual"] == pytest.approx(made.seconds.usual)
    assert told["tokens"]["sampled"] == 128 * 8 * 2 * 256
    assert told["fits"] is True
    total = sum(item["gpu"] for item in told["memory"].values() if "update" in item["phases"])
    assert total == told["gpu_bytes"]["update"]


def test_the_tables_fit_a_terminal():
    console = Console(width=100, record=True, file=io.StringIO())
    show(planned("mgpo_7b_1gpu_vllm"), console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 100
    row = next(line for line in lines if "vLLM " in line and "GiB" not in line)
    assert row.split("│")[2].strip() == f"{0.4 * 79.6:.1f}"
