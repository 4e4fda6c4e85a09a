"""Attention in a row of trees on the CPU, in blocks that are seen as a whole.

What a branch sees lies in two places, the prefix and the branch itself. Each is a call of torch's
flash kernel, and their results are put together by their log-sum-exps:

    out = Σ_i exp(l_i - l) out_i,   l = log Σ_i exp(l_i)

So siblings' queries meet one copy of the prefix's keys, and no mask is made. The backward kernel,
given the joint output and log-sum-exp, gives each part's exact share of the gradient (the rule of
ring attention: Liu et al., arXiv 2310.01889).

S tokens of the row, H heads, K key-value heads, R = H / K, F features of a head; of one tree: P
tokens of the prefix, B of its branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

WASTE = 0.2
"""Share of a batch that may be padding; shorter pieces make a batch of their own."""

_flash: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True)
class Tree:
    """Where one group lies in the row."""

    start: int
    prefix: int
    """P: tokens of the prefix; 0 where nothing is shared."""
    branches: tuple[int, ...]
    """Tokens of each branch, at least 1."""

    @property
    def stem(self) -> int:
        """Where the prefix ends and the first branch begins."""
        return self.start + self.prefix

    @property
    def starts(self) -> list[int]:
        """Where each branch begins."""
        return list(accumulate(self.branches[:-1], initial=self.stem))

    @property
    def end(self) -> int:
        return self.stem + sum(self.branches)


@dataclass(frozen=True, eq=False)
class Bucket:
    """Prefixes and branches of similar length, which run as one padded batch of N rows."""

    columns: Tensor
    """[N * L] of the row of trees; past the end of a shorter one its last token again."""
    width: int
    """L"""
    kept: Tensor
    """[M] those of `columns` that are no padding."""
    padding: Tensor
    """[N, 1, L, 1] bool"""

    @classmethod
    def of(cls, pieces: Sequence[tuple[int, int]]) -> Bucket:
        """`pieces`: first column and length of each."""
        width = max(length for _, length in pieces)
        places = torch.arange(width)
        starts, lengths = torch.tensor(pieces).unsqueeze(-1).unbind(1)
        columns = starts + places.minimum(lengths - 1)
        padding = places >= lengths
        kept = (~padding).flatten().nonzero()[:, 0]
        return cls(columns.flatten(), width, kept, padding[:, None, :, None])

    def take(self, states: Tensor) -> Tensor:
        """[1, X, S, F] -> [N, X, L, F]"""
        if self.width == len(self.columns):
            first = int(self.columns[0])
            return states[:, :, first : first + self.width]
        return (
            states[0].index_select(1, self.columns).unflatten(1, (-1, self.width)).transpose(0, 1)
        )

    def put(self, rows: Tensor, states: Tensor) -> None:
        """The reverse, into [1, X, S, F]."""
        if self.width == len(self.columns):
            self.take(states).copy_(rows)
            return
        flat = rows.transpose(0, 1).flatten(1, 2)
        if len(self.kept) < len(self.columns):
            flat = flat.index_select(1, self.kept)
        states[0].index_copy_(1, self.columns[self.kept], flat)


@dataclass(frozen=True, eq=False)
class Plan:
    """What `Blocks` needs to know of a row of trees."""

    trees: tuple[Tree, ...]
    buckets: tuple[Bucket, ...]

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> Plan:
        """Pieces of similar length go together: at most `WASTE` of a bucket is padding."""
        pieces = [(tree.start, tree.prefix) for tree in trees if tree.prefix]
        pieces += [p for tree in trees for p in zip(tree.starts, tree.branches, strict=True)]
        pieces.sort(key=lambda piece: -piece[1])
        buckets, first = [], 0
        for n in range(1, len(pieces) + 1):
            size = (n + 1 - first) * pieces[first][1]
            if n == len(pieces) or sum(p[1] for p in pieces[first : n + 1]) < (1 - WASTE) * size:
                buckets.append(Bucket.of(pieces[first:n]))
                first = n
        return cls(tuple(trees), tuple(buckets))


class Blocks(torch.autograd.Function):
    """query [1, H, S, F], keys and values [1, K, S, F] -> [1, H, S, F]."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: Plan, scale: float
    ) -> Tensor:
        out = torch.empty_like(query)
        wide = torch.promote_types(query.dtype, torch.float32)
        sums = query.new_empty((*query.shape[:-1], 1), dtype=wide)  # log-sum-exp
        for bucket in plan.buckets:
            result, total = _causal([bucket.take(x) for x in (query, key, value)], scale)
            bucket.put(result, out)
            bucket.put(total[..., None], sums)
        for tree in plan.trees:
            if not tree.prefix:
                continue
            stem, own = slice(tree.start, tree.stem), slice(tree.stem, tree.end)
            folded = _folded(query[:, :, own], key)
            result, total = _flash(folded, key[:, :, stem], value[:, :, stem], scale=scale)
            one, one_sum = out[:, :, own], sums[:, :, own]
            joined = _joined(one, one_sum, result.reshape(one.shape), total.reshape(one_sum.shape))
            out[:, :, own], sums[:, :, own] = joined
        ctx.save_for_backward(query, key, value, out, sums)
        ctx.plan, ctx.scale = plan, scale
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, sums = ctx.saved_tensors
        known = (gradients[0].contiguous(), query, key, value, out, sums)
        grads = [torch.empty_like(x) for x in (query, key, value)]
        for bucket in ctx.plan.buckets:
            gradient, *others = (bucket.take(x) for x in known)
            if len(bucket.kept) < len(bucket.columns):
                gradient = gradient.masked_fill(bucket.padding, 0.0)
            shares = _causal_backward([gradient, *others], ctx.scale)
            for grad, share in zip(grads, shares, strict=True):
                bucket.put(share, grad)
        for tree in ctx.plan.trees:
            if not tree.prefix:
                continue
            stem, own = slice(tree.start, tree.stem), slice(tree.stem, tree.end)
            across = _across([x[:, :, own] for x in known], key, value, stem, ctx.scale)
            for grad, place, share in zip(grads, (own, stem, stem), across, strict=True):
                grad[:, :, place] += share
        return (*grads, None, None)


