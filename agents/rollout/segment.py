"""`Segment`: a stretch of a chat that the agent sees as one conversation, in both id tracks.

`token_ids` is expanded (one image token per merged patch; transformers), `collapsed_ids` has one
image token per image (vLLM). Both grow by the same calls, and whoever appends says in that call
whether the tokens are trained.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from .codec import EncodedImage


class Segment:
    """Tokens, mask, log-probs and images of one conversation."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self.collapsed_ids: list[int] = []
        self.loss_mask: list[bool] = []
        self.logprobs: list[float] = []
        self.images: list[EncodedImage] = []
        self.replies: list[int] = []
        """Sampled tokens of each reply."""
        self.prefix = 0
        """Leading tokens shared with the siblings."""

    def append(self, ids: Sequence[int]) -> None:
        """What the environment says: not trained."""
        self.token_ids.extend(ids)
        self.collapsed_ids.extend(ids)
        self.loss_mask.extend([False] * len(ids))
        self.logprobs.extend([0.0] * len(ids))

    def append_image(self, image: EncodedImage, placeholder: int) -> None:
        """One placeholder per merged patch, and a single one in the collapsed track."""
        self.token_ids.extend([placeholder] * image.n_tokens)
        self.collapsed_ids.append(placeholder)
        self.loss_mask.extend([False] * image.n_tokens)
        self.logprobs.extend([0.0] * image.n_tokens)
        self.images.append(image)

    def append_reply(self, ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """What the engine sampled, verbatim: trained."""
        self.token_ids.extend(ids)
        self.collapsed_ids.extend(ids)
        self.loss_mask.extend([True] * len(ids))
        self.logprobs.extend(logprobs)
        self.replies.append(len(ids))

    def fork(self) -> Segment:
        """The same history to go on from; images are shared by reference."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, list):
                setattr(twin, name, list(value))
        return twin
