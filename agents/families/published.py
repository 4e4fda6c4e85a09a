"""Dimensions of the published models, for plans that are made before anything is downloaded.

From the `config.json` of each model on the Hugging Face hub; what is not named is the default of
transformers' class. A checkpoint of the same dimensions counts as the same model.
"""

from __future__ import annotations

import difflib
from typing import Any

from . import family_named

Numbers = dict[str, Any]


def _text(
    hidden: int, inner: int, layers: int, heads: int, kv_heads: int, vocabulary: int = 152_064
) -> Numbers:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
    }


def _tower2(out: int) -> Numbers:
    return {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4, "hidden_size": out}


def _tower25(out: int, inner: int) -> Numbers:
    tower = {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": inner}
    return {**tower, "out_hidden_size": out}


def _tower3(out: int, small: bool) -> Numbers:
    depth, hidden, inner = (24, 1024, 4096) if small else (27, 1152, 4304)
    feeds = [5, 11, 17] if small else [8, 16, 24]
    tower = {"depth": depth, "hidden_size": hidden, "intermediate_size": inner, "num_heads": 16}
    return {**tower, "out_hidden_size": out, "deepstack_visual_indexes": feeds}


TIED = 151_936
"""Rows of the embedding of the small models, whose head it is, too."""

PUBLISHED: dict[str, tuple[str, Numbers, Numbers, int]] = {
    "Qwen/Qwen2-VL-2B-Instruct": (
        "qwen2_vl", _text(1536, 8960, 28, 12, 2, TIED), _tower2(1536), 2_208_985_600),
    "Qwen/Qwen2-VL-7B-Instruct": (
        "qwen2_vl", _text(3584, 18944, 28, 28, 4), _tower2(3584), 8_291_375_616),
    "Qwen/Qwen2-VL-72B-Instruct": (
        "qwen2_vl", _text(8192, 29568, 80, 64, 8), _tower2(8192), 73_405_560_320),
    "Qwen/Qwen2.5-VL-3B-Instruct": (
        "qwen25_vl", _text(2048, 11008, 36, 16, 2, TIED), _tower25(2048, 3420), 3_754_622_976),
    "Qwen/Qwen2.5-VL-7B-Instruct": (
        "qwen25_vl", _text(3584, 18944, 28, 28, 4), _tower25(3584, 3420), 8_292_166_656),
    "Qwen/Qwen2.5-VL-32B-Instruct": (
        "qwen25_vl", _text(5120, 27648, 64, 40, 8), _tower25(5120, 3456), 33_452_718_336),
    "Qwen/Qwen2.5-VL-72B-Instruct": (
        "qwen25_vl", _text(8192, 29568, 80, 64, 8), _tower25(8192, 3456), 73_410_777_344),
    "Qwen/Qwen3-VL-2B-Instruct": (
        "qwen3_vl", _text(2048, 6144, 28, 16, 8, TIED), _tower3(2048, True), 2_127_532_032),
    "Qwen/Qwen3-VL-4B-Instruct": (
        "qwen3_vl", _text(2560, 9728, 36, 32, 8, TIED), _tower3(2560, True), 4_437_815_808),
    "Qwen/Qwen3-VL-8B-Instruct": (
        "qwen3_vl", _text(4096, 12288, 36, 32, 8, TIED), _tower3(4096, False), 8_767_123_696),
}  # fmt: skip
"""Hub id -> family (file name), language model, vision tower, and the parameters in its files."""
UNTIED = ("Qwen/Qwen3-VL-8B-Instruct",)
"""With an embedding of `TIED` rows, and still a head of its own."""


def published_config(model: str) -> Any:
    """transformers config of a published model, by hub id or by a folder named like it.

    Thinking editions and other finetunes of the same name have the same dimensions:

    >>> published_config("models/Qwen2.5-VL-3B-Instruct").text_config.num_hidden_layers
    36

    Raises ValueError with the known models and the closest.
    """
    import transformers

    name = published_name(model)
    family, text, vision, _ = PUBLISHED[name]
    kind = family_named(family)
    tied = text["vocab_size"] == TIED and name not in UNTIED
    rope: Numbers = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    if kind.mrope == "interleaved":
        rope |= {"mrope_section": [24, 20, 20], "mrope_interleaved": True}
        text = {**text, "head_dim": 128}
    known = {"rope_parameters": rope, "max_position_embeddings": 128_000}
    config_class = getattr(transformers, kind.model_class).config_class
    return config_class(
        text_config={**text, **known, "tie_word_embeddings": tied},
        vision_config=dict(vision),
        tie_word_embeddings=tied,
    )


def published_name(model: str) -> str:
    """The hub id of the table that a model id or folder names. Raises ValueError."""
    last = str(model).rstrip("/").rsplit("/", 1)[-1].lower().removesuffix("-thinking")
    for name in PUBLISHED:
        known = name.rsplit("/", 1)[-1].lower()
        if known == last or known.removesuffix("-instruct") == last:
            return name
    close = difflib.get_close_matches(str(model), PUBLISHED, n=1, cutoff=0.3)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ValueError(
        f"model.path: got {str(model)!r}, which is no folder with a config.json; its dimensions "
        f"are known for {', '.join(PUBLISHED)}{hint}"
    )