def _across(
    known: Sequence[Tensor], key: Tensor, value: Tensor, stem: slice, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the branches' attention over the prefix: of queries, and of its keys, values."""
    gradient, query, out, sums = (_folded(known[n], key) for n in (0, 1, 4, 5))
    prefix = (key[:, :, stem], value[:, :, stem])
    queries, keys, values = _flash_backward(
        gradient, query, *prefix, out, sums[..., 0], 0.0, False, scale=scale
    )
    return queries.reshape(known[1].shape), keys, values


def _causal(states: Sequence[Tensor], scale: float) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp [.., H, L] of causal attention of query, keys and values."""
    query, key, value = states
    repeats = query.shape[1] // key.shape[1]
    full = _repeated(key, repeats), _repeated(value, repeats)
    out, sums = _flash(query, *full, 0.0, True, scale=scale)
    return out, sums


def _causal_backward(known: Sequence[Tensor], scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, keys and values; `known`: that of the output, these three, the output
    and the log-sum-exp."""
    gradient, query, key, value, out, sums = known
    repeats = query.shape[1] // key.shape[1]
    full = _repeated(key, repeats), _repeated(value, repeats)
    queries, keys, values = _flash_backward(
        gradient, query, *full, out, sums[..., 0], 0.0, True, scale=scale
    )
    if repeats > 1:
        keys, values = (share.unflatten(1, (-1, repeats)).sum(2) for share in (keys, values))
    return queries, keys, values


def _repeated(states: Tensor, repeats: int) -> Tensor:
    return states.repeat_interleave(repeats, dim=1) if repeats > 1 else states


def _folded(states: Tensor, key: Tensor) -> Tensor:
    """[1, H, B, F] -> [1, K, R * B, F]: heads that read the same keys, as more queries of them."""
    return states.unflatten(1, (key.shape[1], -1)).flatten(2, 3)


def _joined(one: Tensor, one_sum: Tensor, two: Tensor, two_sum: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over two sets of keys from that over each."""
    total = torch.logaddexp(one_sum, two_sum)
    first, second = (one_sum - total).exp(), (two_sum - total).exp()
    return (first * one + second * two).to(one.dtype), total
