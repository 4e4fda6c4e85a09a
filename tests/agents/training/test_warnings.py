"""What a run says that its numbers would not show: batches in halves, boxes in odd numbers."""

from typing import Any

import pytest

from agents.training.tracking import read_metrics
from agents.training.trainer import Trainer

from .conftest import small_run


def rows(folder, split):
    return [row for row in read_metrics(folder / "metrics.jsonl") if row["split"] == split]


def test_batches_that_failed_are_told(qwen3_folder, tmp_path, capsys, monkeypatch):
    trainer: Any = Trainer(
        small_run(qwen3_folder, optim={"steps": 1}, eval={"every": 1, "n": 8, "sampled": False}),
        tmp_path / "run",
    )
    generate = trainer.engine.generate

    def small(chats, sampling):
        if len(chats) > 6:
            raise MemoryError("no room")
        return generate(chats, sampling)

    monkeypatch.setattr(trainer.engine, "generate", small)
    assert trainer.fit()
    row = rows(tmp_path / "run", "train")[0]
    assert (row["batches_failed"], row["errors"], row["retries"]) == (2, 0, 0)  # one per turn
    assert [row["batches_failed"] for row in rows(tmp_path / "run", "eval")] == [2, 2]
    printed = " ".join(capsys.readouterr().out.split())
    for what in ("step 1, rollout", "step 0, evaluation", "step 1, evaluation"):
        assert f"warning: {what}: 2 batches failed and were asked again in halves" in printed
    assert printed.count("(MemoryError x 2)") == 3


@pytest.mark.parametrize(
    ("env", "eval_env", "warned"),
    [
        ({}, {}, []),
        ({"box_dialect": "absolute"}, {}, ["env", "eval_env"]),
        ({"box_dialect": "absolute"}, {"box_dialect": "relative_1000"}, ["env"]),
        ({}, {"box_dialect": "absolute"}, ["eval_env"]),
    ],
)
def test_boxes_of_another_kind_of_model_are_told(
    qwen3_folder, tmp_path, capsys, env, eval_env, warned
):
    config = small_run(qwen3_folder, env=env, eval_env=eval_env)
    Trainer(config, tmp_path).close()
    printed = " ".join(capsys.readouterr().out.split())
    for section in ("env", "eval_env"):
        line = (
            f"warning: {section}.box_dialect: got absolute, but published models of type qwen3_vl"
        )
        assert (line in printed) == (section in warned)
