"""What a model is made of, without its weights: parameters by part, and sizes of its layers.

The parameters are counted on the model itself, built by transformers without memory (on torch's
`meta` device) and prepared for training as `VLM` does it, so that they are exact for any model of
a known family, frozen tower and adapters included.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...config_sections import Model
from ...families import family_of
from ...families.published import published_config, published_name

PARTS = ("language model", "embedding", "head", "vision tower", "adapters")


@dataclass(frozen=True)
class Shapes:
    """Sizes of one model. H hidden size, A width of all query heads, K of all key heads."""

    source: str
    """Where the dimensions come from."""
    family: str
    """`model_type` of config.json."""
    hidden: int
    inner: int
    """Width of the feed-forward layers."""
    layers: int
    heads: int
    queries: int
    """A"""
    keys: int
    """K, which is that of values, too."""
    vocabulary: int
    normed_heads: bool
    """Queries and keys have norms of their own (Qwen3-VL)."""
    rank: int
    """Of adapters; 0: none."""
    factor: int
    """Pixels per image token and side."""
    merged: int
    """Patches per image token."""
    tower_hidden: int
    tower_inner: int
    tower_layers: int
    tower_gated: bool
    """The tower's feed-forward layers have a gate (Qwen2.5-VL)."""
    tower_rms: bool
    """Its norms are those of the language model (Qwen2.5-VL)."""
    tower_window: int
    """Patches that attend to each other in most of its layers; 0: all of an image in all layers."""
    tower_full: int
    """Layers of it in which all patches of an image attend to each other."""
    features: int
    """Numbers that it gives for an image token, those for later layers (Qwen3-VL) included."""
    parameters: dict[str, int]
    """Part -> all parameters; tied weights count where they are first."""
    trained: dict[str, int]
    """Part -> trained parameters."""
    largest: int
    """Parameters of the largest trained tensor."""

    @property
    def total(self) -> int:
        return sum(self.parameters.values())

    @property
    def n_trained(self) -> int:
        return sum(self.trained.values())

    @property
    def decoder(self) -> int:
        """Parameters that every token of the language model is multiplied by."""
        return self.parameters["language model"] + self.parameters["adapters"]

    @property
    def trains_tower(self) -> bool:
        return self.trained["vision tower"] > 0

    @property
    def trains_weights(self) -> bool:
        """The language model's own weights, not adapters beside them."""
        return self.trained["language model"] > 0

    def tower_pairs(self, patches: int, squares: float) -> float:
        """Pairs of patches that attend to each other, summed over the tower's layers.

        `squares`: of each image's patches, summed over the images.
        """
        within = (self.tower_layers - self.tower_full) * patches * self.tower_window
        return self.tower_full * squares + within

    def kv_bytes(self, itemsize: int) -> int:
        """Keys and values of one token in all layers."""
        return 2 * self.layers * self.keys * itemsize


def model_config(path: str) -> tuple[Any, str]:
    """transformers config of a model folder, or of a published model; and where it is from.

    Raises ValueError for a folder of another kind of model and for an unknown name.
    """
    from transformers import AutoConfig

    if (Path(path) / "config.json").is_file():
        family_of(path)
        return AutoConfig.from_pretrained(path), f"{path}/config.json"
    try:
        return published_config(path), f"published dimensions of {published_name(path)}"
    except ValueError as unknown:
        try:
            config = AutoConfig.from_pretrained(path, local_files_only=True)
        except (OSError, ValueError):
            raise unknown from None
        family_of(config)
        return config, f"{path} in the hub's cache"


def meta_model(config: Any, model: Model) -> Any:
    """The model as `VLM.load` prepares it for training, without memory for its weights."""
    import torch
    import transformers

    from ...adapters import add_lora

    with torch.device("meta"):
        module = getattr(transformers, family_of(config).model_class)(config)
        if model.freeze_vision:
            module.model.visual.requires_grad_(False)
        if model.lora is not None:
            options = model.lora.peft_options()
            module = add_lora(module, options, freeze_vision=model.freeze_vision)
    return module


def part_of(name: str) -> str:
    """The part of `PARTS` that a parameter of this name belongs to."""
    if "lora_" in name:
        return "adapters"
    if ".visual." in name or name.startswith("visual."):
        return "vision tower"
    if name.startswith("lm_head"):
        return "head"
    return "embedding" if "embed_tokens" in name else "language model"


def shapes_of(model: Model) -> Shapes:
    """The shapes of a config's model. Raises ValueError, see `model_config`."""
    config, source = model_config(model.path)
    module = meta_model(config, model)
    parameters, trained = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
    largest = 0
    for name, tensor in module.named_parameters():  # tied weights once
        parameters[part_of(name)] += tensor.numel()
        if tensor.requires_grad:
            trained[part_of(name)] += tensor.numel()
            largest = max(largest, tensor.numel())
    text, vision = config.text_config, config.vision_config
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    kind = config.model_type
    old, windowed = kind == "qwen2_vl", kind == "qwen2_5_vl"
    feeds = getattr(vision, "deepstack_visual_indexes", None) or ()
    width = vision.embed_dim if old else vision.hidden_size
    return Shapes(
        source=source,
        family=kind,
        hidden=text.hidden_size,
        inner=text.intermediate_size,
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        queries=text.num_attention_heads * head,
        keys=text.num_key_value_heads * head,
        vocabulary=text.vocab_size,
        normed_heads=kind == "qwen3_vl",
        rank=model.lora.rank if model.lora else 0,
        factor=vision.patch_size * vision.spatial_merge_size,
        merged=vision.spatial_merge_size**2,
        tower_hidden=width,
        tower_inner=int(width * vision.mlp_ratio) if old else vision.intermediate_size,
        tower_layers=vision.depth,
        tower_gated=windowed,
        tower_rms=windowed,
        tower_window=(vision.window_size // vision.patch_size) ** 2 if windowed else 0,
        tower_full=len(vision.fullatt_block_indexes) if windowed else vision.depth,
        features=text.hidden_size * (1 + len(feeds)),
        parameters=parameters,
        trained=trained,
        largest=largest,
    )
