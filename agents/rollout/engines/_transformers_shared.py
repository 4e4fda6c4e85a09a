"""Attention in which siblings have one copy of their prefix's keys and values.

transformers' own cache has a row per conversation: a prefix that siblings share would be copied to
each of them, read by each in every step, and copied again whenever the cache grows. Here a group's
prefix lies in memory once for all siblings (and once more where `Kept` keeps it for later turns,
unless it is the only one). A step's queries of all siblings meet it in one product, and the two
parts of the softmax, over the prefix and over what a row has of its own, are put together by their
maxima and sums. In float32 that is exact up to rounding. In bfloat16 the products are of bfloat16
numbers, and maxima, sums and what they weigh are float32, as in the kernels that a trainer's
forward runs on; where a product comes out in bfloat16 (on a CPU) it is rounded once more.

N rows, C groups, S siblings at most, H heads, K key-value heads, R = H / K, E own tokens of a row,
P longest prefix, F features of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, Cache

from ...vlm import VLM

NAME = "hrvision_shared_prefix"
"""What transformers calls this attention; with a name that it has no masks for, it makes none."""
ALL = slice(None)
GROWTH = 64
"""Own tokens that the buffers of a row have room for beyond those that are there."""
MIXED_PRODUCTS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 8)
"""Whether this torch can multiply bfloat16 numbers into float32 ones on a GPU."""


@dataclass(frozen=True, eq=False)
class PrefixStates:
    """The keys and values of one prefix, layer by layer, [K, P, F] each."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    def __len__(self) -> int:
        return int(self.keys[0].shape[1])

    @property
    def n_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))

    @classmethod
    def take(cls, cache: Cache, lengths: Sequence[int]) -> list[PrefixStates]:
        """The first tokens of every row of transformers' own cache, in memory of their own.

        The cache is empty afterwards: each layer's memory is free before the next one is copied.
        """
        keys: list[list[Tensor]] = [[] for _ in lengths]
        values: list[list[Tensor]] = [[] for _ in lengths]
        layers: list[Any] = cache.layers
        for layer in layers:
            for row, length in enumerate(lengths):
                keys[row].append(layer.keys[row, :, :length].clone())
                values[row].append(layer.values[row, :, :length].clone())
            layer.keys = layer.values = None
        return [cls(tuple(k), tuple(v)) for k, v in zip(keys, values, strict=True)]


