"""docs/algorithms.md: its algorithm trains, its table is complete."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agents.config import load
from agents.training.advantages import GroupScores
from agents.training.algorithm import Options, algorithms, get_algorithm
from agents.training.metrics_file import read_metrics
from agents.training.trainer import Trainer

from .conftest import small_run
from .rows import per_token, two_rows

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "algorithms.md").read_text()


def block(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def soft_gate(tmp_path, monkeypatch):
    """The document's file on the import path."""
    (tmp_path / "soft_gate.py").write_text(block("python"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "soft_gate", raising=False)
    return get_algorithm("soft_gate:ALGORITHM")


def test_it_is_forty_lines():
    code = block("python").split('"""', 2)[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 40


def test_it_trains(qwen3_folder, tmp_path, soft_gate):
    algorithm = {"name": "soft_gate:ALGORITHM", "preset": "token", "tau": 2.0}
    config = small_run(
        qwen3_folder,
        algorithm=algorithm,
        optim={"steps": 2, "minibatches": 2, "warmup_steps": 0},
        eval={"every": 0},
        checkpoint={"every": 0},
    )
    assert config.env["dialogue"] == "mgpo" and config.algorithm.options.aggregation == "token"
    trainer = Trainer(config, tmp_path / "run")
    before = [weight.clone() for _, weight in trainer.policy.trainable()]
    assert trainer.fit()
    moved = zip(before, trainer.policy.trainable(), strict=True)
    assert any(not torch.equal(old, new) for old, (_, new) in moved)
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    rows = [row for row in rows if row["split"] == "train"]
    assert [row["grad_norm"] > 0 for row in rows] == [True, True]
    # 4/τ σ(0) = 1 where the ratio is 1; two updates per rollout, so about that
    assert [row["algorithm/gate"] for row in rows] == pytest.approx([1.0, 1.0], abs=0.2)


def test_as_a_package_it_is_tested_as_the_others_are(tmp_path):
    """The file in a folder of `agents`, and the tests of every algorithm unchanged."""
    package = tmp_path / "more" / "soft_gate"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(block("python"))
    (tmp_path / "one_more.py").write_text(
        f"import agents\nagents.__path__.append({str(package.parent)!r})\n"
    )
    tests = "tests/agents/training/test_every_algorithm.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "one_more", "-k", "soft_gate", tests]
    paths = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-1_000:]
    assert re.search(r"\b1\d passed", done.stdout)


def test_its_equations_by_hand(soft_gate):
    options = soft_gate.presets["token"]
    scores = GroupScores(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    # (r - 1/4) / (1/4)
    assert soft_gate.advantage(scores, options).tolist() == [3.0, -1.0, -1.0, -1.0]
    # the last one is not compared with: (r - 1/2) / (1/2) of the first two, -1 for it
    some = torch.tensor([True, True, False])
    compared = GroupScores(torch.tensor([1.0, 0.0, 0.0]), compared=some)
    assert soft_gate.advantage(compared, options).tolist() == [1.0, -1.0, -1.0]
    nobody = GroupScores(torch.zeros(2), compared=torch.tensor([False, False]))
    assert soft_gate.advantage(nobody, options).tolist() == [0.0, 0.0]
    assert soft_gate.advantage(GroupScores(torch.zeros(4)), options).tolist() == [0.0] * 4
    logprobs = torch.zeros(2, 4, requires_grad=True)
    soft_gate.loss(two_rows(logprobs, advantages=per_token(3.0, -1.0)), options).loss.backward()
    # slope 1 at ratio 1: -A / N
    assert logprobs.grad is not None
    assert logprobs.grad[:, 0].tolist() == [-0.75, 0.25]


def test_its_command_is_valid(soft_gate):
    command = shlex.split(block("bash").replace("\\\n", "").split("agents.train ")[1])
    config = load(ROOT / command[0], command[1:])
    assert config.algorithm.options.model_dump()["tau"] == 2.0
    assert config.algorithm.name == "soft_gate:ALGORITHM"


def test_the_config_example_is_valid(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(block("yaml"))
    options = load(path).algorithm.options
    assert (options.kl, options.aggregation) == (0.02, "token")


def test_the_table_lists_every_preset_with_its_numbers():
    rows = [line.strip("|").split("|") for line in TEXT.splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in row] for row in rows if len(row) == 8]
    listed = [(row[0].strip("`"), row[1].strip("`")) for row in rows]
    there = [(name, preset) for name in algorithms() for preset in get_algorithm(name).presets]
    assert sorted(listed) == sorted(there)
    for (name, preset), row in zip(listed, rows, strict=True):
        algorithm, options = get_algorithm(name), get_algorithm(name).presets[preset]
        assert row[2] == f"`{algorithm.dialogue}`"
        assert row[6].startswith(f"`{options.aggregation}`")
        for word, value in (("KL", options.kl), ("entropy", options.entropy)):
            assert (f"{word} {value:g}" in row[6]) == bool(value)
        if row[5]:
            low, high = (part.strip() for part in row[5].split(".. ", 1))
            assert float(low or 0) == pytest.approx(max(0.0, 1 - options.clip))
            assert float(high) == pytest.approx(1 + options.upper)
        else:
            assert row[4] == "none"


def test_every_common_option_is_explained():
    rows = [line for line in TEXT.splitlines() if line.startswith("| `") and line.count("|") == 3]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(Options.model_fields)


def test_its_links_lead_somewhere():
    for link in re.findall(r"\]\((\.\./[^)]+)\)", TEXT):
        assert (ROOT / "docs" / link).resolve().is_file(), link
