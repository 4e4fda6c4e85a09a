"""Qwen2-VL: full attention in the vision tower, boxes in 0-1000.

Wang et al., "Qwen2-VL", arXiv 2409.12191 (M-RoPE in section 2.1, boxes in section 2.2.1).
"""

from __future__ import annotations

from typing import Any

from . import Family


def tiny_config(text: dict[str, Any], vision: dict[str, Any], rest: dict[str, Any]) -> Any:
    """The tower's width is `embed_dim`; `hidden_size` is what it gives to the language model."""
    from transformers import Qwen2VLConfig

    width, out = vision.pop("hidden_size"), vision.pop("out_hidden_size")
    ratio = vision.pop("intermediate_size") // width
    tower = {**vision, "embed_dim": width, "hidden_size": out, "mlp_ratio": max(1, ratio)}
    return Qwen2VLConfig(text_config=text, vision_config=tower, **rest)


FAMILY = Family(
    model_type="qwen2_vl",
    model_class="Qwen2VLForConditionalGeneration",
    patch=14,
    box_dialect="relative_1000",
    mrope="sectioned",
    tiny_config=tiny_config,
)
