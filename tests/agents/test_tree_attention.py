"""Attention in a row of trees: who sees whom, and the CPU's blocks against a dense mask."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from agents.prefix import Row
from agents.tree_attention import TreeAttention
from agents.tree_blocks import Blocks, Plan, Tree
from agents.tree_row import TreeRow
from agents.vlm import VLM

from .helpers import conversations, rows_of

CPU = torch.device("cpu")


def test_who_sees_whom_by_hand() -> None:
    # Prefix p p with branches a and b b, then a conversation of its own.
    trees = (Tree(0, 2, (1, 2)), Tree(5, 0, (2,)))
    assert [(t.stem, t.starts, t.end) for t in trees] == [(2, [2, 3], 5), (5, [5], 7)]
    expected = """
        1 0 0 0 0 0 0
        1 1 0 0 0 0 0
        1 1 1 0 0 0 0
        1 1 0 1 0 0 0
        1 1 0 1 1 0 0
        0 0 0 0 0 1 0
        0 0 0 0 0 1 1
    """
    rows = [[int(n) for n in line.split()] for line in expected.strip().splitlines()]
    assert TreeAttention(trees, CPU, "dense").mask().int().tolist() == rows
    blocks = TreeAttention(trees, CPU, "flex").block_mask.to_dense()
    assert blocks.shape == (1, 1, 1, 1) and bool(blocks.all())


TREES = {
    "one": (Tree(0, 5, (3, 4, 1)),),
    "alike": (Tree(0, 130, (40, 40, 40)),),
    "several": (Tree(0, 7, (2, 2)), Tree(11, 0, (4, 6)), Tree(21, 1, (9, 1, 5)), Tree(37, 0, (3,))),
    "long": (Tree(0, 700, (5, 600, 33)), Tree(1338, 3, (1, 1))),
}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize(("heads", "kv"), [(4, 4), (4, 2), (6, 1)])
def test_blocks_equal_a_dense_mask(name: str, heads: int, kv: int) -> None:
    """Values and all three gradients in float64: the parts of a softmax add up exactly."""
    trees, generator = TREES[name], torch.Generator().manual_seed(0)
    size = trees[-1].end

    def states(count: int) -> Tensor:  # as transformers hands them over: transposed
        new = torch.randn(1, size, count, 16, dtype=torch.float64, generator=generator)
        return (3 * new).transpose(1, 2).requires_grad_()

    query, key, value = states(heads), states(kv), states(kv)
    weights = torch.randn(1, heads, size, 16, dtype=torch.float64, generator=generator)
    mask = TreeAttention(trees, CPU, "dense").mask()
    keys, values = (x.repeat_interleave(heads // kv, dim=1) for x in (key, value))
    expected = scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=0.3)
    found = Blocks.apply(query, key, value, Plan.of(trees), 0.3)
    torch.testing.assert_close(found, expected, atol=1e-11, rtol=1e-9)
    inputs = (query, key, value)
    for mine, other in zip(
        torch.autograd.grad((found * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=1e-9, rtol=1e-9)


def test_groups_are_packed_without_padding(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    rows = rows_of(conversations(vlm.codec, sizes=(3, 2)))
    order = [3, 0, 5, 1, 4, 2]  # siblings apart from each other
    row = TreeRow(vlm, [rows[n] for n in order])
    assert row.members == [[0, 4], [1, 3, 5], [2]]
    alone = len(rows[5].token_ids)
    assert [(t.prefix, len(t.branches)) for t in row.trees] == [
        (rows[3].prefix - 1, 2),
        (rows[0].prefix - 1, 3),
        (0, 1),
    ]
    assert row.trees[2].branches == (alone,)
    assert row.starts[2] == row.trees[2].start + rows[5].prefix - 1
    with torch.no_grad():
        hidden, starts = row.states()
    shared = sum(rows[n].prefix - 1 for n in (3, 0)) + alone
    branches = sum(len(rows[n].token_ids) - rows[n].prefix + 1 for n in range(5))
    assert hidden.shape[0] == shared + branches == row.trees[-1].end
    assert starts is row.starts


def test_text_alone(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    ids = np.array(vlm.codec.encode("user there user"))
    rows = [Row(np.append(ids, n), (), len(ids)) for n in (5, 6)]
    with torch.no_grad():
        hidden, starts = TreeRow(vlm, rows).states()
        mask = torch.ones(1, len(ids) + 1, dtype=torch.bool)
        for row, start in zip(rows, starts, strict=True):
            tokens = torch.from_numpy(row.token_ids)[None]
            places = vlm.positions(row.token_ids, [])[:, None]
            plain = vlm.hidden(tokens, places, mask)[0, len(ids) - 1 :]
            torch.testing.assert_close(hidden[start : start + 2], plain, atol=1e-5, rtol=1e-5)


def test_blocks_belong_to_the_cpu() -> None:
    tree = (Tree(0, 1, (1,)),)
    with pytest.raises(ValueError, match="got blocks on meta, expected flex or dense"):
        TreeAttention(tree, torch.device("meta"), "blocks")
    assert TreeAttention(tree, CPU).kind == "blocks"
    assert TreeAttention(tree, torch.device("cuda")).kind == "flex"
