"""The shared-prefix forward: what siblings have in common is computed once.

A row of T tokens is cut one token before the end of its group's prefix:

    tokens   0 1 2 3 4 5 6 7 8        prefix = 5 (tokens 0-4 are the opening observation)
             |-----| |-------|        cached once per group: 0-3; branch of this row: 4-8
                     4 predicts 5     so the branch's first column predicts the first reply token

In `SharedPrefix` the prefixes of all groups run as one padded batch into a `DynamicCache`, which is
spread over the siblings; then all branches run on it. The engine continues on the same cache. The
other layout, without a cache, is `tree_row.TreeRow`. With gradients the siblings' gradients add up
in the prefix, which makes the update equal to that of separate rows.

Shapes: N rows, C groups, P longest cached prefix, L longest branch, D hidden size, K trained
tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from .features import ImageFeatures
from .rollout.codec import EncodedImage
from .vlm import VLM

Encoder = Callable[[Iterable[EncodedImage]], dict[str, ImageFeatures]]


@dataclass(frozen=True, eq=False)
class Row:
    """One conversation. Rows with equal prefixes (tokens and images) share their computation."""

    token_ids: np.ndarray
    """[T] int64, expanded."""
    images: tuple[EncodedImage, ...]
    """In the order of their placeholders."""
    prefix: int
    """Leading tokens that may be shared, at least 1."""


class Siblings:
    """Rows, and which of them share a prefix.

    `encode` gives the images' features (default: `vlm.encode_images`).
    Raises ValueError for a row whose prefix is empty, too long, or ends inside an image.
    """

    def __init__(self, vlm: VLM, rows: Sequence[Row], encode: Encoder | None = None) -> None:
        self.vlm = vlm
        self.encode = encode or vlm.encode_images
        self.rows = list(rows)
        self.cuts = [self._cut(row) for row in self.rows]
        self.owners: list[int] = []
        """[N] the group of each row."""
        self.firsts: list[int] = []
        """[C] the first row of each group."""
        known: dict[object, int] = {}
        for n, (row, cut) in enumerate(zip(self.rows, self.cuts, strict=True)):
            hashes = tuple(image.hash for image in row.images[:cut])
            key = (row.token_ids[: row.prefix - 1].tobytes(), hashes)
            if key not in known:
                known[key] = len(self.firsts)
                self.firsts.append(n)
            self.owners.append(known[key])
        self.lengths = np.array([len(row.token_ids) - row.prefix + 1 for row in self.rows])
        """[N] tokens of each branch."""

    def _cut(self, row: Row) -> int:
        """How many of the row's images lie in the cached prefix."""
        if not 1 <= row.prefix <= len(row.token_ids):
            raise ValueError(f"row: got prefix {row.prefix} for {len(row.token_ids)} tokens")
        seen = int((row.token_ids[: row.prefix - 1] == self.vlm.codec.image).sum())
        ends = np.cumsum([0] + [image.n_tokens for image in row.images])
        cut = int(np.searchsorted(ends, seen))
        if cut == len(ends) or ends[cut] != seen:
            raise ValueError(f"row: its prefix of {row.prefix} tokens ends inside an image")
        return cut

    @cached_property
    def positions(self) -> list[np.ndarray]:
        """[3, T] of each row."""
        return [
            self.vlm.positions(row.token_ids, [image.grid for image in row.images]).numpy()
            for row in self.rows
        ]

    @cached_property
    def next_positions(self) -> np.ndarray:
        """[N] the M-RoPE position of the token after each row, which ends in text."""
        return np.array([int(p[:, -1].max()) + 1 for p in self.positions])

    def states(self) -> tuple[Tensor, np.ndarray]:
        """Last hidden states [M, D] of one forward, and where among them each branch begins [N]."""
        raise NotImplementedError


