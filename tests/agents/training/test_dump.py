"""An update that stops a run leaves what it takes to compute it again, to the last number."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from agents import replay as command
from agents.rollout.loop import RolloutStats
from agents.training import dump
from agents.training.optimizer import TrainingError
from agents.training.replay import replay_dump
from agents.training.trainer import Trainer

from .conftest import small_run
from .test_trainer import LORA

BROKEN = {"name": "tests.agents.training.plugins:BROKEN", "drop_zero_variance": False}
STOPS = {"steps": 9, "max_bad_steps": 2}


def stopped(config, run_dir, harm=None) -> Path:
    """The folder that the run leaves; `harm` is done to the policy before the third step."""
    trainer: Any = Trainer(config, run_dir)
    played = trainer._rollout

    def harmed(*words):
        groups = played(*words)
        if harm is not None and trainer.step == 2:
            harm(dict(trainer.policy.trainable()))
        return groups

    trainer._rollout = harmed
    with pytest.raises(TrainingError, match=r"to compute it again: python -m agents\.replay"):
        trainer.fit()
    (folder,) = (run_dir / "failure").iterdir()
    return folder


def overflow(weights):
    """The last norm is so large that logits overflow: infinite loss."""
    name = next(name for name in weights if name.endswith("language_model.norm.weight"))
    with torch.no_grad():
        weights[name].fill_(3e38)


def test_a_broken_loss_is_computed_again(qwen3_folder, tmp_path, capsys):
    folder = stopped(small_run(qwen3_folder, algorithm=BROKEN, optim=STOPS), tmp_path)
    assert folder.name == "step_000002"
    record = json.loads((folder / "failure.json").read_text())
    assert math.isnan(record["numbers"]["loss"]) and record["numbers"]["mismatch_mean"] > 0
    found = replay_dump(folder)
    assert found.different == [] and math.isnan(found.again["loss"] or 0)
    assert command.main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert "4 of 4 metrics are equal" in said
    assert "2 updates in a row had a non-finite loss" in said
    assert "weights that are not finite: 0 of " in said


@pytest.mark.parametrize("setting", ["full", "lora", "reference"])
def test_weights_that_overflow(qwen3_folder, tmp_path, setting):
    """The weights of the failure are kept, not those of a checkpoint; adapters and a KL, too."""
    sections: dict[str, dict[str, Any]] = {
        "full": {},
        "lora": {"model": {"lora": {**LORA, "dropout": 0.25}}},
        "reference": {"algorithm": {"kl": 0.05, "drop_zero_variance": False}},
    }
    own = {"algorithm": {"drop_zero_variance": False}, "eval": {"every": 0}, **sections[setting]}
    optim = {**STOPS, "max_bad_steps": 1, "mismatch_stop": 1e9}
    harm = fill_adapters if setting == "lora" else overflow
    folder = stopped(small_run(qwen3_folder, optim=optim, **own), tmp_path, harm)
    found = replay_dump(folder)
    assert found.step == 3 and found.different == []
    assert not all(math.isfinite(value or 0) for value in found.again.values())
    assert any("gradients that are not finite: " in note for note in found.notes)


def fill_adapters(weights):
    name = next(name for name in weights if "lora_B" in name)
    with torch.no_grad():
        weights[name].fill_(3e38)


def test_an_update_after_others_of_its_step(qwen3_folder, tmp_path, monkeypatch):
    """The second update of step 3 fails: the dump has the weights after the first.

    Computed again without the fault, its loss is what it was before the fault came upon it.
    """
    config = small_run(
        qwen3_folder,
        algorithm={"drop_zero_variance": False, "kl": 0.05},
        optim={"steps": 9, "max_bad_steps": 1, "minibatches": 3, "lr": 1e-2},
        eval={"every": 0},
    )
    trainer = Trainer(config, tmp_path)
    updater, losses = trainer.learner.updater, []
    loss = updater.algorithm.loss

    def failing(inputs, options):
        out = loss(inputs, options)
        losses.append(float(out.loss.detach()))
        return dataclasses.replace(out, loss=out.loss / 0) if len(losses) == 8 else out

    monkeypatch.setattr(updater, "algorithm", dataclasses.replace(updater.algorithm, loss=failing))
    with pytest.raises(TrainingError):
        trainer.fit()
    folder = tmp_path / "failure" / "step_000003"
    record = dump.read_record(folder)
    assert record["update"] == 1 and not math.isfinite(record["numbers"]["loss"])
    found = replay_dump(folder)
    assert found.again == {"loss": losses[-1]} and losses[-1] != 0
    assert found.different == ["loss"]


def test_a_fault_before_any_update(qwen3_folder, tmp_path, monkeypatch):
    """Advantages of a wrong shape in step 2: the dump holds no numbers of step 1."""
    config = small_run(qwen3_folder, algorithm={"drop_zero_variance": False}, eval={"every": 0})
    trainer = Trainer(config, tmp_path)
    learner = trainer.learner
    trainer.learner.learn(trainer.source.at(0, RolloutStats()))
    assert learner.updater.tried is not None
    wrong = dataclasses.replace(learner.algorithm, advantage=lambda scores, options: torch.ones(99))
    monkeypatch.setattr(learner, "algorithm", wrong)
    groups = trainer.source.at(1, RolloutStats())
    with pytest.raises(ValueError, match="advantage"):
        learner.learn(groups)
    folder = dump.dump(tmp_path, config, learner, groups, "a wrong shape")
    trainer.close()
    record = dump.read_record(folder)
    assert (record["step"], record["update"], record["numbers"]) == (2, None, {})
    found = replay_dump(folder)
    assert found.notes[0] == "the step, by the weights that it found"


def test_scores_before_the_first_update_change_nothing(qwen3_folder, tmp_path):
    """With dropout they draw random numbers, which the first update must not feel."""
    config = small_run(
        qwen3_folder,
        model={"lora": {**LORA, "dropout": 0.3}},
        algorithm=BROKEN,
        optim={**STOPS, "max_bad_steps": 1, "minibatches": 2, "importance": "token_truncate"},
        eval={"every": 0},
    )
    trainer = Trainer(config, tmp_path)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, weight in trainer.policy.trainable():
            if "lora_B" in name:
                weight.normal_(0, 0.1)
    with pytest.raises(TrainingError):
        trainer.fit()
    folder = tmp_path / "failure" / "step_000001"
    assert dump.read_record(folder)["update"] == 0
    found = replay_dump(folder)
    assert found.different == [] and (found.again["mismatch_mean"] or 0) > 0.001


def test_a_stale_sampler_is_computed_again(qwen3_folder, tmp_path):
    def shift(weights):
        torch.manual_seed(3)
        with torch.no_grad():
            for weight in weights.values():
                weight.add_(0.05 * torch.randn_like(weight))

    optim = {"steps": 9, "mismatch_stop": 0.001}
    folder = stopped(small_run(qwen3_folder, optim=optim, eval={"every": 0}), tmp_path, shift)
    found = replay_dump(folder)
    assert found.different == [] and (found.again["mismatch_mean"] or 0) > 0.001


def test_a_dump_that_cannot_be_written_hides_nothing(qwen3_folder, tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(dump, "save_policy", full_disk)
    trainer = Trainer(small_run(qwen3_folder, algorithm=BROKEN, optim=STOPS), tmp_path)
    expected = "2 updates in a row had .*\n.*could not be kept: OSError: no space"
    with pytest.raises(TrainingError, match=expected):
        trainer.fit()


def test_a_step_is_asked_of_runs_alone(qwen3_folder, tmp_path, capsys):
    folder = stopped(small_run(qwen3_folder, algorithm=BROKEN, optim=STOPS), tmp_path)
    for words in ([str(folder), "--step", "2"], [str(tmp_path)]):
        with pytest.raises(SystemExit):
            command.main(words)
    assert "--step: expected with the folder of a run" in capsys.readouterr().err
    (folder / "failure.json").write_text("{")
    assert command.main([str(folder)]) == 2
