"""What is left of a run that fails: whole steps, and a reason."""

import os
import signal
import threading
from typing import Any

import pytest

from agents.rollout.engines import Failure
from agents.training import checkpoint
from agents.training.checkpoint import checkpoints_in
from agents.training.optimizer import TrainingError
from agents.training.trainer import Trainer
from agents.training.whole_folder import faults

from .conftest import small_run
from .test_trainer import SETTINGS, latest, numbers, rows


def broken_in_update(trainer, number):
    """The loss fails in the update of this number, counted from 1."""
    step, calls = trainer.optimizer.step, []

    def failing():
        calls.append(1)
        if len(calls) == number:
            raise RuntimeError("no memory for the gradient")
        return step()

    trainer.optimizer.step = failing


@pytest.mark.parametrize(("number", "saved"), [(5, True), (6, False)])
def test_an_update_that_fails_keeps_whole_steps_alone(
    qwen3_folder, tmp_path, capsys, number, saved
):
    """Update 5 is the first of step 3, 6 the second one: its weights are of no step."""
    kept = {"every": 0, "best": False}
    sections = {**SETTINGS["full"], "optim": {"minibatches": 2}, "checkpoint": kept}
    trainer = Trainer(small_run(qwen3_folder, **sections), tmp_path)
    broken_in_update(trainer, number)
    with pytest.raises(RuntimeError, match="no memory for the gradient"):
        trainer.fit()
    assert latest(tmp_path) == ("step_000002" if saved else None)
    said = "step_000002 is saved" if saved else "stopped within an update"
    assert said in " ".join(capsys.readouterr().out.split())


def test_moments_that_are_half_changed_are_not_saved(qwen3_folder, tmp_path, monkeypatch, capsys):
    """AdamW breaks off in the first update of step 3, whose number has not risen yet."""
    sections = {"eval": {"every": 0}, "checkpoint": {"every": 0, "best": False}}
    trainer: Any = Trainer(small_run(qwen3_folder, **SETTINGS["full"], **sections), tmp_path)
    step = trainer.optimizer.adamw.step

    def failing():
        if trainer.step == 2:
            trainer.optimizer.adamw.state[trainer.optimizer.masters[0]]["exp_avg"].zero_()
            raise RuntimeError("no memory for the moments")
        return step()

    monkeypatch.setattr(trainer.optimizer.adamw, "step", failing)
    with pytest.raises(RuntimeError, match="no memory for the moments"):
        trainer.fit()
    assert latest(tmp_path) is None
    assert "stopped within an update" in " ".join(capsys.readouterr().out.split())


def test_a_broken_checkpoint_is_named_and_the_one_before_it_taken(qwen3_folder, tmp_path, capsys):
    """Steps after the whole one are played again, and come out as before."""
    Trainer(small_run(qwen3_folder), tmp_path).fit()
    before = numbers(tmp_path)
    path = tmp_path / "checkpoints" / "step_000004" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    trainer = Trainer(small_run(qwen3_folder, resume="auto"), tmp_path)
    assert trainer.step == 2 and trainer.fit()
    said = " ".join(capsys.readouterr().out.split())
    assert "warning: a checkpoint is broken and put aside" in said
    assert "step_000004: model.safetensors has" in said
    assert numbers(tmp_path) == before


def test_nothing_to_train_on_stops_the_run_after_a_few_steps(qwen3_folder, tmp_path):
    config = small_run(qwen3_folder, optim={"max_bad_steps": 2}, eval={"every": 0})
    trainer: Any = Trainer(config, tmp_path)
    failed = lambda chats, sampling: [Failure("server is down", again=False)] * len(chats)  # noqa: E731
    trainer.engine.generate = failed
    with pytest.raises(
        TrainingError, match=r"2 steps in a row had nothing.*12 of 12 .*server is down x 12"
    ):
        trainer.fit()
    assert [row["errors"] for row in rows(tmp_path, "train")] == [12, 12]
    assert latest(tmp_path) == "step_000002"


def test_steps_with_nothing_to_train_on_are_counted_across_a_resumption(qwen3_folder, tmp_path):
    def run(steps, **sections):
        optim = {"max_bad_steps": 3, "steps": steps}
        config = small_run(qwen3_folder, optim=optim, eval={"every": 0}, **sections)
        trainer: Any = Trainer(config, tmp_path)
        failed = lambda chats, sampling: [Failure("server is down", again=False)] * len(chats)  # noqa: E731
        trainer.engine.generate = failed
        return trainer

    assert run(2).fit()
    with pytest.raises(TrainingError, match="3 steps in a row had nothing"):
        run(9, resume="auto").fit()
    assert latest(tmp_path) == "step_000003"


def test_a_signal_waits_for_the_checkpoint_that_is_being_written(
    qwen3_folder, tmp_path, monkeypatch
):
    """SIGTERM comes in step 3 while step 2 is still on its way to the disk: both are whole."""
    config = small_run(qwen3_folder, eval={"every": 0})
    trainer: Any = Trainer(config, tmp_path)
    write, played, asked = checkpoint.write_tensors, trainer._rollout, threading.Event()

    def slow(*words, **options):
        assert asked.wait(30)
        write(*words, **options)

    def interrupted(*words):
        if trainer.step == 2:
            assert checkpoints_in(tmp_path) == []
            os.kill(os.getpid(), signal.SIGTERM)
            asked.set()
        return played(*words)

    monkeypatch.setattr(checkpoint, "write_tensors", slow)
    monkeypatch.setattr(trainer, "_rollout", interrupted)
    assert trainer.fit() is False
    found = checkpoints_in(tmp_path)
    assert [path.name for path in found] == ["step_000002"]
    assert all(faults(path) == [] for path in found)
