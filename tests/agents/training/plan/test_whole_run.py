"""Evaluation, checkpoints, disk, main memory and hours: what a run needs besides its steps."""

import functools
import json
from pathlib import Path

import pytest

from agents.config import load
from agents.config_sections import Lora, Model
from agents.training.opening import load_policy
from agents.training.plan import alternatives, plan
from agents.training.plan.command import plan_command
from agents.training.plan.memory import GIB, checkpoint_bytes
from agents.training.plan.seconds import flops_of, tower_again
from agents.training.plan.shapes import shapes_of
from agents.training.plan.whole_run import times
from agents.training.plan.zero import Zero
from agents.training.trainer import Trainer

from ..conftest import small_run

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@functools.cache
def planned(name, *words):
    return plan(load(f"configs/{name}.yaml", words))


def items(made):
    return {item.name: item for item in made.items}


def test_an_evaluation_that_is_larger_than_the_rollout_is_seen():
    """`eval.batch` questions have an opening each; a rollout's 8 siblings share theirs."""
    usual = planned("mgpo_7b_8gpu")
    made = planned("mgpo_7b_8gpu", "--eval.batch", "256", "--eval.n", "2000")
    work, kv = made.works[-1], made.shapes.kv_bytes(2)
    size = items(made)["keys and values, evaluation"].gpu
    rows = 2000 // 8  # of one GPU, fewer than the batch
    assert size == rows * kv * (work.opening + work.own) + rows * kv * work.own // 2
    assert usual.fits and not made.fits
    assert made.peak == made.gpu("evaluation") > 1.5 * usual.peak
    assert "--eval.batch 128" in dict(alternatives(made))
    off = planned("mgpo_7b_8gpu", "--eval.every", "0")
    assert off.evaluations is None and "keys and values, evaluation" not in items(off)
    assert off.run.evaluations == 0 and off.run.evaluation.usual == 0


def test_an_evaluation_takes_time():
    made = planned("mgpo_7b_8gpu", "--eval.n", "64", "--eval.batch", "4")
    twice = planned("mgpo_7b_8gpu", "--eval.n", "128", "--eval.batch", "4")
    greedy = planned("mgpo_7b_8gpu", "--eval.n", "64", "--eval.batch", "4", "--eval.sampled=false")
    seconds = [p.run.evaluation.usual for p in (made, twice, greedy)]
    assert seconds[1] == pytest.approx(2 * seconds[0])
    assert seconds[2] == pytest.approx(seconds[0] / 2)
    steps = 2 * 2 * 512  # batches of 4 of 8 questions, turns; the longest reaches the limit
    assert 2 * steps * 0.035 < seconds[0] < 1.2 * 2 * steps * 0.035


def test_the_whole_run_by_hand():
    words = ("--optim.steps", "100", "--eval.every", "30", "--checkpoint.every", "40")
    made = planned("mgpo_7b_8gpu", *words)
    run = made.run
    assert (run.steps, run.evaluations, run.checkpoints) == (100, 5, 3)
    assert run.seconds is not None
    assert run.seconds.usual == pytest.approx(
        100 * made.seconds.usual + 5 * run.evaluation.usual + 3 * run.checkpoint.usual
    )
    trained, tower = made.shapes.n_trained, made.shapes.parameters["vision tower"]
    assert run.checkpoint_bytes == 14 * trained + 2 * tower
    # 2 that are kept, the best one, the one that is being written, and the model itself.
    assert run.disk == 4 * run.checkpoint_bytes + 2 * (trained + tower)
    assert run.checkpoint.usual == pytest.approx(run.checkpoint_bytes / (64e9 * 0.6))
    slow = planned("mgpo_7b_8gpu", *words, "--checkpoint.background", "false").run
    assert slow.checkpoint.usual == pytest.approx(run.checkpoint_bytes / 0.7e9)
    assert [times(100, every) for every in (0, 25, 30, 100, 1000)] == [1, 4, 4, 1, 1]
    assert planned("mgpo_7b_8gpu", "--optim.steps", "null").run.seconds is None


def tensor_bytes(file):
    """Of a safetensors file, without its header, whose length stands in front."""
    content = file.read_bytes()
    return len(content) - 8 - int.from_bytes(content[:8], "little")


