"""`Trajectory`: the only record that crosses from rollouts into training.

T tokens, expanded: an image stands as one image token per merged patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hrvision_env.records import Episode

from .codec import EncodedImage


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What one sibling saw and sampled, token by token. Every invariant is checked on creation.

    Raises ValueError that names the group, the member and the broken rule.
    """

    token_ids: np.ndarray
    """[T] int64: exactly what the chat appended and the engine sampled."""
    loss_mask: np.ndarray
    """[T] bool: True exactly on sampled tokens."""
    logprobs: np.ndarray
    """[T] float32, nats, of the sampling distribution; 0 where loss_mask is False."""
    images: tuple[EncodedImage, ...]
    """In the order of their placeholders."""
    prefix: int
    """Leading tokens that siblings may share: the observation that opened the conversation, or the
    part of it that was not hidden afterwards."""
    image_token_id: int
    banned: tuple[int, ...]
    """Ids that sampling excludes; the trainer's log-softmax excludes the same."""
    group: str
    member: int
    reward: float
    policy_version: int
    episode: Episode
    temperature: float = 1.0
    """Of the sampling distribution; the trainer's log-softmax divides by the same."""

    def __post_init__(self) -> None:
        ids, mask, logprobs = self.token_ids, self.loss_mask, self.logprobs
        if not ids.shape == mask.shape == logprobs.shape or ids.ndim != 1:
            self._fail(f"shapes differ: {ids.shape}, {mask.shape}, {logprobs.shape}")
        if mask.dtype != np.bool_:
            self._fail(f"loss_mask has type {mask.dtype}, expected bool")
        if not mask.any():
            self._fail("no sampled token")
        if not 0 < self.prefix <= int(mask.argmax()):
            self._fail(f"prefix {self.prefix} must end before the first sampled token")
        if np.isin(ids[mask], self.banned).any():
            self._fail("a banned token was sampled")
        if not np.isfinite(logprobs).all() or (logprobs > 1e-6).any():
            self._fail("log-probs must be finite and not above 0")
        if logprobs[~mask].any():
            self._fail("log-probs must be 0 on tokens that were not sampled")
        self._check_images(ids == self.image_token_id)

    def _check_images(self, placeholder: np.ndarray) -> None:
        edges = np.flatnonzero(np.diff(np.concatenate(([0], placeholder.view(np.int8), [0]))))
        runs = (edges[1::2] - edges[::2]).tolist()
        expected = [image.n_tokens for image in self.images]
        if runs != expected:
            self._fail(f"image placeholders {runs} do not match the images' tokens {expected}")

    def _fail(self, what: str) -> None:
        raise ValueError(f"trajectory of group {self.group!r}, member {self.member}: {what}")

    @cached_property
    def opening(self) -> tuple[bytes, tuple[str, ...]]:
        """Token ids and image hashes of the prefix; equal ones are computed once."""
        prefix = self.token_ids[: self.prefix - 1]
        seen = int((prefix == self.image_token_id).sum())
        ends = np.cumsum([image.n_tokens for image in self.images])
        images = [image for image, end in zip(self.images, ends, strict=True) if end <= seen]
        return prefix.tobytes(), tuple(image.hash for image in images)

    def __len__(self) -> int:
        return len(self.token_ids)
