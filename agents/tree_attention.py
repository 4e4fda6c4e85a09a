"""Attention in a row of trees: a token sees its group's prefix and its own branch, up to itself.

Three ways, equal up to rounding:

- `blocks`: on the CPU, see `tree_blocks`. Nothing is computed that a mask would throw away.
- `flex`: on a GPU. FlexAttention, whose block mask skips what is not seen (Dong et al., "Flex
  Attention", arXiv 2412.05496).
- `dense`: anywhere, by a mask of S x S; quadratic in the row. What the others are tested against.

S tokens of the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from transformers import AttentionInterface

from .tree_blocks import Blocks, Plan, Tree
from .vlm import VLM

NAME = "hrvision_tree"
"""What transformers calls this attention; with a name that it has no masks for, it makes none."""
Kind = Literal["auto", "blocks", "flex", "dense"]


class TreeAttention:
    """How one row of trees attends. `kind` "auto": flex on a GPU, else blocks.

    Raises ValueError for blocks on anything but a CPU.
    """

    def __init__(self, trees: Sequence[Tree], device: torch.device, kind: Kind = "auto") -> None:
        self.trees, self.device = tuple(trees), device
        self.kind = ("flex" if device.type == "cuda" else "blocks") if kind == "auto" else kind
        if self.kind == "blocks" and device.type != "cpu":
            raise ValueError(f"tree attention: got blocks on {device}, expected flex or dense")

    @contextmanager
    def of(self, vlm: VLM) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        """Inside, the decoder attends by the trees: gives mask and arguments for `VLM.hidden`."""
        if self.kind == "dense":
            yield self.mask()[None, None], {}
            return
        with vlm.attending(NAME):
            yield torch.ones(1, self.trees[-1].end, dtype=torch.bool), {"tree": self}

    @cached_property
    def _labels(self) -> tuple[Tensor, Tensor]:
        """[S] each: the token's group, and its branch, numbered over all groups; -1: prefix."""
        groups, branches, count = [], [], 0
        for n, tree in enumerate(self.trees):
            groups += [n] * (tree.end - tree.start)
            branches += [-1] * tree.prefix
            for length in tree.branches:
                branches += [count] * length
                count += 1
        return torch.tensor(groups).to(self.device), torch.tensor(branches).to(self.device)

    @cached_property
    def sees(self) -> Callable[[Any, Any, Tensor, Tensor], Tensor]:
        """(batch, head, query, key) -> bool, of columns; FlexAttention's `mask_mod`."""
        group, branch = self._labels

        def visible(batch: Any, head: Any, query: Tensor, key: Tensor) -> Tensor:
            own = (branch[key] == -1) | (branch[key] == branch[query])
            return (key <= query) & (group[key] == group[query]) & own

        return visible

    def mask(self) -> Tensor:
        """[S, S] bool: which key (column) a query (row) sees."""
        columns = torch.arange(self.trees[-1].end, device=self.device)
        return self.sees(0, 0, columns[:, None], columns[None])

    @cached_property
    def plan(self) -> Plan:
        return Plan.of(self.trees)

    @cached_property
    def block_mask(self) -> Any:
        size, compiled = self.trees[-1].end, self.device.type == "cuda"
        return create_block_mask(
            self.sees, None, None, size, size, device=self.device, _compile=compiled
        )


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    tree: TreeAttention,
    scaling: float,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    if tree.kind == "blocks":
        out = Blocks.apply(query, key, value, tree.plan, scaling)
    else:
        out = _flex(query.device.type)(
            query, key, value, block_mask=tree.block_mask, scale=scaling, enable_gqa=True
        )
    return out.transpose(1, 2), None


AttentionInterface.register(NAME, _attend)


@lru_cache(maxsize=2)
def _flex(device: str) -> Any:
    return torch.compile(flex_attention) if device == "cuda" else flex_attention
