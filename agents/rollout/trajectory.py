"""`Trajectory`: the only record that crosses from rollouts into training.

T tokens, expanded: an image stands as one image token per merged patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hrvision_env.records import Episode

from .codec import EncodedImage
from .contract import RULES, TokenRules


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What one sibling saw and sampled, token by token. Every rule is checked on creation.

    Raises ValueError that names the group, the member and the broken rule (see `contract`).
    """

    token_ids: np.ndarray
    """[T] int64: exactly what the chat appended and the engine sampled."""
    loss_mask: np.ndarray
    """[T] bool: True exactly on sampled tokens."""
    logprobs: np.ndarray
    """[T] float32, nats, of the sampling distribution; 0 where loss_mask is False."""
    replies: tuple[int, ...]
    """How many tokens were sampled for each reply."""
    images: tuple[EncodedImage, ...]
    """In the order of their placeholders."""
    prefix: int
    """Leading tokens that siblings may share: the observation that opened the conversation, or the
    part of it that was not hidden afterwards."""
    rules: TokenRules
    """Special ids of the model that sampled."""
    group: str
    member: int
    reward: float
    policy_version: int
    episode: Episode
    temperature: float = 1.0
    """Of the sampling distribution; the trainer's log-softmax divides by the same."""
    truncated: bool = False
    """Whether sampling left out more than the banned ids (top-p, top-k, min-p): the log-probs are
    then those of a distribution that no trainer's log-softmax knows."""

    def __post_init__(self) -> None:
        for rule in RULES:
            if broken := rule(self):
                raise ValueError(
                    f"trajectory of group {self.group!r}, member {self.member}: {broken}"
                )

    @property
    def image_token_id(self) -> int:
        return self.rules.image

    @property
    def banned(self) -> tuple[int, ...]:
        """Ids that sampling excludes; the trainer's log-softmax excludes the same."""
        return self.rules.banned

    @cached_property
    def collapsed_ids(self) -> np.ndarray:
        """The other id track, with one image token per image."""
        placeholder = self.token_ids == self.rules.image
        again = np.concatenate(([False], placeholder[1:] & placeholder[:-1]))
        return self.token_ids[~again]

    @cached_property
    def opening(self) -> tuple[bytes, tuple[str, ...]]:
        """Token ids and image hashes of the prefix; equal ones are computed once."""
        prefix = self.token_ids[: self.prefix - 1]
        seen = int((prefix == self.rules.image).sum())
        ends = np.cumsum([image.n_tokens for image in self.images])
        images = [image for image, end in zip(self.images, ends, strict=True) if end <= seen]
        return prefix.tobytes(), tuple(image.hash for image in images)

    def __len__(self) -> int:
        return len(self.token_ids)
