"""Parameters and sizes, against the loaded model."""

from typing import Any

import pytest

from agents.config_sections import Lora, Model
from agents.training.plan.shapes import PARTS, part_of, shapes_of
from agents.vlm import VLM

KINDS: dict[str, dict[str, Any]] = {
    "frozen tower": {},
    "all": {"freeze_vision": False},
    "adapters": {"lora": Lora(rank=8)},
    "adapters everywhere": {
        "freeze_vision": False,
        "lora": Lora(rank=4, targets=r".*\.(q_proj|qkv|proj|down_proj)"),
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_the_loaded_model(model_folder, kind):
    model = Model(path=model_folder, dtype="float32", **KINDS[kind])
    shapes = shapes_of(model)
    lora = model.lora.peft_options() if model.lora else None
    vlm = VLM.load(model_folder, lora=lora, freeze_vision=model.freeze_vision)
    named = list(vlm.model.named_parameters())
    for part in PARTS:
        members = [p for name, p in named if part_of(name) == part]
        assert shapes.parameters[part] == sum(p.numel() for p in members), part
        assert shapes.trained[part] == sum(p.numel() for p in members if p.requires_grad), part
    trained = [p.numel() for _, p in vlm.trainable()]
    assert (shapes.n_trained, shapes.largest) == (sum(trained), max(trained))


def test_sizes_of_the_7b_model():
    shapes = shapes_of(Model(path="Qwen/Qwen2.5-VL-7B-Instruct"))
    assert (shapes.hidden, shapes.queries, shapes.keys) == (3584, 3584, 512)
    assert (shapes.factor, shapes.merged) == (28, 4)
    assert shapes.kv_bytes(2) == 2 * 28 * 512 * 2  # 57,344 bytes a token
    assert shapes.trained["vision tower"] == 0
    assert shapes.n_trained == 8_292_166_656 - 676_550_144
