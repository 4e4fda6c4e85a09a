"""Tiny random models on the real transformers classes, in Hugging Face layout.

`qwen3_folder` and `qwen25_folder` are model folders of about 0.2M parameters. Their tokenizers are
byte-level and put the special tokens at different ids, so that a hard-coded id fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
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
torch.set_num_threads(1)  # two spinning threads beside another busy process cost 10x the time

PATCH, MERGE = 8, 2
FACTOR = PATCH * MERGE
MERGES = (("e", "r"), ("s", "er"), ("u", "ser"), ("}", "]"), ("]", "Ċ"))
"""Few, so that a text has more than one tokenisation and a stop string can span tokens."""


def make_tokenizer(
    special_first: bool, special: Sequence[str] = SPECIAL
) -> PreTrainedTokenizerFast:
    """Byte-level BPE with Qwen's special tokens, before or after the bytes."""
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


def save_model(folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast) -> str:
    """Write one model folder; the weights get a wide spread so that logits differ clearly."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                std = 1.5 / parameter[0].numel() ** 0.5
                parameter.normal_(std=min(std, 0.3), generator=generator)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=2,
        size={"shortest_edge": FACTOR**2, "longest_edge": 64 * FACTOR**2},
    ).save_pretrained(folder)
    return str(folder)


def special_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    fields = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    ids = [tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in names]
    return dict(zip(fields, ids, strict=True))


def text_config(tokenizer: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [4, 2, 2],
        },
        **more,
    }


VISION = {
    "depth": 3,
    "hidden_size": 48,
    "num_heads": 4,
    "intermediate_size": 64,
    "patch_size": PATCH,
    "spatial_merge_size": MERGE,
    "temporal_patch_size": 2,
    "out_hidden_size": 64,
}


@pytest.fixture(scope="session")
def qwen3_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Qwen3-VL with deepstack features and tied embeddings; special tokens come last."""
    tokenizer = make_tokenizer(special_first=False)
    config = Qwen3VLConfig(
        text_config=text_config(tokenizer, head_dim=16, tie_word_embeddings=True),
        vision_config={**VISION, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
        tie_word_embeddings=True,
        **special_ids(tokenizer),
    )
    model = Qwen3VLForConditionalGeneration(config)
    return save_model(tmp_path_factory.mktemp("qwen3"), model, tokenizer)


@pytest.fixture(scope="session")
def qwen25_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Qwen2.5-VL with window attention and untied head; special tokens come first."""
    tokenizer = make_tokenizer(special_first=True)
    config = Qwen2_5_VLConfig(
        text_config=text_config(tokenizer),
        vision_config={**VISION, "window_size": 2 * FACTOR, "fullatt_block_indexes": [1]},
        tie_word_embeddings=False,
        **special_ids(tokenizer),
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    return save_model(tmp_path_factory.mktemp("qwen25"), model, tokenizer)


@pytest.fixture(scope="session", params=["qwen3", "qwen25"])
def model_folder(request: pytest.FixtureRequest) -> str:
    """Every model family in turn."""
    return request.getfixturevalue(f"{request.param}_folder")


def noise_image(width: int, height: int, seed: int = 0) -> Image.Image:
    """RGB noise, sides in pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)
