"""The real trainer over two processes (gloo, CPU): the same run as in one process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from .conftest import ROOT, rows, torchrun, zero
from .worker import make

pytestmark = pytest.mark.deepspeed

EXACT = ("reward_mean", "tokens", "tokens_trained", "zero_variance_share", "outcome_correct", "lr")
CLOSE = {"loss": 1e-6, "grad_norm": 1e-4, "entropy": 1e-5, "kl_reference": 1e-5}
"""Largest difference, of numbers of size 0.01, 4, 4 and 0.1."""
KL = {"kl": 0.05, "entropy": 0.01, "drop_zero_variance": False}
SETTINGS: dict[str, dict[str, Any]] = {
    # Three updates of one question each: one process is idle in every one of them.
    "minibatches": {"optim": {"minibatches": 3, "importance": "token_truncate"}},
    "tower": {"algorithm": KL, "model": {"freeze_vision": False}, "optim": {"minibatches": 2}},
    "lora": {"algorithm": KL, "model": {"lora": {"rank": 4, "alpha": 8}}},
    "recomputed": {"model": {"gradient_checkpointing": True}, "optim": {"minibatches": 2}},
    # Processes cut different numbers of pieces for the head.
    "pieces": {"optim": {"micro_batch_tokens": 300}},
}


def same_run(one: Path, other: Path) -> None:
    """Every step's numbers agree, and the weights that come out.

    AdamW turns a gradient near 0 into a step of nearly the learning rate, 1e-3, whichever sign
    rounding gives it: single weights may differ by a tenth of that.
    """
    for a, b in zip(rows(one), rows(other), strict=True):
        assert [a.get(k) for k in EXACT] == [b.get(k) for k in EXACT]
        for name, largest in CLOSE.items():
            if name in a:
                assert b[name] == pytest.approx(a[name], abs=largest), (name, a["step"])
    assert rows(one, "eval")[-1]["accuracy"] == rows(other, "eval")[-1]["accuracy"]
    weights, others = (load_file(f / "model" / "model.safetensors") for f in (one, other))
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        gap = (others[name] - tensor).abs()
        assert gap.mean() < 1e-6 and gap.max() < 1e-4, name


@pytest.mark.parametrize("setting", SETTINGS)
def test_two_processes_learn_what_one_learns(setting, model, launch, tmp_path):
    sections = SETTINGS[setting]
    run = {"model": model, "max_logits": 4096 if setting == "pieces" else 2**26}
    make({**run, "sections": sections, "run_dir": str(tmp_path / "plain")})
    stages = (2, 3)
    launch(
        2,
        *(
            {**run, "sections": {**sections, **zero(s)}, "run_dir": str(tmp_path / f"zero{s}")}
            for s in stages
        ),
    )
    for stage in stages:
        same_run(tmp_path / "plain", tmp_path / f"zero{stage}")


def test_a_run_changes_its_processes(model, launch, tmp_path):
    """ZeRO-3 on two, then plain on one, then ZeRO-2 on two: one curve."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"

    def run(steps: int, folder: Path, **sections: Any) -> dict[str, Any]:
        optim = {"steps": steps, "minibatches": 2}
        own = {"optim": optim, "checkpoint": {"every": 1}, "resume": "auto", **sections}
        return {"model": model, "run_dir": str(folder), "sections": own}

    make(run(6, whole))
    launch(2, run(2, parts, **zero(3)))
    make(run(4, parts))
    launch(2, run(6, parts, **zero(2)))
    assert [row["step"] for row in rows(parts)] == [1, 2, 3, 4, 5, 6]
    same_run(whole, parts)


def test_bfloat16_keeps_float32_masters(model, launch, tmp_path):
    """At a rate that rounds to nothing in bfloat16 the masters move, and a resumed run has them."""
    sections = {
        "model": {"dtype": "bfloat16"},
        "optim": {"steps": 2, "lr": 1e-6, "mismatch_stop": 5.0},
        "eval": {"every": 0},
    }
    runs = [
        {"model": model, "run_dir": str(tmp_path / name), "sections": {**sections, **more}}
        for name, more in (("two", zero(2)), ("three", zero(3)))
    ]
    runs[1]["sizes"] = str(tmp_path / "sizes.json")
    launch(2, *runs)
    start = load_file(Path(model) / "model.safetensors")
    # What vLLM is told of weights that are spread over processes.
    sizes = json.loads((tmp_path / "sizes.json").read_text())
    assert sorted(sizes) == sorted(2 * t.numel() for t in start.values())
    for name in ("two", "three"):
        moved = load_file(masters(tmp_path / name))
        key = "model.language_model.layers.0.mlp.up_proj.weight"
        master = next(t for n, t in moved.items() if key in n and "master" in n)
        before = next(t for n, t in start.items() if n.endswith("layers.0.mlp.up_proj.weight"))
        gap = (master - before.bfloat16().float()).abs().max()
        assert 1e-8 < gap < 1e-5


