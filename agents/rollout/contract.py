"""The token contract: what holds for every conversation that a model is trained on.

`RULES` are checked when a `Trajectory` is created, in this order (later ones rely on earlier
ones); each says how it is broken, or nothing. `broken_reply` is checked when a `Chat` grows.

T tokens, expanded. A *run* is an unbroken stretch of tokens as [start, end).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .trajectory import Trajectory


@dataclass(frozen=True)
class TokenRules:
    """The ids of one model that the contract speaks of; `Codec.rules` has them."""

    vocab_size: int
    """Rows of the embedding table."""
    image: int
    """Placeholder of a merged patch."""
    vision: tuple[int, int]
    """What stands right before and right after an image's placeholders."""
    banned: tuple[int, ...]
    """Ids that sampling excludes; the trainer's log-softmax excludes the same."""
    eos: tuple[int, ...]
    """Ids that end a reply."""
    opening: tuple[int, ...]
    """What stands before every reply: the start of an assistant's turn."""
    closing: tuple[int, ...]
    """What stands after every reply: the end of its turn and the start of the next. The first id is
    part of the reply where the model sampled it."""

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> TokenRules:
        """From `dataclasses.asdict`, also after JSON has made lists of the tuples."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        return cls(**fields)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """The runs in which `mask` [T] bool is True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.view(np.int8), [0])))).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def broken_reply(rules: TokenRules, ids: Sequence[int]) -> str:
    """How sampled ids break the contract; "" where they keep it."""
    if outside := [i for i in ids if not 0 <= i < rules.vocab_size]:
        return f"token {outside[0]} was sampled, expected ids below {rules.vocab_size}"
    banned = np.isin(ids, rules.banned)
    if banned.any():
        return f"the banned token {ids[int(banned.argmax())]} was sampled"
    ends = np.flatnonzero(np.isin(ids[:-1], rules.eos))
    if ends.size:
        return f"the reply goes on after its end, token {int(ends[0]) + 1} of {len(ids)}"
    return ""


def _shapes(t: Trajectory) -> str:
    shapes = {"token_ids": t.token_ids, "loss_mask": t.loss_mask, "logprobs": t.logprobs}
    got = ", ".join(f"{name} {array.shape}" for name, array in shapes.items())
    same = t.token_ids.shape == t.loss_mask.shape == t.logprobs.shape
    return "" if same and t.token_ids.ndim == 1 else f"shapes differ: {got}, expected one [T]"


def _types(t: Trajectory) -> str:
    for name, kind in (("token_ids", np.int64), ("loss_mask", np.bool_), ("logprobs", np.float32)):
        got = getattr(t, name).dtype
        if got != kind:
            return f"{name} has type {got}, expected {np.dtype(kind)}"
    return ""


def _vocabulary(t: Trajectory) -> str:
    outside = t.token_ids[(t.token_ids < 0) | (t.token_ids >= t.rules.vocab_size)]
    if outside.size:
        return f"token id {outside[0]}, expected 0 to {t.rules.vocab_size - 1}"
    return ""


def _replies(t: Trajectory) -> str:
    if not t.loss_mask.any():
        return "no sampled token"
    if int(t.loss_mask.sum()) != sum(t.replies):
        return f"the loss mask has {t.loss_mask.sum()} tokens, {sum(t.replies)} were sampled"
    lengths = [end - start for start, end in runs(t.loss_mask)]
    if lengths != list(t.replies):
        return f"the loss mask has replies of {lengths} tokens, expected {list(t.replies)}"
    return ""


def _sampled(t: Trajectory) -> str:
    found = (broken_reply(t.rules, t.token_ids[s:e].tolist()) for s, e in runs(t.loss_mask))
    return next(filter(None, found), "")


def _logprobs(t: Trajectory) -> str:
    if not np.isfinite(t.logprobs).all():
        return "log-probs must be finite"
    if (t.logprobs > 1e-6).any():  # rounding of a probability of 1
        return f"a log-prob of {t.logprobs.max():g}: they must not be above 0"
    if t.logprobs[~t.loss_mask].any():
        return "log-probs must be 0 on tokens that were not sampled"
    return ""


def _images(t: Trajectory) -> str:
    places = runs(t.token_ids == t.rules.image)
    got, expected = [end - start for start, end in places], [i.n_tokens for i in t.images]
    if got != expected:
        if sum(got) == sum(expected) and len(got) < len(expected):
            return f"images stand side by side with nothing between them: {got} for {expected}"
        return f"image placeholders {got} do not match the images' tokens {expected}"
    before, after = t.rules.vision
    for n, (start, end) in enumerate(places):
        around = t.token_ids[max(start - 1, 0) : end + 1 : end - start + 1].tolist()
        if around != [before, after]:
            return f"image {n} stands between tokens {around}, expected [{before}, {after}]"
    return ""


def _prefix(t: Trajectory) -> str:
    first = int(t.loss_mask.argmax())
    if not 0 < t.prefix <= first:
        return f"prefix {t.prefix} must end before the first sampled token, which is {first}"
    # What siblings share is computed without its last token, so that both cuts must be outside.
    inside = t.token_ids[max(t.prefix - 2, 0) : t.prefix + 1] == t.rules.image
    if (inside[1:] & inside[:-1]).any():
        return f"prefix {t.prefix} ends inside an image"
    return ""


def _openings(t: Trajectory) -> str:
    expected = list(t.rules.opening)
    for start, _ in runs(t.loss_mask):
        got = t.token_ids[max(0, start - len(expected)) : start].tolist()
        if got != expected:
            return f"the reply at token {start} follows {got}, expected the opening {expected}"
    return ""


def _boundaries(t: Trajectory) -> str:
    ids, turn = t.token_ids, t.rules.opening[0]
    if ids[0] != turn:
        return f"it begins with token {ids[0]}, expected {turn}: cut inside a turn"
    for _, end in runs(t.loss_mask):
        expected = list(t.rules.closing)[int(ids[end - 1] == t.rules.closing[0]) :]
        got = ids[end : end + len(expected)].tolist()
        if end < len(ids) and got != expected:
            return f"the reply that ends at token {end} is followed by {got}, expected {expected}"
    tail = ids[-len(t.rules.opening) :].tolist()
    if not t.loss_mask[-1] and tail != list(t.rules.opening):
        return f"it ends with {tail}, neither a reply nor {list(t.rules.opening)}: cut in a turn"
    return ""


def _numbers(t: Trajectory) -> str:
    checks = {
        "temperature": (0 < t.temperature < math.inf, "a number above 0"),
        "policy_version": (t.policy_version >= 0, "0 or more"),
        "member": (t.member >= 0, "0 or more"),
        "reward": (t.reward == t.episode.reward, f"the episode's {t.episode.reward}"),
    }
    for name, (good, expected) in checks.items():
        if not good:
            return f"{name} is {getattr(t, name)}, expected {expected}"
    return ""


RULES = (
    _shapes, _types, _vocabulary, _replies, _sampled, _logprobs, _images, _prefix, _openings,
    _boundaries, _numbers,
)  # fmt: skip
