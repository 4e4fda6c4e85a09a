"""The command line, as people call it: own photographs, 7B configs in small, signals, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError

from agents.config import load
from agents.train import _failed, main
from agents.training.optimizer import TrainingError
from agents.training.rollouts import Sampled
from agents.training.tracking import read_metrics
from agents.vlm import VLM

from .conftest import FACTOR, noise_image

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "agents" / "tiny" / "weights"
SMALL = (
    *("--model.device", "cpu", "--env.factor", str(FACTOR)),
    *("--env.min_pixels", str(4 * FACTOR**2), "--env.max_pixels", str(9 * FACTOR**2)),
    *("--rollout.groups_per_step", "2", "--rollout.group_size", "2", "--rollout.max_tokens", "8"),
    *("--optim.steps", "2", "--optim.minibatches", "1"),
    *("--scale.processes", "1", "--scale.deepspeed", "''"),
    *("--eval.n", "2", "--eval.batch", "2", "--checkpoint.every", "0"),
)


@pytest.fixture
def photos(tmp_path):
    """Real JPEG files of different shapes, and questions with options, boxes and free answers."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = []
    for n, size in enumerate([(640, 480), (480, 640), (800, 300), (333, 555)]):
        noise_image(*size, seed=n).save(folder / f"{n}.jpg", quality=90)
        row = {"images": [f"{n}.jpg"], "question": "What does the sign say?", "boxes": None}
        options = {"options": {"A": "stop", "B": "go"}, "answer": "A", "boxes": [[9, 9, 99, 99]]}
        rows.append(row | ({"options": None, "answer": "stop"} if n == 3 else options))
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def train(*words, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "agents.train", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        **kwargs,
    )


def test_own_photographs(photos, tmp_path, qwen3_folder):
    model = WEIGHTS if (WEIGHTS / "config.json").is_file() else qwen3_folder
    done = train(
        *("configs/mgpo_tiny.yaml", "--env.dataset", "jsonl", "--env.root", photos),
        *("--model.path", model, "--run_dir", tmp_path / "run"),
        *("--optim.steps", 2, "--rollout.group_size", 4, "--eval.n", 4),
    )
    assert done.returncode == 0, done.stderr
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [(row["step"], row["split"]) for row in rows] == [
        (0, "eval"),
        (1, "train"),
        (2, "train"),
        (2, "eval"),
    ]
    assert all(row["errors"] == 0 for row in rows)
    assert all(row["mismatch_max"] < 1e-4 for row in rows if "mismatch_max" in row)
    assert "Traceback" not in done.stderr
    VLM.load(tmp_path / "run" / "model")


@pytest.mark.parametrize("name", ["grpo_7b_1gpu", "mgpo_7b_1gpu", "mgpo_reference"])
def test_the_7b_configs_run_through_the_same_code(name, photos, tmp_path, qwen25_folder):
    """Only sizes, paths and the device differ from the real run."""
    words = [f"configs/{name}.yaml", *SMALL, "--model.path", qwen25_folder]
    words += ["--env.root", str(photos), "--run_dir", str(tmp_path / "run")]
    words += ["--env.grader", "tests.agents.training.plugins:early_letters"]
    words[0] = str(ROOT / words[0])
    assert main(words) == 0
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["split"] for row in rows] == ["eval", "train", "train", "eval"]
    assert all(row["errors"] == 0 for row in rows)
    config = load(tmp_path / "run" / "config.yaml")
    assert config.model.dtype == "bfloat16"
    saved = {p.name for p in (tmp_path / "run" / "checkpoints" / "step_000002").iterdir()}
    assert ("adapter_model.safetensors" in saved) == (config.model.lora is not None)
    assert ("model.safetensors" in saved) == (config.model.lora is None)
    VLM.load(tmp_path / "run" / "model", dtype="bfloat16")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_exits_with_0(qwen3_folder, tmp_path, number):
    run = tmp_path / "run"
    words = ["configs/mgpo_tiny.yaml", "--model.path", qwen3_folder, "--run_dir", str(run)]
    words += ["--optim.steps", "100000", "--eval.every", "0", "--checkpoint.every", "0"]
    words += ["--rollout.groups_per_step", "2", "--rollout.group_size", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "agents.train", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    metrics = run / "metrics.jsonl"
    while not (metrics.is_file() and metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert "go on with --resume auto" in printed
    (checkpoint,) = (run / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step_"))
    assert read_metrics(metrics)[-1]["step"] == step
    words[words.index("100000")] = str(step + 1)
    assert main([str(ROOT / words[0]), *words[1:], "--resume", "auto"]) == 0
    assert [row["step"] for row in read_metrics(metrics)] == list(range(1, step + 2))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optim.lrr", "1"], "command line: optim.lrr: unknown key, did you mean 'optim.lr'?"),
        (["--model.path", "/no/model"], "model folder /no/model: does not exist"),
        (["--env.dataset", "jsonl", "--env.root", "/no/photos"], "root /no/photos: does not exist"),
        (["--env.factor", "24"], "env.factor: got 24, expected a multiple of 16"),
        (["--env.size", "0"], "dataset 'synthetic', split 'train': holds no question"),
    ],
)
def test_bad_input_is_one_clear_line(qwen3_folder, tmp_path, capsys, words, message):
    base = [str(ROOT / "configs" / "mgpo_tiny.yaml"), "--model.path", qwen3_folder]
    assert main([*base, "--run_dir", str(tmp_path / "run"), *words]) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    last = printed.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("the engine is gone"), "error: RuntimeError: the engine is gone"),
        (MemoryError(), "error: MemoryError: "),
        (SafetensorError("File too large"), "error: SafetensorError: File too large"),
        (OSError(28, "No space left on device"), "error: OSError: [Errno 28] No space left"),
    ],
)
def test_a_run_that_breaks_down_keeps_its_steps(
    qwen3_folder, tmp_path, capsys, monkeypatch, error, line
):
    rollout = Sampled.at

    def failing(self, step, stats):
        if step == 2:
            raise error
        return rollout(self, step, stats)

    monkeypatch.setattr(Sampled, "at", failing)
    words = [str(ROOT / "configs" / "mgpo_tiny.yaml"), "--model.path", qwen3_folder]
    words += [*SMALL, "--optim.steps", "4", "--eval.every", "0", "--run_dir", str(tmp_path)]
    assert main(words) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith(line) and "Traceback" not in printed.err
    saved = tmp_path / "checkpoints" / "step_000002"
    assert (saved / "manifest.json").is_file()
    assert "step_000002 is saved, go on with --resume auto" in " ".join(printed.out.split())
    monkeypatch.undo()
    assert main([*words, "--resume", "auto"]) == 0
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]


def test_a_folder_that_lacks_files_is_told(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    config = str(ROOT / "configs" / "mgpo_tiny.yaml")
    assert main([config, "--model.path", str(tmp_path), "--run_dir", str(tmp_path / "r")]) == 2
    assert f"model folder {tmp_path}: lacks weights" in capsys.readouterr().err


def test_usage(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.count("usage: python -m agents.train CONFIG") == 2


@pytest.mark.parametrize(("rank", "told"), [("0", 1), ("1", 0), (None, 1)])
def test_what_all_processes_raise_is_told_once(rank, told, monkeypatch, capsys):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert _failed(TrainingError("the sampler is off"), 1) == 1
    assert capsys.readouterr().err.count("error: the sampler is off") == told
    _failed(ValueError("my own"), 2)  # of this process alone, as far as is known
    assert capsys.readouterr().err == "error: my own\n"
