"""The best evaluation, waiting for a better one, and what a run makes of both."""

import os

import pytest

from agents.config import ConfigError
from agents.training.best import Best
from agents.training.checkpoint import checkpoints_in
from agents.training.tracking import read_metrics
from agents.training.trainer import Trainer
from agents.vlm import VLM

from .conftest import small_run


def test_of_equal_ones_the_first():
    best = Best("iou")
    seen = [best.see(step, {"iou": value}) for step, value in enumerate((0.2, 0.4, 0.4, 0.3))]
    assert seen == [True, True, False, False]
    assert (best.step, best.value, best.waited) == (1, 0.4, 2)


@pytest.mark.parametrize("missing", [{}, {"iou": None}, {"iou": float("nan")}])
def test_a_value_that_is_missing_is_never_better(missing):
    best = Best("iou", patience=1)
    assert not best.see(0, missing)
    assert best.step is None and best.over
    assert best.lines(0, 4, None)[-1].startswith("warning: no evaluation had the metric iou")


def test_patience_counts_evaluations_in_a_row():
    best = Best("iou", patience=2)
    states = []
    for step, value in enumerate((0.5, 0.4, 0.6, 0.6, 0.1)):
        best.see(step, {"iou": value})
        states.append(best.over)
    assert states == [False, False, False, False, True]
    assert best.lines(4, 9, None) == [
        "stopped after step 4 of 9: 2 evaluations in a row were not better (eval.patience = 2)",
        "best iou: 0.6, after step 2",
    ]


def test_a_metric_that_is_not_measured_is_refused():
    with pytest.raises(ConfigError, match=r"eval\.best_by: got 'accuracy_sampled', .* off"):
        small_run("nowhere", eval={"sampled": False, "best_by": "accuracy_sampled"})


def scripted(trainer, monkeypatch, values):
    """The evaluation after step n says `values[n]`."""
    run = trainer.evaluator.run

    def saying(*words):
        metrics, episodes = run(*words)
        return {**metrics, "accuracy": values[trainer.step]}, episodes

    monkeypatch.setattr(trainer.evaluator, "run", saying)
    return trainer


@pytest.fixture
def config(qwen3_folder):
    def make(**sections):
        own = {"optim": {"steps": 8}, "eval": {"every": 1, "n": 1, "sampled": False}}
        own |= {"checkpoint": {"every": 0, "keep": 1}}
        own |= {"rollout": {"groups_per_step": 1, "group_size": 2}}
        for name, values in sections.items():
            own[name] = {**own.get(name, {}), **values} if isinstance(values, dict) else values
        return small_run(qwen3_folder, **own)

    return make


def test_the_best_checkpoint_stays_and_the_run_ends_early(config, tmp_path, monkeypatch, capsys):
    values = [0.1, 0.2, 0.6, 0.5, 0.6, 0.0]
    trainer = Trainer(config(eval={"patience": 3}), tmp_path)
    assert scripted(trainer, monkeypatch, values).fit()
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step_000002", "step_000005"]
    assert os.readlink(tmp_path / "checkpoints" / "best") == "step_000002"
    printed = " ".join(capsys.readouterr().out.split())
    assert "stopped after step 5 of 8: 3 evaluations in a row were not better" in printed
    assert "best accuracy: 0.6, after step 2 (in " in printed
    VLM.load(tmp_path / "checkpoints" / "best")

    again = Trainer(config(eval={"patience": 3}, resume="auto"), tmp_path)
    assert again.fit()  # it is over: nothing is played
    assert [r["step"] for r in read_metrics(tmp_path / "metrics.jsonl")][-1] == 5


def test_patience_goes_on_where_a_run_was_stopped(config, tmp_path, monkeypatch):
    values = [0.1, 0.6, 0.5, 0.4, 0.3, 0.2]
    first = scripted(Trainer(config(optim={"steps": 2}), tmp_path), monkeypatch, values)
    assert first.fit()
    more = config(eval={"patience": 3}, resume="auto")
    second = Trainer(more, tmp_path)
    assert (second.best.step, second.best.waited) == (1, 1)
    assert scripted(second, monkeypatch, values).fit()
    assert second.step == 4
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step_000001", "step_000004"]


def test_without_it_only_the_newest_stay(config, tmp_path, monkeypatch):
    trainer = Trainer(config(optim={"steps": 3}, checkpoint={"best": False}), tmp_path)
    scripted(trainer, monkeypatch, [0.1, 0.6, 0.5, 0.4]).fit()
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step_000003"]
    assert not (tmp_path / "checkpoints" / "best").exists()


@pytest.mark.parametrize("lost", ["removed", "no links"])
def test_a_best_checkpoint_without_its_link_survives_a_resumption(
    config, tmp_path, monkeypatch, lost
):
    link = tmp_path / "checkpoints" / "best"
    trainer = Trainer(config(optim={"steps": 4}), tmp_path)
    assert scripted(trainer, monkeypatch, [0.1, 0.2, 0.6, 0.5, 0.4]).fit()
    link.unlink()
    if lost == "no links":

        def refused(*_):
            raise OSError("Operation not permitted")

        monkeypatch.setattr(type(link), "symlink_to", refused)
    again = Trainer(config(resume="auto"), tmp_path)
    again.close()
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step_000002", "step_000004"]
    assert link.is_symlink() == (lost == "removed")
