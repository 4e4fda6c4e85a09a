"""`Messages`: a conversation as a chat server wants it, in texts and pictures instead of tokens.

There is nothing to train on: a server's tokens are unknown, so no trajectory ever comes out.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from PIL import Image

from hrvision_env.dialogues import IMAGE_MARKER
from hrvision_env.records import Episode

from .engines import Completion
from .trajectory import Trajectory

ImageFormat = Literal["png", "jpeg"]


class Picture:
    """An image that is encoded once, whoever sends it how often. Safe to share between threads."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._lock = threading.Lock()
        self._urls: dict[tuple[ImageFormat, int], str] = {}

    @cached_property
    def hash(self) -> str:
        """Of size and pixels, whatever the format that they are sent in."""
        name = f"{self.image.mode}|{self.image.width}x{self.image.height}|".encode()
        return hashlib.sha256(name + self.image.tobytes()).hexdigest()

    def data_url(self, kind: ImageFormat = "png", quality: int = 95) -> str:
        """The image as `data:image/...;base64,...`. `quality` is JPEG's, 1 to 100."""
        key = (kind, quality if kind == "jpeg" else 0)
        with self._lock:
            if key not in self._urls:
                self._urls[key] = self._encode(kind, quality)
            return self._urls[key]

    def _encode(self, kind: ImageFormat, quality: int) -> str:
        buffer = io.BytesIO()
        if kind == "jpeg":  # without subsampling, which blurs small coloured things
            self.image.convert("RGB").save(buffer, "JPEG", quality=quality, subsampling=0)
        else:
            self.image.save(buffer, "PNG", compress_level=1)
        return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


@dataclass(frozen=True, eq=False)
class Message:
    """One turn: texts and pictures in their order, without empty texts."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[str | Picture, ...]

    def to_api(
        self,
        show: Callable[[Picture], dict[str, Any]],
        write: Callable[[str], str] = lambda text: text,
    ) -> dict[str, Any]:
        """In the form of OpenAI's chat API; `show` gives a picture's `image_url`, `write` what is
        sent for a text.

        A message without pictures is a plain string, which every server takes.
        """
        content: str | list[dict[str, Any]]
        if any(isinstance(part, Picture) for part in self.parts):
            content = [
                {"type": "text", "text": write(part)}
                if isinstance(part, str)
                else {"type": "image_url", "image_url": show(part)}
                for part in self.parts
            ]
        else:
            content = write("".join(str(part) for part in self.parts))
        return {"role": self.role, "content": content}


class Messages:
    """One conversation; what `Chat` is for engines that take tokens."""

    def __init__(self, group: str = "", member: int = 0) -> None:
        self.group = group
        self.member = member
        self.messages: list[Message] = []
        """What the agent sees now."""
        self.replies = 0
        self.stop: tuple[str, ...] = ()
        """Strings that end the next reply."""
        self.policy_version = 0

    def observe(
        self,
        text: str,
        images: Sequence[Image.Image | Picture] = (),
        system: str = "",
        fresh: bool = False,
    ) -> None:
        """Append a user turn (and, before the first one, a system turn).

        `fresh` starts over: nothing of what came before is seen. A `Picture` is shared, not encoded
        again. Raises ValueError, and leaves the conversation as it was, when the number of
        `<image>` markers differs from the images' or the turn before has no reply yet.
        """
        pieces = text.split(IMAGE_MARKER)
        if len(pieces) - 1 != len(images):
            raise ValueError(
                f"observation: got {len(pieces) - 1} {IMAGE_MARKER} markers and {len(images)} "
                "images, expected as many of one as of the other"
            )
        if self.messages and self.messages[-1].role != "assistant":
            raise ValueError("observation: the turn before it has no reply yet")
        parts: list[str | Picture] = [_sendable(pieces[0])]
        for image, piece in zip(images, pieces[1:], strict=True):
            parts += [image if isinstance(image, Picture) else Picture(image), _sendable(piece)]
        if fresh:
            self.messages = []
        if system and not self.messages:
            self.messages.append(Message("system", (_sendable(system),)))
        self.messages.append(Message("user", tuple(part for part in parts if part != "")))

    def reply(self, completion: Completion) -> str:
        """Append a reply and return its text. Raises ValueError for one without text, or when no
        reply is due."""
        if not self.messages or self.messages[-1].role == "assistant":
            raise ValueError("reply: there is no observation to reply to")
        if completion.text is None:
            raise ValueError("reply: got tokens without a text, expected a text")
        self.messages.append(Message("assistant", (completion.text,)))
        self.replies += 1
        return completion.text

    def fork(self, member: int) -> Messages:
        """A sibling with the same history; pictures are shared."""
        twin = copy.copy(self)
        twin.member = member
        twin.messages = list(self.messages)
        return twin

    def trajectories(
        self, episode: Episode, temperature: float = 1.0, truncated: bool = False
    ) -> list[Trajectory]:
        """None: without tokens there is nothing to train on."""
        return []


def _sendable(text: str) -> str:
    """Half a surrogate pair has no UTF-8, and a request is UTF-8: it becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
