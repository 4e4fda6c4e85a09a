"""What generates: one protocol, one file per engine. The caller does not know how or where.

An engine is a file of this folder (or an import path `my_pkg.my_module:open_engine`) with

    Options                        pydantic model of what a config may set under `engine`
    open_engine(model, options)    the engine; `model` is a `ModelSource`

Every engine answers whole batches (`generate`). One that can work on requests as they come and go
also has `submit`, `collect` and `cancel`; `batches.Batches` gives the others the same three.
"""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from hrvision_env.plugins import available, resolve
from hrvision_env.records import Episode

if TYPE_CHECKING:
    from ..codec import Codec
    from ..trajectory import Trajectory


class StopReason(StrEnum):
    """Why a reply ended."""

    EOS = "eos"
    """The model sampled its end-of-turn token, which is part of the reply."""
    STOP = "stop"
    """A stop string was complete; the token that completed it is part of the reply."""
    LENGTH = "length"
    """`Sampling.max_tokens` were sampled, or the model's context is full."""


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn. `temperature=0` is greedy.

    Draws use random numbers of (seed, group, member, turn) alone, never of what else is in the
    batch. The batch still decides how logits are rounded: in float32 that changes a token once in
    many thousands, in bfloat16 replies repeat for an equal batch only.

    The sampling distribution is softmax(logits / temperature) without the codec's banned ids, cut
    to ids of at least `min_p` times the likeliest one's probability, then to the `top_k` likeliest,
    then to the smallest set of probability `top_p`: vLLM's order. Raises ValueError for a value out
    of range.
    """

    max_tokens: int = 64
    """Longest reply."""
    temperature: float = 1.0
    seed: int = 0
    top_p: float = 1.0
    """1: all."""
    top_k: int = 0
    """0: all."""
    min_p: float = 0.0
    """0: all."""
    timeout: float | None = None
    """Seconds that a reply may take from when it was asked for; None: any time."""

    def __post_init__(self) -> None:
        checks = {
            "max_tokens": (self.max_tokens >= 1, "at least 1"),
            "temperature": (0 <= self.temperature < math.inf, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0, at most 1"),
            "top_k": (self.top_k >= 0, "0 or more"),
            "min_p": (0 <= self.min_p < 1, "0 or more, below 1"),
            "timeout": (self.timeout is None or self.timeout > 0, "None or above 0"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ValueError(
                    f"sampling.{name}: got {getattr(self, name)!r}, must be {expected}"
                )

    @property
    def truncated(self) -> bool:
        """Whether ids other than the banned ones are left out; a trainer's softmax knows none."""
        return self.temperature > 0 and (self.top_p < 1 or self.top_k > 0 or self.min_p > 0)

    def key(self, group: str, member: int, turn: int) -> int:
        """128 bits that seed the draws of one reply."""
        name = f"{self.seed}|{group}|{member}|{turn}".encode()
        return int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little")


@dataclass(frozen=True)
class Completion:
    """One reply: the sampled ids, verbatim, and their log-probs in nats.

    A server that shows no tokens gives `text` alone. Raises ValueError for a reply that breaks the
    contract, each rule with its own message.
    """

    token_ids: list[int]
    logprobs: list[float]
    stop_reason: StopReason
    text: str | None = None
    """Of engines without tokens; others leave the decoding to the chat."""

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.logprobs):
            raise ValueError(
                f"completion: got {len(self.token_ids)} tokens and {len(self.logprobs)} log-probs, "
                "expected as many of one as of the other"
            )
        if not self.token_ids and self.text is None:
            raise ValueError("completion: got no token, expected at least one")
        for token in self.token_ids:
            if isinstance(token, bool) or not isinstance(token, int) or token < 0:
                raise ValueError(f"completion: got token id {token!r}, expected an int, 0 or more")
        for value in self.logprobs:
            if not math.isfinite(value) or value > 1e-6:
                raise ValueError(f"completion: got log-prob {value!r}, expected a finite one, <= 0")


