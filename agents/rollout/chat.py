"""`Chat`: a conversation as tokens, growing turn by turn, never re-tokenised.

`observe` appends what the environment said with loss mask False; `reply` appends the engine's
own token ids with loss mask True. The mask is right by construction: no later pass looks for
assistant tags, and decoded text is never encoded again. Where a dialogue hides what came before,
`observe(fresh=True)` begins another segment, and the chat leaves one trajectory per segment.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from hrvision_env.dialogues import IMAGE_MARKER
from hrvision_env.records import Episode

from .codec import Codec, EncodedImage
from .engines import Completion
from .trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of a chat that the agent sees as one conversation; fields as in `Chat`."""

    token_ids: list[int]
    loss_mask: list[bool]
    logprobs: list[float]
    images: list[EncodedImage]
    prefix: int


class Chat:
    """One conversation in ChatML, in both id tracks.

    The lists are those of the current segment. `token_ids` is expanded (one image token per merged
    patch; transformers), `collapsed_ids` has one image token per image (vLLM). Both grow by the
    same function.
    """

    def __init__(self, codec: Codec, group: str = "", member: int = 0) -> None:
        self.codec = codec
        self.group = group
        self.member = member
        self.token_ids: list[int] = []
        self.collapsed_ids: list[int] = []
        self.loss_mask: list[bool] = []
        self.logprobs: list[float] = []
        self.images: list[EncodedImage] = []
        self.prefix = 0
        """Leading tokens shared with the siblings; set by the first `observe` of a segment."""
        self.earlier: list[Segment] = []
        """Segments that are hidden now."""
        self.replies = 0
        self.stop: tuple[str, ...] = ()
        """Strings that end the next reply."""
        self.policy_version = 0

    def observe(
        self,
        text: str,
        images: Sequence[Image.Image | EncodedImage] = (),
        system: str = "",
        fresh: bool = False,
    ) -> None:
        """Append a user turn (and, before the first one, a system turn) and open the reply.

        `fresh` begins a new segment: a conversation in which nothing of this one is seen.

        An image that is encoded already is shared, not encoded again. Raises ValueError, and leaves
        the chat as it was, when the number of `<image>` markers differs from the images' or an
        image doesn't fit the model.
        """
        pieces = text.split(IMAGE_MARKER)
        if len(pieces) != len(images) + 1:
            raise ValueError(
                f"observation: got {len(pieces) - 1} {IMAGE_MARKER} markers and {len(images)} "
                "images, expected as many of one as of the other"
            )
        codec = self.codec
        if self.token_ids and not self.loss_mask[-1]:
            raise ValueError("observation: the turn before it has no reply yet")
        encoded = [i if isinstance(i, EncodedImage) else codec.encode_image(i) for i in images]
        if fresh and self.token_ids:
            self._begin_segment()
        if not self.token_ids:
            if system:
                self._append([codec.im_start, *codec.encode(f"system\n{system}"), codec.im_end])
                self._append(codec.encode("\n"))
        else:
            if self.token_ids[-1] != codec.im_end:  # ended by a stop string or by length
                self._append([codec.im_end])
            self._append(codec.encode("\n"))
        self._append([codec.im_start, *codec.encode("user\n" + pieces[0])])
        for image, piece in zip(encoded, pieces[1:], strict=True):
            self._append([codec.vision_start])
            self._append_image(image)
            self._append([codec.vision_end, *codec.encode(piece)])
        self._append([codec.im_end, *codec.encode("\n")])
        self._append([codec.im_start, *codec.encode("assistant\n")])
        if not any(self.loss_mask):
            self.prefix = len(self.token_ids)

    def reply(self, completion: Completion) -> None:
        """Append the engine's own tokens. Raises ValueError for none, or when no reply is due."""
        if not self.token_ids or self.loss_mask[-1]:
            raise ValueError("reply: there is no observation to reply to")
        if not completion.token_ids:
            raise ValueError("reply: got no token, expected at least one")
        self._append(completion.token_ids, sampled=True)
        self.logprobs[-len(completion.token_ids) :] = completion.logprobs
        self.replies += 1

    def fork(self, member: int) -> Chat:
        """A sibling with the same history; images are shared by reference."""
        twin = copy.copy(self)
        twin.member = member
        for name in ("token_ids", "collapsed_ids", "loss_mask", "logprobs", "images", "earlier"):
            setattr(twin, name, list(getattr(self, name)))
        return twin

    @property
    def segments(self) -> list[Segment]:
        """All segments in order; the current one is the last."""
        now = Segment(self.token_ids, self.loss_mask, self.logprobs, self.images, self.prefix)
        return [*self.earlier, now]

    def trajectories(self, episode: Episode, temperature: float = 1.0) -> list[Trajectory]:
        """Freeze the conversation with the record of its episode, segment by segment.

        A segment in which nothing was sampled (its reply failed) has no trajectory.
        """
        return [
            Trajectory(
                token_ids=np.array(segment.token_ids, dtype=np.int64),
                loss_mask=np.array(segment.loss_mask, dtype=np.bool_),
                logprobs=np.array(segment.logprobs, dtype=np.float32),
                images=tuple(segment.images),
                prefix=segment.prefix,
                image_token_id=self.codec.image,
                banned=self.codec.banned,
                group=self.group,
                member=self.member,
                reward=episode.reward,
                policy_version=self.policy_version,
                episode=episode,
                temperature=temperature,
            )
            for segment in self.segments
            if any(segment.loss_mask)
        ]

    def _begin_segment(self) -> None:
        self.earlier.append(self.segments[-1])
        self.token_ids, self.collapsed_ids, self.images = [], [], []
        self.loss_mask, self.logprobs, self.prefix = [], [], 0

    def _append(self, ids: Sequence[int], sampled: bool = False) -> None:
        self.token_ids.extend(ids)
        self.collapsed_ids.extend(ids)
        self.loss_mask.extend([sampled] * len(ids))
        self.logprobs.extend([0.0] * len(ids))

    def _append_image(self, image: EncodedImage) -> None:
        self._append([self.codec.image])
        extra = image.n_tokens - 1
        self.token_ids.extend([self.codec.image] * extra)
        self.loss_mask.extend([False] * extra)
        self.logprobs.extend([0.0] * extra)
        self.images.append(image)
