"""What is left of a run that fails: whole steps, and a reason."""

from typing import Any

import pytest

from agents.rollout.engines import Failure
from agents.training.optimizer import TrainingError
from agents.training.trainer import Trainer

from .conftest import small_run
from .test_trainer import SETTINGS, latest, rows


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
    sections = {**SETTINGS["full"], "optim": {"minibatches": 2}, "checkpoint": {"every": 0}}
    trainer = Trainer(small_run(qwen3_folder, **sections), tmp_path)
    broken_in_update(trainer, number)
    with pytest.raises(RuntimeError, match="no memory for the gradient"):
        trainer.fit()
    assert latest(tmp_path) == ("step_000002" if saved else None)
    said = "step_000002 is saved" if saved else "stopped within an update"
    assert said in " ".join(capsys.readouterr().out.split())


def test_a_checkpoint_cut_short_is_named(qwen3_folder, tmp_path):
    Trainer(small_run(qwen3_folder, optim={"steps": 1}, eval={"every": 0}), tmp_path).fit()
    path = tmp_path / "checkpoints" / "step_000001" / "trainer.pt"
    for share in (0, 0.5):
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(ValueError, match=r"trainer\.pt: cannot be read, perhaps cut short"):
            Trainer(small_run(qwen3_folder, resume="auto", eval={"every": 0}), tmp_path)


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