def masters(folder: Path) -> Path:
    newest = sorted((folder / "checkpoints").glob("step_*"))[-1]
    return next((newest / "trainer").glob("*.safetensors"))


def test_rollouts_are_kept_and_read(model, launch, tmp_path):
    """Two processes keep a step in one folder; two others learn the same from it."""
    kept = {"rollout": {"archive": 1}, "optim": {"steps": 2}, "eval": {"every": 0}}
    run = {"model": model, "run_dir": str(tmp_path / "kept"), "sections": {**kept, **zero(2)}}
    source = {"rollout": {"source": str(tmp_path / "kept" / "rollouts")}}
    read = {**kept, **source, **zero(2)}
    again = {"model": model, "run_dir": str(tmp_path / "read"), "sections": read}
    launch(2, run, again)
    alone = {"model": model, "run_dir": str(tmp_path / "alone"), "sections": {**kept, **source}}
    make(alone)
    for a, b, c in zip(*(rows(tmp_path / n) for n in ("kept", "read", "alone")), strict=True):
        assert a["loss"] == b["loss"] == pytest.approx(c["loss"], abs=1e-6)
        assert a["reward_mean"] == b["reward_mean"] == c["reward_mean"]


def command(folder: Path, *more: str) -> tuple[str, ...]:
    """`agents.train` on the embedded scenes, for a few steps."""
    words = ("agents.train", "configs/mgpo_tiny.yaml", "--run_dir", str(folder))
    return (*words, "--eval.every", "0", "--rollout.groups_per_step", "2", *more)


BROKEN = {
    # All stop at the same place, and the first says why.
    "error: rank 1: the grader is out of order": ("--env.grader", "tests.deepspeed.plugins:grader"),
    # The first waits within the update for the second, which has ended.
    "error: the loss is out of order": ("--algorithm.name", "tests.deepspeed.plugins:BROKEN"),
}


@pytest.mark.parametrize("told", BROKEN)
def test_a_failure_on_one_process_ends_all(told, tmp_path):
    more = ("--scale.deepspeed", "configs/deepspeed/zero2.json", "--optim.steps", "50")
    done = torchrun(2, *command(tmp_path / "run", *more, *BROKEN[told]))
    assert done.returncode != 0
    assert done.stderr.count(told) == 1


def test_several_processes_need_deepspeed(tmp_path):
    done = torchrun(2, *command(tmp_path / "run"))
    assert done.returncode != 0
    assert "scale.deepspeed: is empty, but 2 processes were started" in done.stderr
    assert not (tmp_path / "run").exists()


LAUNCHERS = {
    # The launcher passes the signal on, and ends with 1 though every process ends with 0.
    "torchrun": ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29771"),
    # Of the deepspeed launcher's two processes the first ends at once and tells nobody: the signal
    # has to go to all. Those that train hear it twice, as the second passes it on.
    "deepspeed": ("-m", "deepspeed.launcher.runner", "--num_gpus", "2", "--master_port", "29772"),
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_signal_saves_on_all(launcher, tmp_path):
    """SIGTERM: every process stops at the same step, with a checkpoint."""
    more = ("--scale.deepspeed", "configs/deepspeed/zero3.json", "--optim.steps", "5000")
    module = "-m" if launcher == "torchrun" else "--module"
    words = (*LAUNCHERS[launcher], module, *command(tmp_path / "run", *more))
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    until = time.monotonic() + 200
    while not (metrics.is_file() and rows(tmp_path / "run")) and time.monotonic() < until:
        time.sleep(0.2)
    if launcher == "torchrun":
        process.send_signal(signal.SIGTERM)
    else:
        os.killpg(process.pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=100)
    assert "interrupted:" in out and "is saved" in out
    assert list((tmp_path / "run" / "checkpoints").glob("step_*"))
    assert process.returncode == (1 if launcher == "torchrun" else -signal.SIGTERM)
