"""Replies from a function: for tests, and for agents that follow rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hrvision_env.plugins import resolve

from ..chat import Chat
from ..codec import Codec
from ..stopping import Stopper
from . import Completion, Failure, ModelSource, Reply, Sampling, StopReason

TRAINS = False
"""There is nothing to train; log-probs of 0 are no model's."""


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    reply: str
    """import path of a function `reply(chat) -> str`, as my_pkg.my_module:name"""
    context: int | None = Field(default=None, ge=1)
    """longest conversation in tokens; null: as long as it likes"""


def open_engine(model: ModelSource, options: Options) -> ScriptedEngine:
    """A script that speaks with the tokens of `model`; its weights are never loaded."""
    codec = model.codec or getattr(model.policy, "codec", None)
    if codec is None:
        codec = Codec.from_pretrained(model.path)
    return ScriptedEngine(codec, resolve(__package__, options.reply, "reply"), options.context)


class ScriptedEngine:
    """Says what `reply(chat)` returns, as a model would: stop strings, `max_tokens` and the context
    cut it, and a prompt that is too long or a function that takes too long is a failure.

    Log-probs are 0: a script is certain of itself. What the function raises is passed on.
    """

    def __init__(
        self, codec: Codec, reply: Callable[[Chat], str], context: int | None = None
    ) -> None:
        self.codec = codec
        self.policy_version = 0
        self.reply = reply
        self.context = context
        self.stopper = Stopper(codec)

    def open_chat(self, group: str) -> Chat:
        """An empty chat of member 0 of a group."""
        chat = Chat(self.codec, group)
        chat.policy_version = self.policy_version
        return chat

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[Reply]:
        """One reply per chat, in order."""
        start = monotonic()
        return [self._reply(chat, sampling, start) for chat in chats]

    def _reply(self, chat: Chat, sampling: Sampling, start: float) -> Reply:
        limit, size = sampling.max_tokens, len(chat.token_ids)
        if self.context is not None:
            if size >= self.context:
                reason = f"prompt of {size:,} tokens does not fit the model's context of "
                return Failure(f"{reason}{self.context:,} tokens", again=False)
            limit = min(limit, self.context - size)
        completion = self._complete(chat, limit)
        if sampling.timeout is not None and monotonic() - start > sampling.timeout:
            return Failure(f"timed out after {sampling.timeout:g} s, 0 tokens sampled")
        return completion

    def _complete(self, chat: Chat, max_tokens: int) -> Completion:
        ids = [*self.codec.encode(self.reply(chat)), self.codec.im_end]
        reason = StopReason.EOS
        end = self.stopper.cut(ids, chat.stop)
        if end is not None:
            ids, reason = ids[:end], StopReason.STOP
        if len(ids) > max_tokens:
            ids, reason = ids[:max_tokens], StopReason.LENGTH
        return Completion(ids, [0.0] * len(ids), reason)

    def load_weights(self, source: Any, version: int) -> None:
        """A script has no weights; only the version changes."""
        self.policy_version = version

    def sleep(self) -> None:
        """Nothing to give back."""

    def wake(self) -> None:
        """Nothing to take."""

    def close(self) -> None:
        """Nothing to free."""
