"""What holds for every algorithm under `agents/`: a new package is tested by being there."""

import dataclasses
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch

from agents.config import load
from agents.config_sections import Optim
from agents.training.advantages import GroupScores
from agents.training.algorithm import algorithms, get_algorithm
from agents.training.credit import credit
from agents.training.losses import LossOutputs
from agents.training.metrics import METRICS
from agents.training.metrics_file import read_metrics
from agents.training.optimizer import Optimizer
from agents.training.reference import Reference
from agents.training.trainer import Trainer
from agents.training.update import Updater
from agents.vlm import VLM

from .conftest import small_run
from .groups import group_of, shifted
from .rows import part, random_rows

TINY = Path(__file__).parents[3] / "configs" / "mgpo_tiny.yaml"
NAMES = algorithms()
PUBLISHED = {"grpo", "mgpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo", "hart"}
PUBLISHED |= {"reinforce_pp", "mt_grpo"}
PRESETS = [(name, preset) for name in NAMES for preset in get_algorithm(name).presets]


def run_loss(name, preset, inputs):
    algorithm = get_algorithm(name)
    return algorithm.loss(inputs, algorithm.presets[preset])


def with_gradient(inputs):
    return dataclasses.replace(inputs, logprobs=inputs.logprobs.clone().requires_grad_())


def test_the_published_ones_are_there():
    assert set(NAMES) >= PUBLISHED


