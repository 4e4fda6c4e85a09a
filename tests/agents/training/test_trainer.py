"""The whole loop on random models: what a run leaves behind, resuming, guards."""

import functools
import json
import math
import os
import signal
from typing import Any

import pytest
import torch

from agents.config import ConfigError, load
from agents.training.checkpoint import checkpoints_in
from agents.training.metrics import METRICS
from agents.training.optimizer import Optimizer, TrainingError
from agents.training.tracking import read_metrics
from agents.training.trainer import Trainer
from agents.vlm import VLM
from hrvision_env.records import Episode

from ..conftest import noise_image
from .conftest import small_run

LORA = {"rank": 4, "alpha": 8}
REGULARISED = {"kl": 0.05, "entropy": 0.01, "drop_zero_variance": False}
SETTINGS: dict[str, dict[str, Any]] = {
    "full": {"algorithm": REGULARISED},
    "lora": {"model": {"lora": LORA}, "algorithm": REGULARISED},
    "minibatches": {"optim": {"minibatches": 3}, "model": {"freeze_vision": False}},
}


def rows(folder, split=None):
    found = read_metrics(folder / "metrics.jsonl")
    return [row for row in found if split in (None, row["split"])]


def numbers(folder):
    """Every metric but those of the clock and of memory."""
    own = ("second", "memory")
    return [{k: v for k, v in row.items() if not any(o in k for o in own)} for row in rows(folder)]


def latest(folder):
    found = checkpoints_in(folder)
    return found[-1].name if found else None


def unchanged(before, policy):
    return all(torch.equal(a, b) for a, (_, b) in zip(before, policy.trainable(), strict=True))


def test_what_a_run_leaves_behind(qwen3_folder, tmp_path):
    config = small_run(qwen3_folder)
    assert Trainer(config, tmp_path).fit()
    assert [row["step"] for row in rows(tmp_path, "train")] == [1, 2, 3, 4]
    assert [row["step"] for row in rows(tmp_path, "eval")] == [0, 2, 4]
    train, evaluation = rows(tmp_path, "train")[-1], rows(tmp_path, "eval")[-1]
    assert {
        "reward_mean",
        "valid_box_rate",
        "hit_rate_sampled",
        "iou_sampled",
        "coverage_sampled",
        "zero_variance_share",
        "mismatch_mean",
        "mismatch_max",
        "clip_fraction",
        "grad_norm",
        "tokens",
        "seconds_step",
    } <= set(train)
    assert {"accuracy", "n", "valid_box_rate", "hit_rate_greedy", "hit_rate_sampled"} <= set(
        evaluation
    )
    assert {"iou", "coverage", "iou_sampled", "coverage_sampled"} <= set(evaluation)
    assert evaluation["n"] == 3
    assert load(tmp_path / "config.yaml") == config
    versions = json.loads((tmp_path / "versions.json").read_text())
    assert versions["packages"]["torch"] == torch.__version__
    assert (versions["seed"], versions["dataset"]["name"]) == (0, "synthetic")
    assert len(versions["dataset"]["hash"]) == 64 and versions["dataset"]["skipped"] == 0
    assert versions["evaluation"]["questions"] == 3
    VLM.load(tmp_path / "model")
    assert latest(tmp_path) == "step_000004"
    lines = (tmp_path / "episodes" / "step_000004_greedy.jsonl").read_text().splitlines()
    episodes = [Episode.from_dict(json.loads(line)) for line in lines]
    assert [len(episode.turns) for episode in episodes] == [2, 2]


@pytest.mark.parametrize("prefix", ["cache", "rows"])
def test_trainer_and_sampler_agree(model_folder, tmp_path, prefix):
    optim = {"prefix": prefix, "minibatches": 2, "lr": 1e-2}
    Trainer(small_run(model_folder, optim=optim), tmp_path).fit()
    trained = [row for row in rows(tmp_path, "train") if row["tokens_trained"]]
    assert trained
    for row in trained:
        assert 0 < row["mismatch_mean"] <= row["mismatch_max"] < 1e-4
        assert 0 <= row["mismatch_kl"] < 1e-8
    assert any(row["kl_sampler"] > 1e-6 for row in trained)  # second minibatch


def test_the_reward_teaches(qwen3_folder, tmp_path):
    config = small_run(
        qwen3_folder,
        rollout={"groups_per_step": 4, "group_size": 8, "max_tokens": 2},
        optim={"steps": 16, "lr": 1e-2},
        eval={"every": 0},
    )
    Trainer(config, tmp_path).fit()
    rewards = [row["reward_mean"] for row in rows(tmp_path, "train")]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.15


@pytest.fixture(scope="module")
def whole_run(qwen3_folder, tmp_path_factory):
    """`whole_run(setting)`: the folder of a run that nothing interrupted; each is made once."""

    @functools.cache
    def make(setting):
        folder = tmp_path_factory.mktemp(setting)
        Trainer(small_run(qwen3_folder, **SETTINGS[setting]), folder).fit()
        return folder

    return make


class Killed(BaseException):
    """Nothing of ours may answer it, as to SIGKILL."""


