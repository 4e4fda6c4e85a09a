"""Random models of any family and any small size, as folders in Hugging Face layout.

For tests and speed measurements: real transformers classes, real files, no download. The tokenizer
is byte-level with Qwen's special tokens, which lie before or after the bytes, so that nothing can
rely on an id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from . import Family, SpecialTokens, family_named

MERGE = 2
MERGES = (("e", "r"), ("s", "er"), ("u", "ser"), ("}", "]"), ("]", "Ċ"))
"""Few, so that a text has more than one tokenisation and a stop string can span tokens."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string -%}{{ message.content }}"
    "{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{ '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)


def write_random_model(
    folder: str | Path,
    family: str,
    *,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 2,
    kv_heads: int = 1,
    tied: bool = True,
    patch: int = 8,
    special_first: bool = False,
    seed: int = 0,
    vision_hidden: int = 48,
    vision_layers: int = 3,
    context: int = 4096,
) -> str:
    """Write a model of family `family` (see `families`) with random weights; returns the folder.

    By default about 0.2M parameters. `hidden`, `layers`, `heads` and `kv_heads` are those of the
    language model, the tower has 4 heads; `patch` in pixels (an image token stands for 2 x 2
    patches); `tied`: the head's weights are the embedding's; `context`: the most tokens.
    Raises ValueError for heads of fewer than 32 dimensions, which vLLM has no CPU kernel for.
    """
    import torch
    import transformers

    kind = family_named(family)
    tokenizer = make_tokenizer(special_first)
    text = _text(tokenizer, hidden, layers, heads, kv_heads, context)
    vision = {
        "depth": vision_layers,
        "hidden_size": vision_hidden,
        "num_heads": 4,
        "intermediate_size": 4 * vision_hidden // 3,
        "patch_size": patch,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "out_hidden_size": hidden,
    }
    config = kind.tiny_config(text, vision, {"tie_word_embeddings": tied, **_ids(kind, tokenizer)})
    with torch.random.fork_rng(devices=[]):
        model = getattr(transformers, kind.model_class)(config)
    _randomise(model, seed)
    _write(model, Path(folder))
    tokenizer.save_pretrained(folder)
    _image_processor(patch).save_pretrained(folder)
    return str(folder)


def _write(model: Any, folder: Path) -> None:
    """What `save_pretrained` writes of a model; that one would load DeepSpeed, if it is there."""
    from safetensors.torch import save_file

    from ..adapters import checkpoint_weights

    model.config.architectures = [type(model).__name__]
    model.config.dtype = str(model.dtype).removeprefix("torch.")
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    weights = {name: tensor.contiguous() for name, tensor in checkpoint_weights(model)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def make_tokenizer(special_first: bool, special: Sequence[str] | None = None) -> Any:
    """Byte-level BPE with Qwen's special tokens (or those given), before or after the bytes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = special_names() if special is None else special
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet()) + [a + b for a, b in MERGES]
    names = [*special, *pieces] if special_first else [*pieces, *special]
    bpe = models.BPE(vocab={name: n for n, name in enumerate(names)}, merges=list(MERGES))
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def special_names() -> tuple[str, ...]:
    """Every special token of the tokenizer."""
    *names, others = astuple(SpecialTokens())
    return ("<|endoftext|>", *names, *others)


def _text(
    tokenizer: Any, hidden: int, layers: int, heads: int, kv_heads: int, context: int
) -> dict[str, Any]:
    head = hidden // heads
    if hidden % (8 * heads) or head < 32:
        raise ValueError(
            f"random model: got hidden size {hidden} with {heads} heads, expected heads of 32 "
            "dimensions or more, a multiple of 8"
        )
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden // 2,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": context,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [head // 4, head // 8, head // 8],
        },
    }


def _ids(kind: Family, tokenizer: Any) -> dict[str, int]:
    names = {
        "image_token_id": kind.special.image,
        "video_token_id": kind.special.video,
        "vision_start_token_id": kind.special.vision_start,
        "vision_end_token_id": kind.special.vision_end,
    }
    return {key: int(tokenizer.convert_tokens_to_ids(name)) for key, name in names.items()}


def _randomise(model: Any, seed: int) -> None:
    """A wide spread, so that logits differ clearly between tokens and places."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                std = 1.5 / parameter[0].numel() ** 0.5
                parameter.normal_(std=min(std, 0.3), generator=generator)


def _image_processor(patch: int) -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    area = (patch * MERGE) ** 2
    return Qwen2VLImageProcessorPil(
        patch_size=patch,
        merge_size=MERGE,
        temporal_patch_size=2,
        size={"shortest_edge": area, "longest_edge": 64 * area},
    )
