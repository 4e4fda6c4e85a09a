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

from ..families import family_of
from .contract import TokenRules


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """One image as a conversation holds it, shared by reference: 3 bytes a pixel.

    What the vision tower wants is made from it by `Codec.pixel_values`, and not kept. Raises
    ValueError when pixels, grid and number of tokens contradict each other.
    """

    hash: str
    """BLAKE2b of size and RGB pixels, 32 hex digits: equal pixels have equal hashes."""
    grid: tuple[int, int, int]
    """Frames (always 1), patch rows, patch columns."""
    n_tokens: int
    """Merged patches: the number of image tokens in the expanded ids."""
    pixels: np.ndarray
    """[H, W, 3] uint8, read-only."""

    def __post_init__(self) -> None:
        shape, (frames, rows, columns) = self.pixels.shape, self.grid
        if self.pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"image: got {self.pixels.dtype} {shape}, expected uint8 [H, W, 3]")
        if self.pixels.flags.writeable:
            raise ValueError("image: its pixels can be written to, expected a read-only array")
        patch = shape[0] // rows if rows > 0 else 0
        if frames != 1 or patch < 1 or shape[:2] != (rows * patch, columns * patch):
            raise ValueError(f"image: got grid {self.grid} for {shape[1]}x{shape[0]} pixels")
        if self.n_tokens < 1 or rows * columns % self.n_tokens:
            raise ValueError(f"image: got {self.n_tokens} tokens for {rows * columns} patches")

    @property
    def n_patches(self) -> int:
        """P: rows of `Codec.pixel_values`."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    def pil(self) -> Image.Image:
        """The image itself, as it was given."""
        return Image.fromarray(self.pixels)


def pixel_hash(pixels: np.ndarray) -> str:
    """The hash of an image by its pixels [H, W, 3] uint8."""
    head = f"{pixels.shape[1]}x{pixels.shape[0]}:".encode()
    return hashlib.blake2b(head + pixels.tobytes(), digest_size=16).hexdigest()


class ImageMisfit(ValueError):
    """An image whose sides are no whole image tokens: the environment is set for another model."""


class Codec:
    """What turns observations into token ids; one per model folder.

    Special tokens have the names that the model's family gives them and the ids that the tokenizer
    does. Raises ValueError for a model of no known family, a tokenizer that lacks one of them, and
    a config.json that gives it another id.
    """

    def __init__(self, tokenizer: Any, image_processor: Any, config: Any) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.family = family_of(config)
        names = self.family.special
        self.im_start, self.im_end = self._token(names.im_start), self._token(names.im_end)
        self.vision_start = self._token(names.vision_start, config.vision_start_token_id)
        self.vision_end = self._token(names.vision_end, config.vision_end_token_id)
        self.image = self._token(names.image, config.image_token_id)
        video = self._token(names.video, config.video_token_id)
        for name in ("eos_token", "pad_token"):
            if getattr(tokenizer, f"{name}_id") is None:
                raise ValueError(f"{tokenizer.name_or_path}: the tokenizer names no {name}")
        self.eos = tuple(sorted({self.im_end, int(tokenizer.eos_token_id)}))
        self.pad = int(tokenizer.pad_token_id)
        self.vocab_size = int(config.text_config.vocab_size)
        # A sampled placeholder would ask for image features that do not exist, and a sampled PAD
        # is masked as padding by many kernels; the rows that pad an embedding table decode to
        # nothing. None of these may ever be drawn, nor count in log-probs.
        known = set(tokenizer.get_vocab().values())
        structure = {
            *(set(range(self.vocab_size)) - known),
            *(tokenizer.convert_tokens_to_ids(name) for name in names.others),
            *(self.image, video, self.im_start, self.vision_start, self.vision_end, self.pad),
        }
        kept = {None, tokenizer.unk_token_id, *self.eos}
        self.banned = tuple(sorted(int(i) for i in structure - kept))
        """Ids that are never sampled; engine and trainer leave them out of the softmax."""
        self.merge = int(image_processor.merge_size)
        self.factor = int(image_processor.patch_size) * self.merge
        # Templates and options recur in every chat; the tokenizer call is the slow part of one.
        self._ids = functools.lru_cache(maxsize=4096)(self._tokenize)
        self._images: WeakValueDictionary[str, EncodedImage] = WeakValueDictionary()
        self.newline = tuple(self.encode("\n"))
        self.opening = (self.im_start, *self.encode("assistant\n"))
        """What stands before every reply."""

    @property
    def rules(self) -> TokenRules:
        """What the token contract has to know about this model."""
        return TokenRules(
            vocab_size=self.vocab_size,
            image=self.image,
            vision=(self.vision_start, self.vision_end),
            banned=self.banned,
            eos=self.eos,
            opening=self.opening,
            closing=(self.im_end, *self.newline, self.im_start),
        )

    def _token(self, token: str, expected: int | None = None) -> int:
        where = self.tokenizer.name_or_path
        index = self.tokenizer.convert_tokens_to_ids(token)
        if index is None or index == self.tokenizer.unk_token_id:
            raise ValueError(
                f"{where}: the tokenizer has no {token!r}; expected a Qwen-VL chat model"
            )
        if expected not in (None, index):
            raise ValueError(
                f"{where}: the tokenizer has {token!r} at {index}, config.json at {expected}"
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
        family_of(folder)  # first, as libraries say all kinds of things about unknown models
        with reading(folder):
            tokenizer = AutoTokenizer.from_pretrained(folder)
            processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
            config = AutoConfig.from_pretrained(folder)
        for how in ("is_local", "local_files_only"):  # or it is saved, and in the model's hash
            tokenizer.init_kwargs.pop(how, None)
        return cls(tokenizer, processor, config)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; special tokens inside it are spelled out, never obeyed.

        Raises ValueError for half a surrogate pair, which no tokenizer takes.
        """
        return list(self._ids(text))

    def _tokenize(self, text: str) -> tuple[int, ...]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            around = text[max(0, error.start - 20) : error.end + 20]
            raise ValueError(
                f"text: got half a surrogate pair, {text[error.start]!r}, at character "
                f"{error.start} (in {around!r}), expected text that UTF-8 can write"
            ) from None
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
        """Take an image up. Its side lengths must be multiples of `factor` (pixels).

        Equal pixels give the same object for as long as somebody holds it: a view that comes again
        and the crops that siblings share cost their memory once.
        """
        if image.mode != "RGB" or image.width % self.factor or image.height % self.factor:
            raise ImageMisfit(
                f"image: got {image.width}x{image.height} {image.mode}, expected RGB with sides "
                f"that are multiples of {self.factor} (patch size x merge size): set the "
                "environment's factor to the model's"
            )
        pixels = np.asarray(image)  # a copy in memory of its own that nobody can write to
        key = pixel_hash(pixels)
        if (encoded := self._images.get(key)) is None:
            rows, columns = (side * self.merge // self.factor for side in pixels.shape[:2])
            n_tokens = rows * columns // self.merge**2
            encoded = EncodedImage(key, (1, rows, columns), n_tokens, pixels)
            self._images[key] = encoded
        return encoded

    def pixel_values(self, image: EncodedImage) -> np.ndarray:
        """Normalised patches [P, D] float32 in the order of the vision tower.

        24 bytes a pixel, made anew at every call. Raises ValueError when the image processor of the
        model folder cuts another grid than the image's.
        """
        out = self.image_processor(
            [image.pil()], do_resize=False, return_tensors="np", input_data_format="channels_last"
        )
        grid = tuple(int(n) for n in out["image_grid_thw"][0])
        if grid != image.grid:
            raise ValueError(f"image: the processor cuts it into {grid}, expected {image.grid}")
        return np.ascontiguousarray(out["pixel_values"], dtype=np.float32)


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
