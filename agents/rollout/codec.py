"""Text and images to model inputs and back: a tokenizer, an image processor, special ids.

The transformers *Processor* classes need torchvision and expand placeholders on their own; this
thin codec uses the same tokenizer and the same pixel arithmetic, and leaves placeholders to
`Chat`. Special tokens are looked up in the model folder, none is hard-coded.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from PIL import Image


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """One image as the vision tower wants it. P patches of D values, shared by reference."""

    hash: str
    """BLAKE2b of size and RGB pixels, 32 hex digits: equal pixels have equal hashes."""
    grid: tuple[int, int, int]
    """Frames (always 1), patch rows, patch columns."""
    n_tokens: int
    """Merged patches: the number of image tokens in the expanded ids."""
    pixel_values: np.ndarray
    """[P, D] float32, normalised."""


class Codec:
    """What turns observations into token ids; one per model folder.

    Raises FileNotFoundError, naming the file, when the folder lacks one that is needed.
    """

    def __init__(self, tokenizer: Any, image_processor: Any, config: Any) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.image = int(config.image_token_id)
        self.im_start = self._token("<|im_start|>")
        self.im_end = self._token("<|im_end|>")
        self.vision_start = self._token("<|vision_start|>")
        self.vision_end = self._token("<|vision_end|>")
        for name in ("eos_token", "pad_token"):
            if getattr(tokenizer, f"{name}_id") is None:
                raise ValueError(f"{tokenizer.name_or_path}: the tokenizer names no {name}")
        self.eos = tuple(sorted({self.im_end, int(tokenizer.eos_token_id)}))
        # A sampled placeholder would ask for image features that do not exist, and a sampled PAD
        # is masked as padding by many kernels; the rows that pad an embedding table decode to
        # nothing. None of these may ever be drawn, nor count in log-probs.
        known = set(tokenizer.get_vocab().values())
        structure = {
            *(set(range(config.text_config.vocab_size)) - known),
            self.image,
            int(config.video_token_id),
            self.im_start,
            self.vision_start,
            self.vision_end,
            tokenizer.convert_tokens_to_ids("<|vision_pad|>"),
            tokenizer.pad_token_id,
        }
        kept = {None, tokenizer.unk_token_id, *self.eos}
        self.banned = tuple(sorted(int(i) for i in structure - kept))
        """Ids that are never sampled; engine and trainer leave them out of the softmax."""
        self.pad = int(tokenizer.pad_token_id)
        self.merge = int(image_processor.merge_size)
        self.factor = int(image_processor.patch_size) * self.merge
        # Templates and options recur in every chat; the tokenizer call is the slow part of one.
        self._ids = functools.lru_cache(maxsize=4096)(self._tokenize)
        self._images: WeakValueDictionary[str, EncodedImage] = WeakValueDictionary()

    def _token(self, token: str) -> int:
        index = self.tokenizer.convert_tokens_to_ids(token)
        if index is None or index == self.tokenizer.unk_token_id:
            raise ValueError(
                f"{self.tokenizer.name_or_path}: the tokenizer has no {token!r}; "
                "expected a Qwen-VL chat model"
            )
        return int(index)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Codec:
        """Load from a model folder or a hub id (which must already be in the hub's cache).

        Raises FileNotFoundError or ValueError that names the folder.
        """
        from transformers import AutoConfig, AutoTokenizer
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil,
        )

        check_model_folder(folder)
        with reading(folder):
            tokenizer = AutoTokenizer.from_pretrained(folder)
            processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
            config = AutoConfig.from_pretrained(folder)
        return cls(tokenizer, processor, config)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; special tokens inside it are spelled out, never obeyed."""
        return list(self._ids(text))

    def _tokenize(self, text: str) -> tuple[int, ...]:
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return tuple(ids)

    def decode(self, ids: list[int]) -> str:
        """Text for reading; it is never encoded again."""
        return self.tokenizer.decode(ids, skip_special_tokens=False)

    def reply_text(self, ids: list[int]) -> str:
        """The text of a reply: its sampled tokens without the end-of-turn token."""
        end = len(ids) - 1 if ids and ids[-1] in self.eos else len(ids)
        return self.decode(ids[:end])

    def encode_image(self, image: Image.Image) -> EncodedImage:
        """Normalise and patchify. Side lengths must be multiples of `factor` (pixels).

        Equal pixels give the same object for as long as somebody holds it: a view that comes again
        and the crops that siblings share cost their memory once.
        """
        if image.mode != "RGB" or image.width % self.factor or image.height % self.factor:
            raise ValueError(
                f"image: got {image.width}x{image.height} {image.mode}, expected RGB with sides "
                f"that are multiples of {self.factor} (patch size x merge size): set the "
                "environment's factor to the model's"
            )
        head = f"{image.width}x{image.height}:".encode()
        key = hashlib.blake2b(head + image.tobytes(), digest_size=16).hexdigest()
        if (encoded := self._images.get(key)) is None:
            encoded = self._images[key] = self._patchify(image, key)
        return encoded

    def _patchify(self, image: Image.Image, key: str) -> EncodedImage:
        out = self.image_processor(
            [image], do_resize=False, return_tensors="np", input_data_format="channels_last"
        )
        grid = tuple(int(n) for n in out["image_grid_thw"][0])
        return EncodedImage(
            hash=key,
            grid=(grid[0], grid[1], grid[2]),
            n_tokens=grid[0] * grid[1] * grid[2] // self.merge**2,
            pixel_values=np.ascontiguousarray(out["pixel_values"], dtype=np.float32),
        )


@contextmanager
def reading(folder: str | Path) -> Iterator[None]:
    """Raise ValueError that names the model folder when a library fails to read one of its files.

    They raise almost any type on a broken file, often without saying which.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"model folder {folder}: cannot be read: {error}") from error


def check_model_folder(folder: str | Path) -> None:
    """Raise FileNotFoundError that names what a local model folder lacks; hub ids pass."""
    path = Path(folder)
    if not path.exists():
        if path.is_absolute() or str(folder).startswith((".", "~")) or str(folder).count("/") != 1:
            raise FileNotFoundError(f"model folder {folder}: does not exist")
        return  # "owner/name": left to the hub's cache
    needed = {
        "config.json": ("config.json",),
        "weights": ("model.safetensors", "model.safetensors.index.json"),
        "tokenizer.json": ("tokenizer.json", "vocab.json"),
        "preprocessor_config.json": ("preprocessor_config.json",),
    }
    for what, names in needed.items():
        if not any((path / name).is_file() for name in names):
            raise FileNotFoundError(
                f"model folder {folder}: lacks {what} (expected {' or '.join(names)})"
            )
    index = path / "model.safetensors.index.json"
    if index.is_file():
        shards = set(json.loads(index.read_text())["weight_map"].values())
        for shard in sorted(shards):
            if not (path / shard).is_file():
                raise FileNotFoundError(f"model folder {folder}: lacks the weight shard {shard}")
