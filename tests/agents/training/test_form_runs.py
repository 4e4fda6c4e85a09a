"""Whole runs in every form of the shared prefix: the same curve, up to rounding."""

import math
from typing import Any

import pytest

from agents.config import ConfigError
from agents.training.tracking import read_metrics
from agents.training.trainer import Trainer

from .conftest import small_run

LORA = {"rank": 4, "alpha": 8}
MODELS: dict[str, dict[str, Any]] = {
    "frozen tower": {},
    "trained tower": {"freeze_vision": False},
    "adapters": {"lora": LORA},
}
COMPARED = ("loss", "grad_norm", "entropy", "mismatch_max", "kl_reference", "reward_mean")


def curve(model_folder, folder, model, optim):
    config = small_run(
        model_folder,
        model=model,
        optim={"steps": 2, "minibatches": 2, **optim},
        algorithm={"kl": 0.05, "entropy": 0.01, "drop_zero_variance": False},
        eval={"every": 0},
        checkpoint={"every": 0},
    )
    Trainer(config, folder).fit()
    return [row for row in read_metrics(folder / "metrics.jsonl") if row["split"] == "train"]


@pytest.mark.parametrize("model", MODELS)
def test_a_run_is_the_same_in_every_form(qwen3_folder, tmp_path, model):
    plain = curve(qwen3_folder, tmp_path / "rows", MODELS[model], {"prefix": "rows"})
    others = {
        "cache": curve(qwen3_folder, tmp_path / "cache", MODELS[model], {"prefix": "cache"}),
        "tree": curve(qwen3_folder, tmp_path / "tree", MODELS[model], {"prefix": "tree"}),
        "again": curve(
            qwen3_folder,
            tmp_path / "again",
            {**MODELS[model], "gradient_checkpointing": True},
            {"prefix": "auto"},
        ),
    }
    for form, rows in others.items():
        for mine, row in zip(rows, plain, strict=True):
            for name in COMPARED:
                assert math.isclose(mine[name], row[name], rel_tol=1e-3, abs_tol=1e-4), (form, name)
    computed = {form: rows[0]["tokens_computed"] for form, rows in others.items()}
    assert computed["tree"] == computed["again"] <= computed["cache"] < plain[0]["tokens_computed"]


def test_a_budget_below_a_group_cuts_it_and_changes_nothing(qwen3_folder, tmp_path):
    whole = curve(qwen3_folder, tmp_path / "whole", {}, {"prefix": "tree"})
    cut = curve(qwen3_folder, tmp_path / "cut", {}, {"prefix": "tree", "micro_batch_tokens": 1})
    for mine, row in zip(cut, whole, strict=True):
        assert mine["tokens_computed"] > row["tokens_computed"]
        assert math.isclose(mine["grad_norm"], row["grad_norm"], rel_tol=1e-3)


def test_a_cache_with_gradient_checkpointing_is_refused(qwen3_folder):
    with pytest.raises(ConfigError, match=r"optim\.prefix: got cache with model\.gradient_check"):
        small_run(qwen3_folder, model={"gradient_checkpointing": True}, optim={"prefix": "cache"})