@dataclass(frozen=True)
class Failure:
    """A reply that did not come. Data, not an exception: the siblings go on."""

    reason: str
    again: bool = True
    """Whether asking again may help; not for a prompt that is too long."""


Reply = Completion | Failure


class Conversation(Protocol):
    """A growing conversation as an engine wants it: `chat.Chat` (tokens) or `messages.Messages`.

    Compared and hashed by identity; may be referred to weakly.
    """

    group: str
    member: int
    replies: int
    stop: tuple[str, ...]
    policy_version: int

    def observe(
        self, text: str, images: Sequence[Any] = (), system: str = "", fresh: bool = False
    ) -> None:
        """Append a user turn."""
        ...

    def reply(self, completion: Completion) -> str:
        """Append the engine's reply; returns its text."""
        ...

    def fork(self, member: int) -> Any:
        """A sibling with the same history."""
        ...

    def trajectories(
        self, episode: Episode, temperature: float = 1.0, truncated: bool = False
    ) -> list[Trajectory]:
        """What may cross into training; empty where there are no tokens."""
        ...


class Engine(Protocol):
    """Generates replies with weights of one version."""

    policy_version: int

    def open_chat(self, group: str) -> Any:
        """An empty `Conversation` of member 0 of a group."""
        ...

    def generate(self, chats: Sequence[Any], sampling: Sampling) -> list[Reply]:
        """One reply per chat, in order. Siblings (same `group`) share their prefix.

        What concerns one chat (too long, timed out) is its `Failure`; what concerns all is raised.
        """
        ...

    def load_weights(self, source: Any, version: int) -> None:
        """Take new weights: a `VLM`, a module that lives in this process, or a model folder."""
        ...

    def sleep(self) -> None:
        """Give back memory until `wake`, where the engine can; nothing is being generated."""
        ...

    def wake(self) -> None: ...

    def close(self) -> None:
        """Free everything; the engine is not used again."""
        ...


@runtime_checkable
class ContinuousEngine(Engine, Protocol):
    """An engine that takes requests at any time and gives replies as they are ready."""

    def submit(self, chat: Any, sampling: Sampling) -> None:
        """Ask for the next reply of a chat. Raises nothing that concerns this chat alone."""
        ...

    def collect(self) -> list[tuple[Any, Reply]]:
        """Work for a while, then what has become ready (perhaps nothing).

        Raises what concerns everybody; all that was submitted then counts as cancelled.
        """
        ...

    def cancel(self) -> None:
        """Forget everything that was submitted and not collected."""
        ...


@dataclass(frozen=True)
class ModelSource:
    """Where an engine takes its first weights from."""

    path: str = ""
    """Model folder or hub id."""
    dtype: str = "auto"
    """float32, bfloat16, or auto: see `agents.devices`."""
    device: str = "auto"
    policy: Any = None
    """The trainer's `VLM`, where there is one in this process."""
    codec: Codec | None = None


EngineOptions = BaseModel
"""What an engine's `Options` are."""


class NoOptions(BaseModel):
    """The options of an engine whose module has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def engine_options(name: str) -> type[EngineOptions]:
    """The `Options` of the engine `name`: a file of this folder, or an import path.

    Raises ValueError, with the closest name, for one that does not exist.
    """
    found: type[EngineOptions] = getattr(_module(name), "Options", NoOptions)
    return found


def can_train(name: str) -> bool:
    """Whether an engine's replies can be trained on: its module says `TRAINS = False` if not."""
    return bool(getattr(_module(name), "TRAINS", True))


def open_named(name: str, model: ModelSource, options: EngineOptions) -> Engine:
    """Open the engine `name` with its own `Options`. Raises ValueError, OSError or ImportError."""
    engine: Engine = resolve(__name__, name, "open_engine")(model, options)
    return engine


def _module(name: str) -> Any:
    if ":" not in name and name in available(__name__):
        return importlib.import_module(f"{__name__}.{name}")
    resolve(__name__, name, "open_engine")  # raises for a name that does not exist
    return importlib.import_module(name.partition(":")[0])