@pytest.mark.parametrize("how", ["signal", "killed", "failed"])
@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_interrupted_equals_uninterrupted(
    qwen3_folder, whole_run, tmp_path, monkeypatch, how, setting
):
    sections = SETTINGS[setting]
    whole, parted = whole_run(setting), tmp_path / "parted"
    trainer = Trainer(small_run(qwen3_folder, **sections), parted)
    played = trainer.source.at

    def broken_off(step, stats):
        groups = played(step, stats)
        if trainer.step == 3 and how == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        if trainer.step == 3 and how == "killed":
            raise Killed
        if trainer.step == 3 and how == "failed":
            raise RuntimeError("the engine is gone")
        return groups

    monkeypatch.setattr(trainer.source, "at", broken_off)
    if how == "signal":
        assert trainer.fit() is False
        assert latest(parted) == "step_000003"
    elif how == "killed":
        with pytest.raises(Killed):
            trainer.fit()
        assert latest(parted) == "step_000002"
    else:
        with pytest.raises(RuntimeError, match="the engine is gone"):
            trainer.fit()
        assert latest(parted) == "step_000003"
    assert len(rows(parted, "train")) == 3

    assert Trainer(small_run(qwen3_folder, resume="auto", **sections), parted).fit()
    assert numbers(parted) == numbers(whole)
    assert any(row["loss"] for row in rows(whole, "train"))
    for one, other in zip(
        VLM.load(parted / "model").model.parameters(),
        VLM.load(whole / "model").model.parameters(),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_resume_without_a_checkpoint_starts_anew(qwen3_folder, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 9, "split": "train"}\n{"step": 1')
    config = small_run(qwen3_folder, resume="auto", optim={"steps": 1}, eval={"every": 0})
    assert Trainer(config, tmp_path).fit()
    assert [row["step"] for row in rows(tmp_path)] == [1]


def test_a_finished_run_can_go_on_for_more_steps(qwen3_folder, tmp_path):
    Trainer(small_run(qwen3_folder, optim={"steps": 2}), tmp_path / "a").fit()
    Trainer(small_run(qwen3_folder, resume="auto"), tmp_path / "a").fit()
    Trainer(small_run(qwen3_folder), tmp_path / "b").fit()
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")


def test_changed_settings_are_told_on_resume(qwen3_folder, tmp_path, capsys):
    Trainer(small_run(qwen3_folder, optim={"steps": 1}), tmp_path).fit()
    config = small_run(qwen3_folder, resume="auto", optim={"steps": 2, "lr": 1e-4})
    Trainer(config, tmp_path).fit()
    printed = " ".join(capsys.readouterr().out.split())
    assert "the run began with optim.lr = 0.001, now 0.0001" in printed


def test_another_model_is_refused_before_anything_is_played(qwen3_folder, tmp_path):
    Trainer(small_run(qwen3_folder, optim={"steps": 1}, eval={"every": 0}), tmp_path).fit()
    other = small_run(qwen3_folder, resume="auto", model={"freeze_vision": False})
    with pytest.raises(ValueError, match="the checkpoint is of another model"):
        Trainer(other, tmp_path)


def test_a_changed_weight_decay_counts_on_resume(qwen3_folder, tmp_path):
    Trainer(small_run(qwen3_folder, optim={"steps": 1}, eval={"every": 0}), tmp_path).fit()
    changed = {"steps": 2, "weight_decay": 0.25, "betas": (0.8, 0.9)}
    trainer = Trainer(small_run(qwen3_folder, resume="auto", optim=changed), tmp_path)
    assert isinstance(trainer.optimizer, Optimizer)
    groups = trainer.optimizer.adamw.param_groups
    assert [group["weight_decay"] for group in groups] == [0.25, 0.0]
    assert [group["betas"] for group in groups] == [(0.8, 0.9)] * 2


def test_two_runs_never_share_a_folder(qwen3_folder, tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ConfigError, match=r"already holds a run; pass --resume auto"):
        Trainer(small_run(qwen3_folder), tmp_path)


def test_a_broken_image_is_told_and_its_group_left_out(qwen3_folder, tmp_path, capsys):
    noise_image(64, 48, seed=0).save(tmp_path / "good.jpg")
    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    rows_ = [{"images": [f"{n}.jpg"], "question": "?", "answer": "A"} for n in ("good", "bad")]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_))
    config = small_run(
        qwen3_folder,
        env={"dataset": "jsonl", "root": str(tmp_path)},
        optim={"steps": 1},
        eval={"every": 0},
    )
    assert Trainer(config, tmp_path / "run").fit()
    assert rows(tmp_path / "run", "train")[0]["errors"] == 4
    printed = capsys.readouterr().out
    assert "warning: step 1: 4 of 8 episodes failed" in printed
    assert "bad.jpg" in printed


def test_an_empty_dataset_is_named(qwen3_folder, tmp_path):
    with pytest.raises(ValueError, match=r"dataset 'synthetic', split 'train': .*no question"):
        Trainer(small_run(qwen3_folder, env={"size": 0}), tmp_path)