@pytest.mark.parametrize("lora", [None, {"rank": 4}])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_checkpoint_is_as_large_as_a_real_one(qwen25_folder, tmp_path, dtype, lora):
    options = {"dtype": dtype, "lora": lora}
    config = small_run(qwen25_folder, model=options, optim={"steps": 1}, eval={"every": 0})
    trainer = Trainer(config, tmp_path)
    assert trainer.fit()
    folder = tmp_path / "checkpoints" / "step_000001"
    real = sum(tensor_bytes(file) for file in folder.rglob("*.safetensors"))
    shapes = shapes_of(Model(path=qwen25_folder, lora=Lora(**lora) if lora else None))
    size = checkpoint_bytes(shapes, {"float32": 4, "bfloat16": 2}[dtype])
    counters = 4 * len(list(trainer.policy.trainable()))  # AdamW's steps, of each tensor
    assert size + counters == real


def test_main_memory_is_that_of_a_whole_machine():
    words = ("--scale.deepspeed", "configs/deepspeed/zero3_offload.json")
    made = planned("mgpo_7b_8gpu", *words)
    first = items(made)["checkpoint on its way to disk (first process)"].host
    assert made.machine == made.host + 7 * (made.host - first)
    assert 250 * GIB < made.machine < 350 * GIB
    two = planned("mgpo_7b_16gpu", *words)
    each = two.host - first
    assert two.machine == two.host + 7 * each  # of 16 processes 8 are on a machine


def test_features_that_do_not_fit_are_computed_twice():
    made = planned("mgpo_7b_1gpu")
    small = planned("mgpo_7b_1gpu", "--model.feature_cache_mb", "256")
    assert items(made)["vision features that are kept"].gpu == GIB
    assert items(small)["vision features that are kept"].gpu == GIB // 4
    work = made.works[1]
    size = work.patches // 4 * 3584 * 2
    assert 256 * 2**20 < size < GIB
    again = [tower_again(p.config, p.shapes, work, Zero()) for p in (made, small)]
    assert again == [False, True]
    tower = [flops_of(p.config, p.shapes, work, Zero())["tower"] for p in (made, small)]
    assert tower[0] == 0 < tower[1]
    assert small.seconds.usual > made.seconds.usual
    # An engine with a model of its own keeps features of its own.
    assert tower_again(made.config, made.shapes, work, Zero(3, deepspeed=True))
    vllm = planned("mgpo_7b_1gpu_vllm")
    assert tower_again(vllm.config, vllm.shapes, work, Zero())
    trained = planned("mgpo_reference")
    assert "vision features that are kept" not in items(trained)


def test_the_key_reaches_the_model(qwen25_folder):
    config = small_run(qwen25_folder, model={"feature_cache_mb": 3})
    policy, _ = load_policy(config, None)
    assert policy._features.limit == 3 * 2**20
    assert load_policy(small_run(qwen25_folder), None)[0]._features.limit == GIB


@pytest.mark.parametrize(("processes", "questions"), [(12, 64), (8, 4), (8, 64), (3, 64)])
def test_totals_are_those_of_the_questions_whatever_divides_them(capsys, processes, questions):
    words = ["--scale.processes", str(processes), "--rollout.groups_per_step", str(questions)]
    plan_command(["configs/mgpo_7b_8gpu.yaml", "--plan", "--json", *words])
    told = json.loads(capsys.readouterr().out)
    assert told["tokens"]["sampled"] == questions * 8 * 2 * 256
    plan_command(["configs/mgpo_7b_8gpu.yaml", "--plan", *words])
    printed = capsys.readouterr().out
    assert f" {questions} x 8 " in printed and f"{questions * 4096:,}" in printed


def test_engines_that_cannot_train_are_refused(capsys):
    assert plan_command(["configs/openai_vllm.yaml", "--plan"]) == 2
    assert "error: engine.name: got 'openai', whose replies carry no" in capsys.readouterr().err
    words = ["configs/mgpo_7b_8gpu.yaml", "--plan", "--engine.name", "vllm"]
    assert plan_command(words) == 2
    assert "engine.own_process: expected true: with 8 processes" in capsys.readouterr().err
    assert plan_command([*words, "--engine.own_process", "true"]) in (0, 1)


def test_the_type_that_auto_means():
    plain = planned("mgpo_7b_1gpu", "--model.dtype", "auto", "--model.device", "cpu")
    assert plain.itemsize == 4
    assert planned("mgpo_7b_1gpu", "--model.dtype", "auto").itemsize == 2
    assert planned("mgpo_7b_1gpu", "--model.dtype", "auto", "--model.device", "auto").itemsize == 2
