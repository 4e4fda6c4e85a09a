"""What the trainer asks of its engine, and which engines it takes."""

from typing import Any

import pytest

from agents.config import ConfigError
from agents.rollout.engines import Failure
from agents.rollout.engines.transformers import TransformersEngine
from agents.training.trainer import Trainer

from .conftest import small_run
from .test_trainer import rows


@pytest.mark.parametrize("name", ["openai", "tests.agents.talker:open_engine"])
def test_an_engine_without_tokens_is_refused(qwen3_folder, tmp_path, name):
    engine = {"name": name, **({"model": "m"} if name == "openai" else {})}
    with pytest.raises(ConfigError, match=f"engine.name: got '{name}', whose replies carry no"):
        Trainer(small_run(qwen3_folder, engine=engine), tmp_path)


def test_the_engine_sleeps_while_the_weights_change(qwen3_folder, tmp_path, monkeypatch):
    trainer: Any = Trainer(small_run(qwen3_folder, optim={"steps": 2}), tmp_path)
    calls: list[str] = []
    for name in ("generate", "sleep", "wake", "load_weights", "close"):
        method = getattr(trainer.engine, name)

        def noted(*given, name=name, method=method, **named):
            calls.extend([name] if calls[-1:] != [name] else [])
            return method(*given, **named)

        monkeypatch.setattr(trainer.engine, name, noted)
    update = trainer.learner.learn

    def noted_update(groups):
        calls.append("learn")
        return update(groups)

    monkeypatch.setattr(trainer.learner, "learn", noted_update)
    trainer.fit()
    step = ["generate", "sleep", "learn", "wake", "load_weights"]
    assert calls == [*step, *step, "generate", "close"]  # evaluated before and after


def test_failures_are_tried_again_as_often_as_the_config_says(qwen3_folder, tmp_path, monkeypatch):
    config = small_run(
        qwen3_folder,
        rollout={"retries": 3, "timeout": 60.0},
        optim={"steps": 1},
        eval={"every": 0},
    )
    trainer: Any = Trainer(config, tmp_path)
    asked = []
    generate = trainer.engine.generate

    def flaky(chats, sampling):
        asked.append(sampling.timeout)
        replies = generate(chats, sampling)
        return replies if len(asked) > 3 else [Failure("busy"), *replies[1:]]

    monkeypatch.setattr(trainer.engine, "generate", flaky)
    trainer.fit()
    (row,) = rows(tmp_path, "train")
    assert (row["retries"], row["errors"]) == (3, 0)
    assert set(asked) == {60.0}


def test_a_run_that_cannot_begin_leaves_no_engine_behind(qwen3_folder, tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr(TransformersEngine, "close", lambda self: closed.append(self))
    (tmp_path / "run" / "config.yaml").mkdir(parents=True)  # in the place of the file
    with pytest.raises(OSError):
        Trainer(small_run(qwen3_folder), tmp_path / "run")
    assert len(closed) == 1
