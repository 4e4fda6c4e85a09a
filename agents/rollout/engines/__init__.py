"""What generates: one protocol, one file per engine. The caller does not know how or where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..chat import Chat
    from ..codec import Codec


class StopReason(StrEnum):
    """Why a reply ended."""

    EOS = "eos"
    """The model sampled its end-of-turn token, which is part of the reply."""
    STOP = "stop"
    """A stop string was complete; the token that completed it is part of the reply."""
    LENGTH = "length"
    """`Sampling.max_tokens` were sampled."""


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn. `temperature=0` is greedy.

    Draws depend on (seed, group, member, turn) alone, never on what else is in the batch.
    """

    max_tokens: int = 64
    temperature: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Completion:
    """One reply: the sampled ids, verbatim, and their log-probs in nats."""

    token_ids: list[int]
    logprobs: list[float]
    stop_reason: StopReason


class Engine(Protocol):
    """Generates replies for open chats with weights of one version."""

    codec: Codec
    policy_version: int

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[Completion]:
        """One completion per chat, in order. Siblings (same `group`) share their prefix."""
        ...

    def load_weights(self, source: Any, version: int) -> None:
        """Take new weights: a module that lives in this process, or a model folder."""
        ...
