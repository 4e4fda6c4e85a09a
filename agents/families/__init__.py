"""Model families: what differs between the Qwen-VL models, one file per family.

A family is a file of this folder with a `FAMILY`; its name is the file's. Everything else takes
what it needs to know about a model from `family_of`: adding one means adding one file, which the
tests then find. Nothing here imports transformers before it is called.
"""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hrvision_env.plugins import available


@dataclass(frozen=True)
class SpecialTokens:
    """Names of the tokens that carry structure; their ids are looked up in the tokenizer."""

    im_start: str = "<|im_start|>"
    """Opens a turn."""
    im_end: str = "<|im_end|>"
    """Ends a turn; the only one of these that a model samples."""
    vision_start: str = "<|vision_start|>"
    vision_end: str = "<|vision_end|>"
    image: str = "<|image_pad|>"
    """Stands for a merged patch of an image, or in collapsed ids for a whole one."""
    video: str = "<|video_pad|>"
    others: tuple[str, ...] = ("<|vision_pad|>",)
    """Also never sampled; a tokenizer may lack them."""


@dataclass(frozen=True)
class Family:
    """What engines and codecs must know about the models of one family."""

    model_type: str
    """`model_type` of their config.json."""
    model_class: str
    """Name of their class in transformers."""
    patch: int
    """Side of a patch in pixels, of the published models."""
    box_dialect: str
    """How the published models write boxes: a dialect of the environment."""
    mrope: Literal["sectioned", "interleaved"]
    """How the three position axes share a head's frequencies: in blocks, or in turns."""
    tiny_config: Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], Any]
    """(text, vision, rest) -> transformers config of a small model; see `random_model`."""
    merge: int = 2
    """Patches along a side that become one image token."""
    special: SpecialTokens = field(default_factory=SpecialTokens)

    @property
    def factor(self) -> int:
        """Sides of images are multiples of this many pixels (published models)."""
        return self.patch * self.merge

    def check(self, config: Any) -> None:
        """Raise ValueError for what other engines than transformers silently get wrong.

        vLLM decides by `rope_parameters` of config.json what transformers knows from the class.
        """
        text = config.text_config
        rope = text.rope_parameters or {}
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        section = rope.get("mrope_section")
        where = f"{config.name_or_path or self.model_class}: config.json, rope_parameters"
        if not section or 2 * sum(section) != head:
            raise ValueError(
                f"{where}: got mrope_section {section}, expected three numbers that add up to "
                f"{head // 2}, half of the head's {head} dimensions"
            )
        interleaved = bool(rope.get("mrope_interleaved", False))
        if interleaved != (self.mrope == "interleaved"):
            raise ValueError(
                f"{where}: got mrope_interleaved {interleaved}, expected {not interleaved}: the "
                f"M-RoPE of {self.model_type} is {self.mrope}, which vLLM knows from this alone"
            )


def families() -> dict[str, Family]:
    """All families by file name."""
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in available(__name__)}
    return {name: m.FAMILY for name, m in modules.items() if hasattr(m, "FAMILY")}


def family_named(name: str) -> Family:
    """A family by its file name. Raises ValueError that names the closest."""
    known = families()
    if name not in known:
        raise ValueError(f"model family: got {name!r}, {_expected(name, known)}")
    return known[name]


def family_of(model: Any) -> Family:
    """The family of a transformers config, a model folder, or a hub id (from the hub's cache).

    Raises ValueError for a model of another kind, with the known ones and the closest.
    """
    if isinstance(model, str | Path):
        kind, where = _model_type(model), str(model)
    else:
        kind = getattr(model, "model_type", None)
        where = getattr(model, "name_or_path", "") or type(model).__name__
    known = {family.model_type: family for family in families().values()}
    if kind not in known:
        raise ValueError(f"{where}: got model_type {kind!r}, {_expected(str(kind), known)}")
    return known[kind]


def _model_type(model: str | Path) -> Any:
    path = Path(model) / "config.json"
    try:
        if path.is_file():
            return json.loads(path.read_text()).get("model_type")
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(model).model_type
    except Exception as error:  # a broken file or an unknown hub id: almost any type
        raise ValueError(f"model folder {model}: cannot be read: config.json: {error}") from error


def _expected(name: str, known: dict[str, Family]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"expected one of {', '.join(known)}{hint}"
