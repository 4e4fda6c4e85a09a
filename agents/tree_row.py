"""The tree row: groups packed one after the other, each its prefix and then its branches.

    tokens   p p p p a a a b b q q c c d d d d     two groups: p with branches a, b; q with c, d
    sees     its own group's prefix and its own branch, up to itself

No padding, no cache: what is computed is what is counted, in one forward that gradient
checkpointing can run a second time. Positions are those of the separate conversations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .prefix import Row, Siblings
from .rollout.codec import EncodedImage
from .tree_attention import Kind, TreeAttention
from .tree_blocks import Tree
from .vlm import VLM


class TreeRow(Siblings):
    """Rows packed into one. `kind`: how it attends, see `TreeAttention`."""

    def __init__(self, vlm: VLM, rows: Sequence[Row], kind: Kind = "auto") -> None:
        super().__init__(vlm, rows)
        self.kind = kind
        members: list[list[int]] = [[] for _ in self.firsts]
        for n, owner in enumerate(self.owners):
            members[owner].append(n)
        self.members = members
        """Per group, its rows."""
        self.starts = np.zeros(len(self.rows), dtype=np.int64)
        """[N] the column at which each row's branch begins."""
        self.trees = tuple(self._lay())

    def _lay(self) -> Iterator[Tree]:
        column = 0
        for first, rows in zip(self.firsts, self.members, strict=True):
            prefix, lengths = self.rows[first].prefix - 1, [int(self.lengths[n]) for n in rows]
            if len(rows) == 1:  # shares nothing: one branch from its first token
                tree = Tree(column, 0, (prefix + lengths[0],))
                self.starts[first] = column + prefix
            else:
                tree = Tree(column, prefix, tuple(lengths))
                self.starts[rows] = tree.starts
            yield tree
            column = tree.end

    def states(self) -> tuple[Tensor, np.ndarray]:
        """Last hidden states [S, D] of the packed row, and where each branch begins [N]."""
        vlm = self.vlm
        features = vlm.encode_images(image for row in self.rows for image in row.images)
        ids: list[np.ndarray] = []
        places: list[np.ndarray] = []
        images: list[EncodedImage] = []
        for first, rows in zip(self.firsts, self.members, strict=True):
            shared = self.rows[first].prefix - 1
            ids.append(self.rows[first].token_ids[:shared])
            places.append(self.positions[first][:, :shared])
            images += self.rows[first].images[: self.cuts[first]]
            for n in rows:
                ids.append(self.rows[n].token_ids[shared:])
                places.append(self.positions[n][:, shared:])
                images += self.rows[n].images[self.cuts[n] :]
        tokens = torch.from_numpy(np.concatenate(ids))[None].to(vlm.device)
        positions = torch.from_numpy(np.concatenate(places, axis=1))[:, None].to(vlm.device)
        with TreeAttention(self.trees, vlm.device, self.kind).of(vlm) as (mask, attention):
            hidden = vlm.hidden(
                tokens, positions, mask, [features[i.hash] for i in images], **attention
            )
        return hidden[0], self.starts
