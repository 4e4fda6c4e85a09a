"""Images on their way through the vision tower: what goes in, what comes out.

Shapes: D hidden size, n image tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from .rollout.codec import EncodedImage

PATCH_BYTES = 256 * 2**20
"""Bytes of patches kept for a tower that trains. A frozen one sees each image once."""


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """What the vision tower says about one image."""

    embeds: Tensor
    """[n, D]"""
    deepstack: tuple[Tensor, ...] = ()
    """[n, D] each, added after the first decoder layers (Qwen3-VL)."""

    @property
    def n_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.embeds, *self.deepstack))

    def copy(self) -> ImageFeatures:
        """The same in memory of its own; a slice of a batch would keep the whole batch alive."""
        return ImageFeatures(self.embeds.clone(), tuple(d.clone() for d in self.deepstack))


@dataclass(frozen=True, eq=False)
class Patches:
    """What the vision tower takes for one image."""

    values: Tensor
    """[patches, numbers of a patch]"""

    @property
    def n_bytes(self) -> int:
        return self.values.numel() * self.values.element_size()


def chunks(images: list[EncodedImage], max_patches: int) -> Iterator[list[EncodedImage]]:
    """Consecutive images of at most `max_patches` patches in total (or a single larger one)."""
    chunk: list[EncodedImage] = []
    for image in images:
        if chunk and sum(i.n_patches for i in (*chunk, image)) > max_patches:
            yield chunk
            chunk = []
        chunk.append(image)
    if chunk:
        yield chunk
