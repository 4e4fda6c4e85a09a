"""What a request to a chat server holds: the options of the engine `openai`, and one request.

No network here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..messages import ImageFormat, Message, Messages, Picture
from . import Sampling
from ._openai_secret import secret_in

VERSION = 2
"""Of the names of replies that are kept on disk."""

CONTROL = re.compile(r"<\|(?!(?:box|quad|object_ref)_(?:start|end)\|>)(?=[^\s|<>]{1,64}\|>)")
"""Where a special token's name begins, but those that boxes are written with."""

TAKEN = frozenset(
    ("model", "messages", "stop", "stream", "stream_options", "n", "temperature", "top_p", "seed")
    + ("max_tokens", "max_completion_tokens", "skip_special_tokens")
)
"""Fields that the engine sets, or whose answer it could not read."""
TAKEN_BY_KIND = frozenset(("top_k", "min_p"))
"""The same with the servers that take them."""

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Options(BaseModel):
    """Keys under `engine` in a config."""

    FREE: ClassVar = frozenset(
        ("url", "key_env", "concurrency", "timeout", "retries", "cache")
        + ("price_prompt", "price_completion")
    )
    """Options that change no reply: a benchmark goes on with other ones."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    url: str = "http://localhost:8000/v1"
    """base URL of the server"""
    model: Annotated[str, Field(min_length=1)]
    """the model's name on the server"""
    server: Literal["openai", "vllm", "sglang"] = "openai"
    """what it takes beyond OpenAI's fields: top_k, min_p and stop strings with vllm and sglang"""
    key_env: str = ""
    """environment variable that holds the key, never the key itself; empty: none is needed"""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 32
    """requests at the same time, per process"""
    timeout: Annotated[float, Field(gt=0)] = 300.0
    """seconds for one try"""
    retries: Annotated[int, Field(ge=0)] = 8
    """tries after the first, with growing pauses"""
    image_format: ImageFormat = "png"
    """jpeg is smaller and changes pixels"""
    image_quality: Annotated[int, Field(ge=1, le=100)] = 95
    """of jpeg"""
    image_detail: Literal["", "auto", "low", "high", "original"] = ""
    """OpenAI's `detail`; empty: not sent. Low makes a server shrink images"""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """the latter for OpenAI's reasoning models; their thoughts count as well"""
    omit: tuple[Literal["temperature", "top_p", "seed"], ...] = ()
    """fields that the model refuses"""
    extra_body: dict[str, Any] = {}
    """more fields of the request, none that other options or the sampling set; it is written to
    manifests, so a key cannot stand here"""
    price_prompt: Price | None = None
    """per million prompt tokens, for the cost in summaries"""
    price_completion: Price | None = None
    """per million completion tokens"""
    cache: str = ""
    """folder in which replies are kept, by the model's name: one for each server; empty: none are,
    but in benchmarks, which keep them in --out"""

    @field_validator("key_env")
    @classmethod
    def _named(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
            raise ValueError("must be the name of an environment variable, not the key itself")
        return value

    @field_validator("url")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", value):
            raise ValueError("must be http(s)://host[:port]/path, without a key or a query")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _more_and_no_secret(self) -> Options:
        taken = TAKEN if self.server == "openai" else TAKEN | TAKEN_BY_KIND
        if found := sorted(taken & set(self.extra_body)):
            raise ValueError(
                f"extra_body: got {', '.join(found)}, which the engine sets itself; expected other "
                "fields (see model, max_tokens_field, omit, and the section of the sampling)"
            )
        if where := secret_in(self.extra_body):
            raise ValueError(
                f"extra_body.{where}: looks like a key or a header, which would be written to "
                "manifests; expected none (see key_env)"
            )
        return self

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """What these tokens cost; None where no price is set."""
        if self.price_prompt is None and self.price_completion is None:
            return None
        prompt, completion = self.price_prompt or 0.0, self.price_completion or 0.0
        return (prompt * prompt_tokens + completion * completion_tokens) / 1e6


@dataclass(frozen=True)
class Ask:
    """One request: a conversation as it was, and how to reply."""

    options: Options
    messages: tuple[Message, ...]
    stop: tuple[str, ...]
    draw: int
    """`Sampling.key` of the reply."""
    sampling: Sampling

    @classmethod
    def of(cls, chat: Messages, sampling: Sampling, options: Options) -> Ask:
        """The next reply of a chat. Raises ValueError for sampling that no server of this kind is
        known to take."""
        if (sampling.top_k or sampling.min_p) and options.server == "openai":
            raise ValueError(
                f"engine openai: got top_k={sampling.top_k} and min_p={sampling.min_p}, which "
                "OpenAI's API does not have; expected 0, or engine.server vllm or sglang"
            )
        draw = sampling.key(chat.group, chat.member, chat.replies)
        return cls(options, tuple(chat.messages), tuple(chat.stop), draw, sampling)

    def body(self, show: Callable[[Picture], dict[str, Any]] | None = None) -> dict[str, Any]:
        """The request; `show` gives a picture's `image_url`, with the picture in it by default."""
        options, sampling = self.options, self.sampling
        show = show or self._sent
        write = str if options.server == "openai" else spelled_out
        body: dict[str, Any] = {
            "model": options.model,
            "messages": [message.to_api(show, write) for message in self.messages],
            options.max_tokens_field: sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": self.draw % 2**31,
        }
        if sampling.top_p < 1 or options.server != "openai":
            body["top_p"] = sampling.top_p
        if options.server != "openai":
            # Said even where they do nothing: a server takes others from the model's folder.
            body |= {"top_k": sampling.top_k or -1, "min_p": sampling.min_p}
            body |= {"repetition_penalty": 1.0, "skip_special_tokens": False}
            body |= {"stop": list(self.stop)} if self.stop else {}
        sent = {key: value for key, value in body.items() if key not in options.omit}
        return {**sent, **options.extra_body}

    def name(self) -> str:
        """Of all that the reply depends on but the server's address; the key of a kept reply."""
        options = self.options
        how = [options.image_format, options.image_quality, options.image_detail]
        body = self.body(lambda picture: {"hash": picture.hash})
        named = [VERSION, options.server, how, body, self.stop, self.draw]
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()

    def _sent(self, picture: Picture) -> dict[str, Any]:
        options = self.options
        detail = {"detail": options.image_detail} if options.image_detail else {}
        return {"url": picture.data_url(options.image_format, options.image_quality), **detail}


def spelled_out(text: str) -> str:
    """A text in which the names of special tokens are names: vLLM and SGLang obey them wherever
    they stand, so a question could end its own turn or take the place of an image.

    >>> spelled_out("<|im_end|> <|box_start|>(1,2),(3,4)<|box_end|>")
    '< |im_end|> <|box_start|>(1,2),(3,4)<|box_end|>'
    """
    return CONTROL.sub("< |", text)
