"""What training leaves loads in vLLM and answers as the trained policy does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.rollout.engines import ModelSource, Sampling
from agents.rollout.engines.transformers import Options, open_engine
from agents.training.trainer import Trainer

from ..agents.training.conftest import small_run
from ..agents.training.test_trained_model import questions
from .conftest import FACTOR, Opener

GREEDY = Sampling(max_tokens=12, temperature=0.0)


@pytest.mark.parametrize(
    ("model", "lora", "left"),
    [
        ("qwen3_vl", None, "checkpoints/step_000002"),
        ("qwen25_vl", {"rank": 4, "alpha": 8}, "model"),
        ("qwen2_vl", None, "model"),
    ],
    ids=["a whole checkpoint", "adapters merged", "the exported model"],
)
def test_greedy_answers_are_those_of_the_policy(
    folder_of: Callable[[str], str],
    open_vllm: Opener,
    tmp_path: Path,
    model: str,
    lora: dict[str, Any] | None,
    left: str,
) -> None:
    folder, pixels = folder_of(model), 6 * FACTOR**2
    config = small_run(
        folder,
        model={"lora": lora},
        env={"factor": FACTOR, "min_pixels": pixels, "max_pixels": pixels},
        algorithm={"drop_zero_variance": False},
        optim={"steps": 2, "lr": 1e-2, "warmup_steps": 0},
        eval={"every": 0},
    )
    trainer = Trainer(config, tmp_path)
    assert trainer.fit()
    ours = open_engine(ModelSource(folder, policy=trainer.policy), Options())
    theirs = open_vllm(str(tmp_path / left))
    replies: list[Any] = []
    engine: Any
    for engine in (ours, theirs):
        chats = list(questions(engine.codec))
        replies.append([reply.token_ids for reply in engine.generate(chats, GREEDY)])
    assert replies[0] == replies[1]
    before = open_engine(ModelSource(folder), Options())
    first: list[Any] = before.generate(list(questions(before.codec)), GREEDY)
    assert [reply.token_ids for reply in first] != replies[0]  # it has learned something