def test_a_dataset_smaller_than_a_step_wraps_round(qwen3_folder, tmp_path):
    config = small_run(qwen3_folder, env={"size": 2}, optim={"steps": 2}, eval={"n": 10})
    trainer: Any = Trainer(config, tmp_path)
    assert (trainer.questions.per_step, trainer.questions.steps_per_epoch) == (2, 1)
    assert trainer.fit()
    assert rows(tmp_path, "eval")[0]["n"] == 2


def test_null_steps_are_one_epoch(qwen3_folder, tmp_path):
    config = small_run(qwen3_folder, env={"size": 7}, optim={"steps": None}, eval={"every": 0})
    assert Trainer(config, tmp_path).steps == 2


def test_the_reference_preset_logs_its_terms(qwen25_folder, tmp_path):
    config = small_run(qwen25_folder, algorithm={"preset": "reference"}, optim={"steps": 3})
    Trainer(config, tmp_path).fit()
    first, *_, last = rows(tmp_path, "train")
    assert first["kl_reference"] == pytest.approx(0.0, abs=1e-6)
    assert last["kl_reference"] > 1e-6
    assert 0 < first["entropy"] < math.log(300)
    assert first["tokens_trained"] == first["tokens"]  # no group is left out


def test_constant_groups_are_left_out(qwen3_folder, tmp_path):
    grader = "tests.agents.training.plugins:never"
    config = small_run(qwen3_folder, env={"grader": grader}, optim={"steps": 1})
    trainer = Trainer(config, tmp_path)
    before = [p.clone() for _, p in trainer.policy.trainable()]
    trainer.fit()
    (row,) = rows(tmp_path, "train")
    assert (row["zero_variance_share"], row["tokens_trained"]) == (1.0, 0.0)
    assert row["tokens"] > 0
    assert all(
        torch.equal(a, b) for a, (_, b) in zip(before, trainer.policy.trainable(), strict=True)
    )


def test_broken_gradients_stop_the_run_after_a_few(qwen3_folder, tmp_path):
    config = small_run(
        qwen3_folder,
        algorithm={"name": "tests.agents.training.plugins:BROKEN", "drop_zero_variance": False},
        optim={"steps": 9, "max_bad_steps": 3},
    )
    trainer = Trainer(config, tmp_path)
    before = [p.clone() for _, p in trainer.policy.trainable()]
    with pytest.raises(TrainingError, match="3 updates in a row had a non-finite loss or gradient"):
        trainer.fit()
    assert [row["skipped_updates"] for row in rows(tmp_path, "train")] == [1, 2]
    assert [row["grad_norm"] for row in rows(tmp_path, "train")] == [None, None]
    assert all(
        torch.equal(a, b) for a, (_, b) in zip(before, trainer.policy.trainable(), strict=True)
    )


def disturb_after_rollout(trainer, monkeypatch):
    """The trainer's weights move while the sampler's log-probs stay: a stale sampler."""
    played = trainer._rollout

    def stale(stats, interrupt):
        groups = played(stats, interrupt)
        with torch.no_grad():
            for _, parameter in trainer.policy.trainable():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return groups

    monkeypatch.setattr(trainer, "_rollout", stale)


def test_a_stale_sampler_warns_and_stops(qwen3_folder, tmp_path, monkeypatch, capsys):
    optim = {"steps": 1, "mismatch_warn": 0.001, "mismatch_stop": 100.0}
    trainer = Trainer(small_run(qwen3_folder, optim=optim), tmp_path / "warn")
    disturb_after_rollout(trainer, monkeypatch)
    trainer.fit()
    assert "warning: step 1: log-probs of trainer and sampler differ" in capsys.readouterr().out
    optim = {"steps": 1, "mismatch_stop": 0.001}
    trainer = Trainer(small_run(qwen3_folder, optim=optim), tmp_path / "stop")
    disturb_after_rollout(trainer, monkeypatch)
    with pytest.raises(TrainingError, match=r"more than optim\.mismatch_stop = 0\.001"):
        trainer.fit()


def test_bfloat16_trains_with_float32_masters(qwen25_folder, tmp_path):
    config = small_run(qwen25_folder, model={"dtype": "bfloat16"}, optim={"mismatch_stop": 1.0})
    trainer = Trainer(config, tmp_path)
    assert trainer.fit()
    assert isinstance(trainer.optimizer, Optimizer)
    assert all(master.dtype == torch.float32 for master in trainer.optimizer.masters)
    assert all(math.isfinite(row["loss"]) for row in rows(tmp_path, "train") if "loss" in row)


def test_every_logged_name_is_explained(qwen3_folder, tmp_path):
    trainer = Trainer(small_run(qwen3_folder, optim={"steps": 1}), tmp_path)
    trainer.fit()
    assert {k for row in rows(tmp_path) for k in row} - {"step", "split"} <= set(METRICS)
    with pytest.raises(ValueError, match="metrics: got acuracy, expected names in METRICS"):
        trainer.tracker.log(1, "eval", {"acuracy": 1.0})