class SharedPrefix(Siblings):
    """A batch of rows, ready to run.

    After `forward`, `cache` and `mask` hold all rows' past: whoever generates goes on from there
    (unless it was told to keep none).
    """

    def __init__(self, vlm: VLM, rows: Sequence[Row], encode: Encoder | None = None) -> None:
        super().__init__(vlm, rows, encode)
        self.cache = DynamicCache(config=vlm.model.config)
        self.mask = torch.zeros(0, dtype=torch.bool)
        """[N, P + L] bool, True on tokens."""

    def states(self) -> tuple[Tensor, np.ndarray]:
        hidden = self.forward(keep_cache=False)
        return hidden.flatten(0, 1), hidden.shape[1] * np.arange(len(self.rows))

    def forward(self, keep_cache: bool = True) -> Tensor:
        """Last hidden states [N, L, D] of the branches; past a row's length they mean nothing.

        With `keep_cache=False` rows that share nothing run without a cache, which is how they can
        be trained with gradient checkpointing.
        """
        vlm = self.vlm
        features = self.encode(image for row in self.rows for image in row.images)
        prefix, branch = self._prefixes(features), self.branches(features)
        self.mask = branch.mask.to(vlm.device)
        if not prefix.mask.shape[1] and not keep_cache:
            return branch.run(vlm, None, self.mask)
        if prefix.mask.shape[1]:
            prefix.run(vlm, self.cache, prefix.mask.to(vlm.device))
            self._spread()
            self.mask = torch.cat([prefix.mask.to(vlm.device)[self.owners], self.mask], dim=1)
        return branch.run(vlm, self.cache, self.mask)

    def _prefixes(self, features: dict[str, ImageFeatures]) -> Padded:
        heads = [(self.rows[n], self.positions[n], self.cuts[n]) for n in self.firsts]
        return Padded(
            [row.token_ids[: row.prefix - 1] for row, _, _ in heads],
            [places[:, : row.prefix - 1] for row, places, _ in heads],
            [features[i.hash] for row, _, cut in heads for i in row.images[:cut]],
        )

    def branches(self, features: dict[str, ImageFeatures], part: slice = slice(None)) -> Padded:
        """What follows the cached prefixes of some rows; `features` of its images, by hash."""
        rows, cuts, positions = self.rows[part], self.cuts[part], self.positions[part]
        return Padded(
            [row.token_ids[row.prefix - 1 :] for row in rows],
            [p[:, row.prefix - 1 :] for row, p in zip(rows, positions, strict=True)],
            [
                features[i.hash]
                for row, cut in zip(rows, cuts, strict=True)
                for i in row.images[cut:]
            ],
        )

    def _spread(self) -> None:
        """Give every sibling its group's prefix."""
        size = len(self.owners) // len(self.firsts)
        if self.owners == [n // size for n in range(len(self.owners))]:
            if size > 1:
                self.cache.batch_repeat_interleave(size)
        else:
            self.cache.batch_select_indices(torch.tensor(self.owners, device=self.vlm.device))


class Padded:
    """Token rows of different lengths as tensors, padded on the right.

    Every row starts with a token, so no query is left without a key. Where padding lies between
    prefix and branch the mask hides it; positions are explicit and don't count it.
    """

    def __init__(
        self, ids: list[np.ndarray], positions: list[np.ndarray], features: list[ImageFeatures]
    ) -> None:
        width = max(len(row) for row in ids)
        tokens = np.zeros((len(ids), width), dtype=np.int64)
        places = np.zeros((3, len(ids), width), dtype=np.int64)
        mask = np.zeros((len(ids), width), dtype=np.bool_)
        for n, (row, place) in enumerate(zip(ids, positions, strict=True)):
            tokens[n, : len(row)] = row
            places[:, n, : len(row)] = place
            mask[n, : len(row)] = True
        self.tokens, self.places = torch.from_numpy(tokens), torch.from_numpy(places)
        self.mask, self.features = torch.from_numpy(mask), features

    def run(self, vlm: VLM, cache: Any, mask: Tensor, **attention: Any) -> Tensor:
        """Last hidden states [N, L, D]; arguments as those of `VLM.hidden`."""
        # A padding token must not look like an image.
        tokens = self.tokens.masked_fill(~self.mask, vlm.codec.pad).to(vlm.device)
        places = self.places.to(vlm.device)
        return vlm.hidden(tokens, places, mask, self.features, cache, **attention)


def trained_hidden(
    vlm: VLM,
    rows: Sequence[Row],
    masks: Sequence[np.ndarray],
    layout: Callable[[VLM, Sequence[Row]], Siblings] = SharedPrefix,
) -> tuple[Tensor, Tensor]:
    """Hidden states [K, D] that predict the trained tokens, and those tokens [K].

    `masks` [T] bool per row, True on trained tokens, none of them inside the prefix. Order: row by
    row, and by token within a row, i.e. that of `np.concatenate([logprobs[mask], ...])`. This is
    the one place where the shift by one happens. `layout`: how rows lie in the forward.
    """
    trained = [np.flatnonzero(mask) for mask in masks]
    for n, (row, places) in enumerate(zip(rows, trained, strict=True)):
        if not len(places) or places[0] < row.prefix:
            raise ValueError(
                f"row {n}: trains tokens {places[:3].tolist()}..., "
                f"expected at least one, none of them in its prefix of {row.prefix}"
            )
    cut = [_until(vlm, row, places[-1]) for row, places in zip(rows, trained, strict=True)]
    hidden, starts = layout(vlm, cut).states()
    # Token t is predicted at t - 1, which is column t - 1 - (prefix - 1) of the branch.
    columns = [
        start + places - row.prefix
        for start, row, places in zip(starts, rows, trained, strict=True)
    ]
    targets = [row.token_ids[places] for row, places in zip(rows, trained, strict=True)]
    index = torch.from_numpy(np.concatenate(columns)).to(hidden.device)
    return (
        hidden.index_select(0, index),
        torch.from_numpy(np.concatenate(targets)).to(hidden.device),
    )


def _until(vlm: VLM, row: Row, end: int) -> Row:
    """The row's first `end` tokens: nothing after them predicts a trained token."""
    tokens = row.token_ids[:end]
    seen = int((tokens == vlm.codec.image).sum())
    ends = np.cumsum([image.n_tokens for image in row.images])
    return Row(tokens, row.images[: int(np.searchsorted(ends, seen, side="right"))], row.prefix)
