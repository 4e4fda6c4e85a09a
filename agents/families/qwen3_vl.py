"""Qwen3-VL: learned positions in the vision tower, whose layers also feed the first decoder layers
(deepstack); interleaved M-RoPE; boxes in 0-1000.

Bai et al., "Qwen3-VL Technical Report", arXiv 2511.21631.
"""

from __future__ import annotations

from typing import Any

from . import Family


def tiny_config(text: dict[str, Any], vision: dict[str, Any], rest: dict[str, Any]) -> Any:
    """8 x 8 learned positions; every layer of the tower but the last feeds a decoder layer."""
    from transformers import Qwen3VLConfig

    # transformers takes the M-RoPE kind from the class; vLLM from this flag alone.
    rope = {**text["rope_parameters"], "mrope_interleaved": True}
    head = text["hidden_size"] // text["num_attention_heads"]
    deepstack = list(range(min(vision["depth"] - 1, text["num_hidden_layers"])))
    tower = {**vision, "num_position_embeddings": 64, "deepstack_visual_indexes": deepstack}
    return Qwen3VLConfig(
        text_config={**text, "head_dim": head, "rope_parameters": rope},
        vision_config=tower,
        **rest,
    )


FAMILY = Family(
    model_type="qwen3_vl",
    model_class="Qwen3VLForConditionalGeneration",
    patch=16,
    box_dialect="relative_1000",
    mrope="interleaved",
    tiny_config=tiny_config,
)
