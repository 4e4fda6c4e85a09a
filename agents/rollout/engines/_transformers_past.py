"""The past of a batch that generates: prefixes first, then token by token.

Two ways with one interface. `Spread` runs the trainer's own shared-prefix forward, whose cache has
a row per sibling: least work while prefixes are short. `Shared` keeps one copy of each prefix and
takes those that are known already from `Kept`. Which one a row gets is decided by its own prefix:
in float32 both say the same up to rounding, in bfloat16 they round differently.

N rows, D hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from ...bounded import Bounded
from ...features import ImageFeatures
from ...prefix import Row, SharedPrefix
from ...vlm import VLM
from ...weight_watch import WeightWatch
from ..codec import EncodedImage
from ._transformers_shared import ALL, PrefixStates, SharedCache

SHARED_FROM = 128
"""Prefixes of this many tokens and more are not copied to the siblings. Below it one attention over
a cache of a row per sibling is faster than two whose results are put together."""


class Past(Protocol):
    """What the rows of a batch have said so far."""

    def begin(self) -> Tensor:
        """Last hidden states [N, D] of all rows."""
        ...

    def keep(self, index: Tensor) -> None:
        """Go on with these rows alone."""
        ...

    def step(self, ids: Tensor) -> Tensor:
        """Append one token per row [N]; its hidden states [N, D]."""
        ...


class Kept:
    """What was computed for the policy's present weights and comes again: states of prefixes, and
    features of images where the vision tower trains (`VLM` keeps those of a frozen one).

    At most `items.limit` bytes. Whoever changes the weights says so with `clear`. `check` notices
    what it can (see `WeightWatch`), so that a change that nobody spoke of is found as a rule.
    """

    def __init__(self, vlm: VLM, limit: int) -> None:
        self.vlm = vlm
        self.items: Bounded[PrefixStates | ImageFeatures] = Bounded(limit)
        self.hits = self.misses = 0
        """Long prefixes that were asked for and were kept, or had to be computed."""
        self._weights = WeightWatch()

    def clear(self) -> None:
        self.items.clear()

    def check(self) -> None:
        """Forget what was computed with other weights than the present, here and in the `VLM`."""
        if self._weights.changed(self.vlm.body, inside=True):
            self.clear()
            self.vlm.forget_stale_images()

    def prefix(self, key: object) -> PrefixStates | None:
        """The states of a prefix, where they are known."""
        found: Any = self.items.get(key)
        self.hits += found is not None
        self.misses += found is None
        return found

    def encode(self, images: Iterable[EncodedImage]) -> dict[str, ImageFeatures]:
        """Features by hash; nothing is encoded twice between two changes of the weights."""
        if self.vlm.freeze_vision:
            return self.vlm.encode_images(images)
        distinct = {image.hash: image for image in images}
        features: dict[str, Any] = {key: self.items.get(key) for key in distinct}
        new = self.vlm.encode_images(i for key, i in distinct.items() if features[key] is None)
        for key, value in new.items():
            features[key] = value.copy()
            self.items.put(key, features[key])
        return features


def is_long(prefix: int) -> bool:
    """Whether rows with a prefix of so many tokens run as `Shared`, the others as `Spread`."""
    return prefix - 1 >= SHARED_FROM


def past_of(
    vlm: VLM, rows: Sequence[Row], lasting: Sequence[bool], kept: Kept, max_tokens: int
) -> Past:
    """The way that suits the rows, which are all long or all short.

    `lasting` [N]: whether a row's prefix comes again in later turns. `max_tokens`: of one forward,
    padding included; a row that is longer runs alone.
    """
    if is_long(min(row.prefix for row in rows)):
        return Shared(SharedPrefix(vlm, rows, kept.encode), lasting, kept, max_tokens)
    return Spread(vlm, rows, kept, max_tokens)


def in_parts(lengths: Sequence[int], limit: int) -> Iterator[slice]:
    """Consecutive rows of at most `limit` tokens together, padding included, or a longer one."""
    start = widest = 0
    for n, length in enumerate(lengths):
        if n > start and max(widest, length) * (n + 1 - start) > limit:
            yield slice(start, n)
            start, widest = n, 0
        widest = max(widest, length)
    yield slice(start, len(lengths))


class Spread:
    """Every row has a copy of its prefix."""

    def __init__(self, vlm: VLM, rows: Sequence[Row], kept: Kept, max_tokens: int) -> None:
        self.vlm = vlm
        # The longer of its two forwards: siblings' prefixes, of which there are fewer, or branches.
        lengths = [max(row.prefix - 1, len(row.token_ids) - row.prefix + 1) for row in rows]
        self.parts = [
            SharedPrefix(vlm, rows[part], kept.encode) for part in in_parts(lengths, max_tokens)
        ]

    def begin(self) -> Tensor:
        last = [_last(part.forward(), part.lengths) for part in self.parts]
        places = np.concatenate([part.next_positions for part in self.parts])
        self.positions = torch.from_numpy(places).to(self.vlm.device)
        width = max(part.mask.shape[1] for part in self.parts)
        self.mask = torch.cat([_wider(part.mask, 1, width) for part in self.parts])
        self.cache = _joined([part.cache for part in self.parts], width)
        self.parts.clear()
        return torch.cat(last)

    def keep(self, index: Tensor) -> None:
        self.cache.batch_select_indices(index)
        self.mask, self.positions = self.mask[index], self.positions[index]

    def step(self, ids: Tensor) -> Tensor:
        self.mask = torch.nn.functional.pad(self.mask, (0, 1), value=True)
        places = self.positions.expand(3, -1)[..., None]
        self.positions = self.positions + 1
        return self.vlm.hidden(ids[:, None], places, self.mask, cache=self.cache)[:, 0]


class Shared:
    """Every group has one copy of its prefix, which may come from an earlier turn."""

    def __init__(
        self, shared: SharedPrefix, lasting: Sequence[bool], kept: Kept, max_tokens: int
    ) -> None:
        self.vlm, self.shared, self.kept = shared.vlm, shared, kept
        self.lasting, self.max_tokens = lasting, max_tokens

    def begin(self) -> Tensor:
        vlm, shared = self.vlm, self.shared
        self.cache = SharedCache(self._prefixes(), shared.owners)
        self.positions = torch.from_numpy(shared.next_positions).to(vlm.device)
        mask = np.arange(shared.lengths.max()) < shared.lengths[:, None]
        self.cache.extend(torch.from_numpy(mask).to(vlm.device))
        parts = list(in_parts(shared.lengths.tolist(), self.max_tokens))
        return torch.cat([self._branches(part if len(parts) > 1 else ALL) for part in parts])

    def _branches(self, part: slice) -> Tensor:
        """Append what follows the prefixes of some rows; their last hidden states."""
        shared = self.shared
        rows = zip(shared.rows[part], shared.cuts[part], strict=True)
        branch = shared.branches(
            self.kept.encode(i for row, cut in rows for i in row.images[cut:]), part
        )
        with self.cache.only(part), self.cache.attention(self.vlm) as attention:
            mask = branch.mask.to(self.vlm.device)
            hidden = branch.run(self.vlm, self.cache, mask, **attention)
        return _last(hidden, shared.lengths[part])

    def _prefixes(self) -> list[PrefixStates]:
        """Of every group; those that are not known are computed, as many at once as may be."""
        shared = self.shared
        heads = [(shared.rows[n], shared.cuts[n]) for n in shared.firsts]
        rows = [Row(row.token_ids[: row.prefix - 1], row.images[:cut], 1) for row, cut in heads]
        keys = [(row.token_ids.tobytes(), *(image.hash for image in row.images)) for row in rows]
        states = [self.kept.prefix(key) for key in keys]
        missing = [n for n, state in enumerate(states) if state is None]
        lengths = [len(rows[n].token_ids) for n in missing]
        for part in in_parts(lengths, self.max_tokens) if missing else ():
            batch = SharedPrefix(self.vlm, [rows[n] for n in missing[part]], self.kept.encode)
            batch.forward()
            taken = PrefixStates.take(batch.cache, lengths[part])
            for n, state in zip(missing[part], taken, strict=True):
                states[n] = state
                if self._comes_again(n):
                    self.kept.items.put(keys[n], state)
        return [state for state in states if state is not None]

    def _comes_again(self, group: int) -> bool:
        """Not the prefix of a single row that hid its first turns: that one is its alone."""
        rows = [n for n, owner in enumerate(self.shared.owners) if owner == group]
        return len(rows) > 1 or self.lasting[rows[0]]

    def keep(self, index: Tensor) -> None:
        self.cache.select(index)
        self.positions = self.positions[index]

    def step(self, ids: Tensor) -> Tensor:
        mask = torch.ones(len(ids), 1, dtype=torch.bool, device=ids.device)
        self.cache.extend(mask)
        places = self.positions.expand(3, -1)[..., None]
        self.positions = self.positions + 1
        with self.cache.attention(self.vlm) as attention:
            return self.vlm.hidden(ids[:, None], places, mask, cache=self.cache, **attention)[:, 0]


def _wider(states: Tensor, dim: int, width: int) -> Tensor:
    """With zeros, or False, at the end of a dimension."""
    missing = list(states.shape)
    missing[dim] = width - states.shape[dim]
    return torch.cat([states, states.new_zeros(missing)], dim) if missing[dim] else states


def _joined(caches: Sequence[DynamicCache], width: int) -> DynamicCache:
    """The caches of parts as one, their rows one after the other, all of `width` tokens."""
    first, *others = caches
    for n in range(len(first.layers) if others else 0):
        parts: list[Any] = [cache.layers[n] for cache in caches]
        parts[0].keys = torch.cat([_wider(part.keys, 2, width) for part in parts])
        parts[0].values = torch.cat([_wider(part.values, 2, width) for part in parts])
        for part in parts[1:]:
            part.keys = part.values = None
    return first


def _last(hidden: Tensor, lengths: np.ndarray) -> Tensor:
    """Each row's state [N, D] at its last token."""
    last = torch.from_numpy(lengths - 1).to(hidden.device)
    return hidden[torch.arange(len(last), device=hidden.device), last]
