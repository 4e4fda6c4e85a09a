"""Qwen2.5-VL: window attention in the vision tower, boxes in pixels of the image as it is seen.

Bai et al., "Qwen2.5-VL", arXiv 2502.13923 (tower in section 2.1.1, boxes in section 2.2.1).
"""

from __future__ import annotations

from typing import Any

from . import Family


def tiny_config(text: dict[str, Any], vision: dict[str, Any], rest: dict[str, Any]) -> Any:
    """Windows of 2 x 2 merged patches; one layer of the tower sees everything."""
    from transformers import Qwen2_5_VLConfig

    factor = vision["patch_size"] * vision["spatial_merge_size"]
    windows = {"window_size": 2 * factor, "fullatt_block_indexes": [vision["depth"] // 2]}
    return Qwen2_5_VLConfig(text_config=text, vision_config={**vision, **windows}, **rest)


FAMILY = Family(
    model_type="qwen2_5_vl",
    model_class="Qwen2_5_VLForConditionalGeneration",
    patch=14,
    box_dialect="absolute",
    mrope="sectioned",
    tiny_config=tiny_config,
)