@pytest.mark.parametrize("name", NAMES)
def test_a_package_says_what_it_is(name):
    text = import_module(f"agents.{name}").__doc__ or ""
    assert re.search(r"^ *(L |∇J)", text, re.MULTILINE)
    assert "arXiv" in text or name not in PUBLISHED
    assert get_algorithm(name).name == name


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_the_cut_into_micro_batches_changes_nothing(name, preset):
    """Loss, gradient and sums are those of the whole, however its rows are dealt out."""
    near = name == "gspo"  # its bounds are narrow
    whole = with_gradient(random_rows(1, near=near))
    together = run_loss(name, preset, whole)
    together.loss.backward()
    for cut in ([[0], [1], [2], [3], [4]], [[3, 0], [1, 2, 4]]):
        other = with_gradient(random_rows(1, near=near))
        parts = [run_loss(name, preset, part(other, rows)) for rows in cut]
        torch.stack([p.loss for p in parts]).sum().backward()
        total = sum(float(p.loss.detach()) for p in parts)
        assert total == pytest.approx(float(together.loss.detach()), rel=1e-4, abs=1e-6)
        torch.testing.assert_close(other.logprobs.grad, whole.logprobs.grad)
        for key, value in together.sums.items():
            assert sum(p.sums[key] for p in parts) == pytest.approx(value, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_only_sampled_tokens_get_a_gradient(name, preset):
    inputs = with_gradient(random_rows(2, near=name == "gspo"))
    run_loss(name, preset, inputs).loss.backward()
    assert inputs.logprobs.grad is not None
    assert torch.isfinite(inputs.logprobs.grad).all()
    assert inputs.logprobs.grad[~inputs.mask].abs().sum() == 0.0
    assert inputs.logprobs.grad[inputs.mask].abs().sum() > 0.0


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_a_good_reply_becomes_likelier_and_a_bad_one_less(name, preset):
    """At equal policies, without KL and entropy: the gradient has the advantage's sign."""
    inputs = random_rows(3)
    inputs = dataclasses.replace(
        inputs,
        logprobs=inputs.old_logprobs.clone().requires_grad_(),
        ref_logprobs=inputs.old_logprobs,
        weights=None,
    )
    algorithm = get_algorithm(name)
    options = algorithm.presets[preset].model_copy(update={"kl": 0.0, "entropy": 0.0})
    algorithm.loss(inputs, options).loss.backward()
    assert inputs.logprobs.grad is not None
    there = inputs.mask
    assert (inputs.logprobs.grad * inputs.advantages)[there].max() < 0.0


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_nothing_sampled_is_no_loss(name, preset):
    inputs = random_rows(4)
    inputs = dataclasses.replace(inputs, mask=torch.zeros_like(inputs.mask))
    out = run_loss(name, preset, with_gradient(inputs))
    assert isinstance(out, LossOutputs)
    assert float(out.loss.detach()) == 0.0 and not any(out.sums.values())


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_the_better_siblings_have_the_larger_advantages(name, preset):
    algorithm = get_algorithm(name)
    options, turns = algorithm.presets[preset], ((1.0, 0.0), (0.0, 0.0)) * 2
    scores = GroupScores(torch.tensor([1.0, 0.0, 1.0, 0.0]), turns)
    values = algorithm.advantage(scores, options)
    assert values.shape in {(4,), (4, 2)}
    if values.ndim == 2:  # the box alone, where all answers are right
        first = algorithm.advantage(GroupScores(torch.ones(4), turns), options)
        assert (first[[0, 2], 0] > 0).all() and (first[[1, 3], 0] < 0).all()
        assert (first[:, 1] == 0).all()
    values = values.reshape(4, -1)
    if algorithm.step_scale is not None:
        shift, scale = algorithm.step_scale(values.flatten(), torch.ones(values.numel()), options)
        values = (values - shift) / scale
    assert (values[[0, 2]] > values[[1, 3]]).all()
    assert (values[[0, 2]] > 0).all() and (values[[1, 3]] < 0).all()
    sure = GroupScores(torch.ones(4), ((0.0, 0.0),) * 4)
    constant = algorithm.advantage(sure, algorithm.presets[preset])
    assert constant.unique().numel() == 1


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_the_memory_knobs_change_neither_loss_nor_gradient(qwen3_folder, make_group, name, preset):
    """On a model: one micro-batch, several, and every form of the shared prefix."""
    algorithm = get_algorithm(name)
    options, vlm = algorithm.presets[preset], VLM.load(qwen3_folder)
    boxes = [(True, False), (False, False), (False, True)]
    groups = [
        group_of(make_group(vlm.codec, seed), rewards, boxed=boxes)
        for seed, rewards in ((1, [1.0, 0.0, 0.0]), (2, [1.0, 1.0, 0.0]))
    ]
    credited = shifted(vlm, credit(groups, algorithm, options)[0], 1e-5)
    found = []
    whole = Optim(micro_batch_tokens=100_000, prefix="cache", lr=1e-9, warmup_steps=0)
    for change in ({}, {"micro_batch_tokens": 150}, {"prefix": "rows"}, {"prefix": "tree"}):
        optim = whole.model_copy(update=change)
        optimizer = Optimizer(vlm.trainable(), optim)
        reference = Reference(vlm) if options.kl else None
        updater = Updater(vlm, optimizer, algorithm, options, optim, reference, budget=20.0)
        metrics = updater.update(credited)
        found.append((metrics["grad_norm"], metrics["loss"]))
    assert found[0][0] > 1e-3
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", [n for n in NAMES if get_algorithm(n).dialogue != "single_turn"])
def test_a_step_with_real_boxes(tmp_path, name):
    """The embedded model points, so that crops come back, and hidden parts are trained apart."""
    preset = next(iter(get_algorithm(name).presets.values()))
    scaled = str(preset.normalise_std).lower()
    words = {
        "run_dir": tmp_path,
        "algorithm": f"{{name: {name}, drop_zero_variance: false, normalise_std: {scaled}}}",
        "optim.steps": 1,
        "rollout.groups_per_step": 4,
        "eval.every": 0,
        "checkpoint.every": 0,
    }
    config = load(TINY, [f"--{key}={value}" for key, value in words.items()])
    assert Trainer(config).fit()
    (row,) = (r for r in read_metrics(tmp_path / "metrics.jsonl") if r["split"] == "train")
    assert row["valid_box_rate"] > 0.5 and row["turns_per_episode"] > 1.5
    assert row["grad_norm"] > 0 and row["skipped_updates"] == 0
    assert row["mismatch_max"] < 1e-4


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_two_steps_on_a_random_model(qwen3_folder, tmp_path, name, preset):
    """The real trainer on the algorithm's own dialogue: weights move, every metric has a name."""
    dialogue = get_algorithm(name).dialogue
    config = small_run(
        qwen3_folder,
        # A random model gives no box, and crop_only grades nothing without one.
        env={"max_turns": 1} if dialogue == "crop_only" else {},
        algorithm={"name": name, "preset": preset},
        optim={"steps": 2, "minibatches": 2, "warmup_steps": 0},
        eval={"every": 0},
        checkpoint={"every": 0},
    )
    before = VLM.load(qwen3_folder).model.state_dict()
    trainer = Trainer(config, tmp_path)
    assert trainer.fit()
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if row["split"] == "train"]
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert row["tokens_trained"] > 0 and row["grad_norm"] > 0 and row["skipped_updates"] == 0
        assert {"loss", "kl_sampler", "zero_variance_share", "over_turn_share"} <= set(row)
        named = {key for key in row if not key.startswith("algorithm/")}
        assert named - {"step", "split"} <= set(METRICS)
        assert all(value is not None for value in row.values())
        assert ("kl_reference" in row) == (trainer.config.algorithm.options.kl > 0)
    after = VLM.load(tmp_path / "model").model.state_dict()
    assert any(not torch.equal(before[key], value) for key, value in after.items())