class SharedCache(Cache):
    """The past of rows that begin with one of `prefixes`; row n with `prefixes[owners[n]]`.

    `extend` says what comes, then a forward inside `attention` appends it; several tokens per row
    may be appended part by part, see `only`.
    """

    def __init__(self, prefixes: Sequence[PrefixStates], owners: Sequence[int]) -> None:
        super().__init__(layers=[])
        first = prefixes[0].keys[0]
        self.device = first.device
        lengths = torch.tensor([len(prefix) for prefix in prefixes], device=self.device)
        width, n_layers = int(lengths.max()), len(prefixes[0].keys)
        self.prefix_keys = [_padded([p.keys[n] for p in prefixes], width) for n in range(n_layers)]
        self.prefix_values = [
            _padded([p.values[n] for p in prefixes], width) for n in range(n_layers)
        ]
        """[C, K, P, F] per layer."""
        seen = torch.arange(width, device=self.device) < lengths[:, None]
        self.prefix_bias = _bias(seen)[:, None, None]
        """[C, 1, 1, P]: 0 on tokens, -inf on padding."""
        self.prefix_lengths = lengths.tolist()
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        """[N, K, room, F] per layer; the first `end` are in use."""
        self.bias = torch.zeros(len(owners), 0, device=self.device)
        """[N, room]"""
        self.lengths = np.zeros(len(owners), dtype=np.int64)
        """[N] own tokens and the padding between them, up to the last own token."""
        self.start = self.end = 0
        """Columns of the own tokens that are being appended."""
        self.part = ALL
        """Rows that they are being appended to."""
        self._arrange(np.asarray(owners))

    def _arrange(self, owners: np.ndarray) -> None:
        """Note which rows belong to which group; groups without rows are dropped."""
        alive, owners = np.unique(owners, return_inverse=True)
        if len(alive) < len(self.prefix_lengths):
            index = torch.from_numpy(alive).to(self.device)
            self.prefix_keys = [keys[index] for keys in self.prefix_keys]
            self.prefix_values = [values[index] for values in self.prefix_values]
            self.prefix_bias = self.prefix_bias[index]
            self.prefix_lengths = [self.prefix_lengths[c] for c in alive]
        self.owners = owners
        self.members = [np.flatnonzero(owners == c) for c in range(len(alive))]
        self.width = max(map(len, self.members))  # S
        slots = np.empty(len(owners), dtype=np.int64)
        for c, rows in enumerate(self.members):
            slots[rows] = c * self.width + np.arange(len(rows))
        full = np.array_equal(slots, np.arange(len(self.members) * self.width))
        self.slots = None if full else torch.from_numpy(slots).to(self.device)
        """[N] a row's place among C x S; None when each row stands in its own."""

    def extend(self, mask: Tensor) -> None:
        """Make room for tokens [N, L], True where they are no padding."""
        self.start, self.end = self.end, self.end + mask.shape[1]
        if self.end > self.bias.shape[1]:
            room = self.end + max(GROWTH, self.start // 2)
            self.bias = _grown(self.bias, 1, self.start, room)
            self.keys = [_grown(keys, 2, self.start, room) for keys in self.keys]
            self.values = [_grown(values, 2, self.start, room) for values in self.values]
        self.bias[:, self.start : self.end] = _bias(mask)
        if mask.shape[1] == 1:
            self.lengths[:] = self.end
        else:
            self.lengths = self.start + mask.sum(-1).cpu().numpy()

    @contextmanager
    def only(self, part: slice) -> Iterator[None]:
        """Inside, forwards are of these rows alone, and may leave out columns that are padding."""
        self.part = part
        try:
            yield
        finally:
            self.part = ALL

    def select(self, index: Tensor) -> None:
        """Keep these rows alone, in this order."""
        used = slice(0, self.end)
        self.bias = self.bias[index, used]
        self.keys = [keys[index, :, used] for keys in self.keys]
        self.values = [values[index, :, used] for values in self.values]
        kept = index.cpu().numpy()
        self.lengths = self.lengths[kept]
        self._arrange(self.owners[kept])

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append [N, K, L, F]; returns all own keys and values of the layer, [N, K, E, F]."""
        if layer_idx == len(self.keys):
            _, kv, _, size = key_states.shape
            shape = (*self.bias.shape[:1], kv, self.bias.shape[1], size)
            # Zeros, as a part may leave columns out: what is masked must still be a number.
            self.keys.append(key_states.new_zeros(shape))
            self.values.append(value_states.new_zeros(shape))
        keys, values = self.keys[layer_idx][self.part], self.values[layer_idx][self.part]
        end = self.start + key_states.shape[2]
        keys[:, :, self.start : end] = key_states
        values[:, :, self.start : end] = value_states
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.end

    def step(self, n: int, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """One query per row: query [N, H, 1, F], own keys and values [N, K, E, F]."""
        rows, heads, _, size = query.shape
        kv = keys.shape[1]
        query = query.reshape(rows, kv, heads // kv, size)
        placed = query
        if self.slots is not None:
            placed = query.new_zeros(len(self.members) * self.width, *query.shape[1:])
            placed[self.slots] = query
        # Siblings of a group stand side by side as queries of the same keys.
        by_group = placed.unflatten(0, (-1, self.width)).transpose(1, 2).flatten(2, 3)
        shared = _partial(  # [C, K, S * R, F + 2]
            by_group, self.prefix_keys[n], self.prefix_values[n], self.prefix_bias, scale
        )
        shared = shared.unflatten(2, (self.width, -1)).transpose(1, 2).flatten(0, 1)
        if self.slots is not None:
            shared = shared[self.slots]
        own = _partial(query, keys, values, self.bias[:, None, None, : self.end], scale)
        return _merged(shared, own).to(query.dtype).reshape(rows, heads, 1, size)

    def block(self, n: int, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Several queries per row, [N, H, L, F], group by group; zeros on padding at the end."""
        out = torch.zeros_like(query)
        repeats = query.shape[1] // keys.shape[1]
        chosen = np.arange(len(self.owners))[self.part]
        lengths, bias = self.lengths[self.part], self.bias[self.part]
        for c in np.unique(self.owners[chosen]):
            members = np.flatnonzero(self.owners[chosen] == c)
            end = int(lengths[members].max())
            length, prefix = end - self.start, self.prefix_lengths[c]
            rows = torch.from_numpy(members).to(self.device)
            parts = [
                torch.cat([old[c, :, :prefix].expand(len(rows), -1, -1, -1), new[rows, :, :end]], 2)
                for old, new in ((self.prefix_keys[n], keys), (self.prefix_values[n], values))
            ]
            own = torch.arange(end, device=self.device)
            causal = own <= own[self.start :, None]  # [L, E]
            seen = causal & (bias[rows, None, :end] == 0)
            mask = torch.nn.functional.pad(seen, (prefix, 0), value=True)[:, None]
            key, value = (part.repeat_interleave(repeats, dim=1) for part in parts)
            out[rows, :, :length] = scaled_dot_product_attention(
                query[rows, :, :length], key, value, attn_mask=mask, scale=scale
            )
        return out

    @contextmanager
    def attention(self, vlm: VLM) -> Iterator[dict[str, Any]]:
        """Inside, the decoder attends by this cache; gives what `VLM.hidden` passes on to it."""
        with vlm.attending(NAME):
            yield {"shared_prefix": self}


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    shared_prefix: SharedCache,
    scaling: float,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    step = query.shape[2] == 1 and shared_prefix.part == ALL
    attend = shared_prefix.step if step else shared_prefix.block
    return attend(module.layer_idx, query, key, value, scaling).transpose(1, 2), None


AttentionInterface.register(NAME, _attend)


def _partial(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scale: float) -> Tensor:
    """A part of a softmax: the values weighed by exp(score - max), then the max and the sum.

    query [.., Q, F], keys and values [.., E, F], bias [.., 1, E]; returns [.., Q, F + 2] float32.
    The weights take the values' type; keys and values, the bulk of what a step reads, are not cast.
    """
    scores = torch.add(bias, _product(query, keys.transpose(-1, -2)), alpha=scale)
    top = scores.amax(-1, keepdim=True)
    weights = scores.sub_(top).exp_()
    total = weights.sum(-1, keepdim=True)
    return torch.cat([_product(weights.to(values.dtype), values), top, total], -1)


def _product(one: Tensor, two: Tensor) -> Tensor:
    """[.., Q, A] by [.., A, B] of one type as float32 [.., Q, B]."""
    if one.dtype == torch.float32 or not (one.is_cuda and MIXED_PRODUCTS):
        return torch.matmul(one, two).float()
    flat = torch.bmm(one.flatten(0, -3), two.flatten(0, -3), out_dtype=torch.float32)
    return flat.unflatten(0, one.shape[:-2])


def _merged(one: Tensor, two: Tensor) -> Tensor:
    """The attention [.., F] over both parts [.., F + 2]."""
    top = one[..., -2:-1].maximum(two[..., -2:-1])
    one_scale, two_scale = (one[..., -2:-1] - top).exp(), (two[..., -2:-1] - top).exp()
    total = one_scale * one[..., -1:] + two_scale * two[..., -1:]
    return (one_scale * one[..., :-2] + two_scale * two[..., :-2]) / total


def _padded(states: Sequence[Tensor], width: int) -> Tensor:
    """[C, K, width, F] of states [K, P, F]; a single one is not copied."""
    if len(states) == 1:
        return states[0][None]
    kv, _, size = states[0].shape
    out = states[0].new_zeros(len(states), kv, width, size)
    for row, state in zip(out, states, strict=True):
        row[:, : state.shape[1]] = state
    return out


def _bias(seen: Tensor) -> Tensor:
    return torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, float("-inf"))


def _grown(old: Tensor, dim: int, used: int, room: int) -> Tensor:
    """`old` with `room` places along `dim`, of which the first `used` are taken over."""
    shape = list(old.shape)
    shape[dim] = room
    new = old.new_zeros(shape)
    new.narrow(dim, 0, used).copy_(old.narrow(dim, 0, used))
    return new
