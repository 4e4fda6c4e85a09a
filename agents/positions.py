"""`Positions`: the M-RoPE positions of conversations, by the model's own rule.

Wang et al., "Qwen2-VL", arXiv 2409.12191, section 2.1: a text token counts on by one in all three
axes, an image token by its frame, row and column. Shapes: L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .bounded import Bounded

Grid = tuple[int, int, int]

TAIL = 64
"""Positions are computed for text tails rounded up to this many tokens, so that they are reused."""
LAYOUT_BYTES = 32 * 2**20
"""Positions that are kept. Those of a view come again with every sibling, those of a crop never."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Positions [3, L] of one arrangement of texts and images."""

    positions: Tensor

    @property
    def n_bytes(self) -> int:
        return self.positions.numel() * self.positions.element_size()


class Positions(Bounded[Layout]):
    """Remembers what was computed, by arrangement. `image` is the id of the placeholder."""

    def __init__(self, image: int) -> None:
        super().__init__(LAYOUT_BYTES)
        self.image = image

    def of(self, body: Any, token_ids: Sequence[int] | np.ndarray, grids: Sequence[Grid]) -> Tensor:
        """[3, L] (CPU) of a whole conversation for the model `body`.

        `grids` are those of the images whose placeholders lie in `token_ids`, in order.
        """
        placeholder = np.asarray(token_ids) == self.image
        edges = np.flatnonzero(placeholder[1:] != placeholder[:-1]) + 1
        length, tail = len(placeholder), len(placeholder) - int(edges[-1] if edges.size else 0)
        # A text tail counts on by one: a longer conversation begins with the same positions.
        padded = length if placeholder[-1] else length - tail + -(-tail // TAIL) * TAIL
        key = (*edges.tolist(), padded), bool(placeholder[0]), tuple(grids)
        layout = self.get(key) or Layout(_layout_positions(body, *key))
        self.put(key, layout)
        return layout.positions[:, :length]


def _layout_positions(
    body: Any, edges: tuple[int, ...], image_first: bool, grids: tuple[Grid, ...]
) -> Tensor:
    kinds = np.zeros(edges[-1], dtype=np.int64)
    for n, (start, end) in enumerate(zip((0, *edges), edges, strict=False)):
        kinds[start:end] = (n + image_first) % 2
    types = torch.from_numpy(kinds)[None]
    grid = torch.tensor(grids) if grids else None
    positions, _ = body.get_rope_index(
        torch.zeros_like(types), mm_token_type_ids=types, image_grid_thw=grid
    )
    return positions[:, 0]
