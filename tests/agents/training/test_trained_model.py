"""What training leaves loads in plain transformers and answers as our engine did."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForImageTextToText

from agents.rollout.engines import ModelSource, Sampling
from agents.rollout.engines.transformers import Options, open_engine
from agents.training.trainer import Trainer

from ..helpers import add_crop, opening, random_reply
from ..rollout.engines.talking import own_greedy
from .conftest import small_run
from .test_trainer import LORA


def questions(codec):
    """Chats that wait for a reply: the first one, and the second after a crop."""
    rng = np.random.default_rng(0)
    for n in range(4):
        chat = opening(codec, n)
        if n % 2:
            chat.reply(random_reply(codec, rng, end=False))
            add_crop(chat, n)
        yield chat


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "adapters"])
def test_generate_says_what_the_engine_says(model_folder, tmp_path, lora):
    optim = {"steps": 2, "lr": 1e-2, "warmup_steps": 0}
    parts = {"model": {"lora": lora}, "algorithm": {"drop_zero_variance": False}}
    config = small_run(model_folder, optim=optim, eval={"every": 0}, **parts)
    trainer = Trainer(config, tmp_path)
    assert trainer.fit()
    engine = open_engine(ModelSource(model_folder, policy=trainer.policy), Options())
    chats = list(questions(engine.codec))
    replies: list[Any] = engine.generate(chats, Sampling(max_tokens=12, temperature=0.0))
    expected = [reply.token_ids for reply in replies]
    assert len({tuple(reply) for reply in expected}) > 1

    folders = [tmp_path / "model"] + [tmp_path / "checkpoints" / "step_000002"] * (lora is None)
    for folder in folders:
        plain: Any = AutoModelForImageTextToText.from_pretrained(folder)
        vlm: Any = SimpleNamespace(model=plain, codec=engine.codec)
        assert [own_greedy(vlm, chat, 12) for chat in chats] == expected
