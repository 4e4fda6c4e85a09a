"""The whole conversation as an observation, in the forms that models' own tools take."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector.utils import create_shared_memory
from gymnasium.wrappers.utils import create_zero_array
from PIL import Image

from ..dialogues import IMAGE_MARKER
from ..spaces import ImageSpace, UnicodeText, no_shared_memory

FORMATS = ("text", "hf")
ROLES = ("system", "user", "assistant")

Message = dict[str, Any]
Part = dict[str, Any]


class ChatHistory(gym.Wrapper[dict[str, Any], str, dict[str, Any], str], RecordConstructorArgs):
    """Observe the whole conversation instead of the newest user turn.

    `messages` go from the beginning of the conversation to its newest user turn; after the end
    the last message is the agent's. `images` are those of all messages in order.

    | format | a message |
    |---|---|
    | `text` | `{"role", "text"}`, one `<image>` marker per image in the texts of the `user`; what |
    |        | looks like one in a reply is none |
    | `hf` | `{"role", "content": [{"type": "text", "text"}, {"type": "image", "image"}, ...]}` |

    `messages` is a tuple in `text` and a list in `hf`. Roles are `system`, `user` and
    `assistant`; images are PIL images. `hf` is what `processor.apply_chat_template` of
    transformers takes; `to_openai` turns it into the messages of an OpenAI-compatible server.
    Where a dialogue begins a new conversation (`info["fresh"]`, as `crop_only` does), the history
    restarts: the system text stays, nothing else does.

    Characters of a reply that are no valid Unicode (lone surrogates) come back as "?".
    Raises ValueError for an unknown format.
    """

    def __init__(self, env: gym.Env[dict[str, Any], str], format: str = "text") -> None:
        if format not in FORMATS:
            raise ValueError(f"format: got {format!r}, expected one of {', '.join(FORMATS)}")
        RecordConstructorArgs.__init__(self, format=format)
        gym.Wrapper.__init__(self, env)
        inner = env.observation_space
        assert isinstance(inner, spaces.Dict)
        images = inner["images"]
        assert isinstance(images, spaces.Sequence) and isinstance(images.feature_space, ImageSpace)
        message = spaces.Dict({"role": UnicodeText(16), "text": UnicodeText()})
        messages = (
            MessageSpace(images.feature_space) if format == "hf" else spaces.Sequence(message)
        )
        self.observation_space = spaces.Dict({"messages": messages, "images": images})
        self._format = format
        self._turns: list[tuple[str, str, tuple[Image.Image, ...]]] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._begin(info)
        return self._grow(observation), info

    def step(self, action: str) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if info["fresh"]:
            self._begin(info)
        else:
            self._turns.append(("assistant", action.encode("utf-8", "replace").decode(), ()))
        return self._grow(observation), reward, terminated, truncated, info

    def _begin(self, info: dict[str, Any]) -> None:
        self._turns = [("system", info["system"], ())] if info["system"] else []

    def _grow(self, observation: dict[str, Any]) -> dict[str, Any]:
        if observation["text"]:
            self._turns.append(("user", observation["text"], observation["images"]))
        images = tuple(image for _, _, shown in self._turns for image in shown)
        if self._format == "hf":
            return {"messages": [content(*turn) for turn in self._turns], "images": images}
        messages = tuple({"role": role, "text": text} for role, text, _ in self._turns)
        return {"messages": messages, "images": images}


def content(role: str, text: str, images: Sequence[Image.Image] = ()) -> Message:
    """A message in the `hf` format: the images go where the text has their markers.

    Only a user's text has markers; elsewhere `<image>` is a word like any other.

    Raises ValueError when there are not as many markers as images.
    """
    pieces = text.split(IMAGE_MARKER) if role == "user" else [text]
    if len(pieces) != len(images) + 1:
        raise ValueError(
            f"messages: got {len(pieces) - 1} {IMAGE_MARKER} markers and {len(images)} images, "
            "expected as many of one as of the other"
        )
    parts: list[Part] = [{"type": "text", "text": pieces[0]}]
    for image, piece in zip(images, pieces[1:], strict=True):
        parts += [{"type": "image", "image": image}, {"type": "text", "text": piece}]
    filled = [part for part in parts if part.get("text") != ""]
    return {"role": role, "content": filled or parts}


def to_openai(messages: Iterable[Message], image_format: str = "PNG") -> list[Message]:
    """Messages in the `hf` format -> those of the OpenAI chat completions API.

    Images become data URLs; `image_format` is a format that Pillow writes, such as `PNG`
    (lossless) or `JPEG` (smaller). What the system and the assistant say is a plain text.
    The result is JSON-able.
    """
    return [
        {"role": message["role"], "content": _openai_content(message, image_format)}
        for message in messages
    ]


def _openai_content(message: Message, image_format: str) -> str | list[Part]:
    if message["role"] != "user":
        return "".join(part["text"] for part in message["content"])
    parts: list[Part] = []
    for part in message["content"]:
        if part["type"] == "text":
            parts.append({"type": "text", "text": part["text"]})
        else:
            url = _data_url(part["image"], image_format)
            parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def _data_url(image: Image.Image, image_format: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=image_format)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{image_format.lower()};base64,{data}"


class MessageSpace(spaces.Space[list[Message]]):
    """Lists of messages in the `hf` format, with images of an `ImageSpace`."""

    _text: ClassVar[UnicodeText] = UnicodeText()

    def __init__(self, images: ImageSpace, seed: int | np.random.Generator | None = None) -> None:
        self.images = images
        super().__init__(None, None, seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def contains(self, x: Any) -> bool:
        return isinstance(x, list) and all(self._is_message(message) for message in x)

    def _is_message(self, message: Any) -> bool:
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            return False
        parts = message["content"]
        known = message["role"] in ROLES and isinstance(parts, list)
        return known and all(self._is_part(part) for part in parts)

    def _is_part(self, part: Any) -> bool:
        if not isinstance(part, dict) or len(part) != 2:
            return False
        if part.get("type") == "image":
            return part.get("image") in self.images
        return part.get("type") == "text" and part.get("text") in self._text

    def sample(self, mask: None = None, probability: None = None) -> list[Message]:
        """A question about one image, and an answer."""
        if mask is not None or probability is not None:
            raise ValueError(f"{self}: sample takes neither a mask nor a probability")
        images = ImageSpace(self.images.factor, self.images.max_pixels, seed=self._draw())
        reply = UnicodeText(seed=self._draw()).sample()
        return [
            content("user", f"{IMAGE_MARKER}\nWhat is shown?", (images.sample(),)),
            content("assistant", reply),
        ]

    def _draw(self) -> int:
        return int(self.np_random.integers(2**31))

    def to_jsonable(self, sample_n: Iterable[list[Message]]) -> list[Any]:
        """Images as PNG files in base64."""

        def part(part: Part) -> Part:
            if part["type"] == "text":
                return part
            return {"type": "image", "image": self.images.to_jsonable([part["image"]])[0]}

        return _map_parts(sample_n, part)

    def from_jsonable(self, sample_n: list[Any]) -> list[list[Message]]:
        def part(part: Part) -> Part:
            if part["type"] == "text":
                return part
            return {"type": "image", "image": self.images.from_jsonable([part["image"]])[0]}

        return _map_parts(sample_n, part)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MessageSpace) and self.images == other.images

    def __repr__(self) -> str:
        return f"MessageSpace({self.images})"


def _map_parts(conversations: Iterable[list[Message]], change: Any) -> list[list[Message]]:
    return [
        [{"role": m["role"], "content": [change(p) for p in m["content"]]} for m in messages]
        for messages in conversations
    ]


# What `FrameStackObservation` fills up with before the first observation.
create_zero_array.register(MessageSpace, lambda space: [])
create_shared_memory.register(MessageSpace, no_shared_memory)
