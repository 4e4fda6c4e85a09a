"""Training whose rollouts come from vLLM: same rewards, agreeing log-probs, faults that stop it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.config import Config
from agents.training.optimizer import TrainingError
from agents.training.publish import Publisher
from agents.training.replay import replay
from agents.training.tracking import read_metrics
from agents.training.trainer import Trainer
from agents.vlm import VLM

from ..agents.rollout.engines.talking import changed_weights
from ..agents.training import conftest as training
from .conftest import FACTOR, OPTIONS

MATCH = 1e-4
"""Nats, float32."""


def small_run(folder: str, **sections: Any) -> Config:
    """Two steps with vLLM; `sections` replace single keys, by section."""
    pixels = 6 * FACTOR**2
    own: dict[str, Any] = {
        "env": {"factor": FACTOR, "min_pixels": pixels, "max_pixels": pixels},
        "engine": {"name": "vllm", **OPTIONS},
        "rollout": {"archive": 1},
        "algorithm": {"drop_zero_variance": False},
        "optim": {"steps": 2, "lr": 1e-2, "warmup_steps": 1},
        "checkpoint": {"every": 1},
    }
    for name, values in sections.items():
        own[name] = {**own.get(name, {}), **values} if isinstance(values, dict) else values
    return training.small_run(folder, **own)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for row in read_metrics(folder / "metrics.jsonl") if row["split"] == "train"]


def test_two_steps_and_a_third_after_resuming(
    folder_of: Callable[[str], str], tmp_path: Path
) -> None:
    folder = folder_of("qwen3_vl")
    assert Trainer(small_run(folder), tmp_path).fit()
    more = small_run(folder, optim={"steps": 3}, resume="auto", eval={"every": 0})
    assert Trainer(more, tmp_path).fit()
    found = rows(tmp_path)
    assert [row["step"] for row in found] == [1, 2, 3]
    for row in found:
        assert 0 < row["probe_max"] < MATCH
        assert 0 < row["mismatch_max"] < MATCH
        assert row["errors"] == 0 and row["grad_norm"] > 0
    assert replay(tmp_path, 2).different == []  # without vLLM, to the last bit


@pytest.mark.parametrize("way", ["merged", "served"])
def test_adapters(folder_of: Callable[[str], str], tmp_path: Path, way: str) -> None:
    lora = {"rank": 8, "alpha": 16}
    config = small_run(
        folder_of("qwen25_vl"), model={"lora": lora}, engine={"lora": way}, eval={"every": 0}
    )
    assert Trainer(config, tmp_path).fit()
    for row in rows(tmp_path):
        assert 0 < row["probe_max"] < MATCH and row["mismatch_max"] < MATCH


def test_weights_that_do_not_arrive_stop_the_run(
    folder_of: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.rollout.engines._vllm_weights import WeightSync

    monkeypatch.setattr(WeightSync, "load", lambda self, core, source: source)
    with pytest.raises(TrainingError, match=r"of version 1: .*\nLikely cause: stale weights"):
        Trainer(small_run(folder_of("qwen3_vl"), eval={"every": 0}), tmp_path).fit()


def test_a_prefix_cache_that_is_kept_is_named(
    folder_of: Callable[[str], str], open_vllm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of("qwen3_vl")
    policy, engine = VLM.load(folder), open_vllm(folder)
    engine.load_weights(policy, 0)
    publisher = Publisher(engine, policy)
    assert publisher.check()["probe_max"] < MATCH
    monkeypatch.setattr(
        "agents.rollout.engines._vllm_weights.reset_caches",
        lambda core: (core.reset_encoder_cache(), core.reset_mm_cache()),
    )
    publisher.policy = changed_weights(folder)
    try:
        with pytest.raises(TrainingError, match="Likely cause: stale caches: "):
            publisher.publish(1)
    finally:
        monkeypatch.undo()
        engine.load_weights(folder, 0)
