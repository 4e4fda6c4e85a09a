"""`Chat`: a conversation as tokens, growing turn by turn, never re-tokenised.

`observe` appends what the environment said with loss mask False; `reply` appends the engine's
own token ids with loss mask True. The mask is right by construction: no later pass looks for
assistant tags, and decoded text is never encoded again. Where a dialogue hides what came before,
`observe(fresh=True)` begins another segment, and the chat leaves one trajectory per segment.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from PIL import Image

from hrvision_env.dialogues import IMAGE_MARKER
from hrvision_env.records import Episode

from .codec import Codec, EncodedImage
from .contract import broken_reply
from .engines import Completion
from .segment import Segment
from .trajectory import Trajectory


class Chat:
    """One conversation in ChatML. `token_ids` and the other lists are those of its last segment."""

    def __init__(self, codec: Codec, group: str = "", member: int = 0) -> None:
        self.codec = codec
        self.group = group
        self.member = member
        self.segments = [Segment()]
        """All but the last are hidden now, and don't change any more."""
        self.replies = 0
        self.stop: tuple[str, ...] = ()
        """Strings that end the next reply."""
        self.policy_version = 0

    @property
    def token_ids(self) -> list[int]:
        """Expanded."""
        return self.segments[-1].token_ids

    @property
    def collapsed_ids(self) -> list[int]:
        """One image token per image."""
        return self.segments[-1].collapsed_ids

    @property
    def loss_mask(self) -> list[bool]:
        return self.segments[-1].loss_mask

    @property
    def logprobs(self) -> list[float]:
        return self.segments[-1].logprobs

    @property
    def images(self) -> list[EncodedImage]:
        return self.segments[-1].images

    @property
    def prefix(self) -> int:
        """Leading tokens shared with the siblings: what was observed before the first reply."""
        return self.segments[-1].prefix

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
        the chat as it was, when the number of `<image>` markers differs from the images', an image
        doesn't fit the model, or a text cannot be tokenised.
        """
        pieces = text.split(IMAGE_MARKER)
        if len(pieces) != len(images) + 1:
            raise ValueError(
                f"observation: got {len(pieces) - 1} {IMAGE_MARKER} markers and {len(images)} "
                "images, expected as many of one as of the other"
            )
        if self.token_ids and not self.loss_mask[-1]:
            raise ValueError("observation: the turn before it has no reply yet")
        codec = self.codec
        encoded = [i if isinstance(i, EncodedImage) else codec.encode_image(i) for i in images]
        words = [codec.encode(piece) for piece in ("user\n" + pieces[0], *pieces[1:])]
        told = codec.encode(f"system\n{system}") if system else []
        # From here on nothing is refused.
        if fresh and self.token_ids:
            self.segments.append(Segment())
        segment = self.segments[-1]
        if segment.token_ids:  # a stop string or the length may have ended the reply
            closed = segment.token_ids[-1] == codec.im_end
            segment.append([*([] if closed else [codec.im_end]), *codec.newline])
        elif system:
            segment.append([codec.im_start, *told, codec.im_end, *codec.newline])
        segment.append([codec.im_start, *words[0]])
        for image, piece in zip(encoded, words[1:], strict=True):
            segment.append([codec.vision_start])
            segment.append_image(image, codec.image)
            segment.append([codec.vision_end, *piece])
        segment.append([codec.im_end, *codec.newline, *codec.opening])
        if not segment.replies:
            segment.prefix = len(segment.token_ids)

    def reply(self, completion: Completion) -> str:
        """Append the engine's own tokens; returns the reply's text, for reading.

        Raises ValueError, and leaves the chat as it was, when no reply is due, and for one without
        tokens, or with a token that must not be sampled.
        """
        where = f"reply {self.replies + 1} of group {self.group!r}, member {self.member}"
        if not self.token_ids or self.loss_mask[-1]:
            raise ValueError(f"{where}: there is no observation to reply to")
        ids = completion.token_ids
        if not ids:
            raise ValueError(f"{where}: got no token, expected at least one")
        if broken := broken_reply(self.codec.rules, ids):
            raise ValueError(f"{where}: {broken}")
        self.segments[-1].append_reply(ids, completion.logprobs)
        self.replies += 1
        return self.codec.reply_text(ids)

    def fork(self, member: int) -> Chat:
        """A sibling with the same history; images and hidden segments are shared by reference."""
        twin = copy.copy(self)
        twin.member = member
        twin.segments = [*self.segments[:-1], self.segments[-1].fork()]
        return twin

    def trajectories(
        self, episode: Episode, temperature: float = 1.0, truncated: bool = False
    ) -> list[Trajectory]:
        """Freeze the conversation with the record of its episode, segment by segment.

        A segment in which nothing was sampled (its reply failed) has no trajectory. Raises
        ValueError for a broken rule of the token contract.
        """
        return [
            self._freeze(segment, episode, temperature, truncated)
            for segment in self.segments
            if segment.replies
        ]

    def _freeze(
        self, segment: Segment, episode: Episode, temperature: float, truncated: bool
    ) -> Trajectory:
        frozen = Trajectory(
            token_ids=np.array(segment.token_ids, dtype=np.int64),
            loss_mask=np.array(segment.loss_mask, dtype=np.bool_),
            logprobs=np.array(segment.logprobs, dtype=np.float32),
            replies=tuple(segment.replies),
            images=tuple(segment.images),
            prefix=segment.prefix,
            rules=self.codec.rules,
            group=self.group,
            member=self.member,
            reward=episode.reward,
            policy_version=self.policy_version,
            episode=episode,
            temperature=temperature,
            truncated=truncated,
        )
        expected, got = frozen.collapsed_ids.tolist(), segment.collapsed_ids
        if got != expected:
            raise ValueError(
                f"chat of group {self.group!r}, member {self.member}: the id tracks disagree: "
                f"{len(got)} collapsed ids, the expanded ones collapse to {len(expected)} others"
            )
        return frozen
