"""Replies from a function: for tests, and for agents that follow rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..chat import Chat
from ..codec import Codec
from ..stopping import Stopper
from . import Completion, Sampling, StopReason


class ScriptedEngine:
    """Says what `reply(chat)` returns, as a model would: stop strings and `max_tokens` cut it.

    Log-probs are 0: a script is certain of itself.
    """

    def __init__(self, codec: Codec, reply: Callable[[Chat], str]) -> None:
        self.codec = codec
        self.policy_version = 0
        self.reply = reply
        self.stopper = Stopper(codec)

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[Completion]:
        """One completion per chat, in order."""
        return [self._complete(chat, sampling.max_tokens) for chat in chats]

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
