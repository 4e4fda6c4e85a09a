"""OpenAI's chat API as data: what a request holds, and what an answer says. No network here.

An answer is somebody else's JSON: every part of it may be missing or of another type.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import Completion, Failure, Reply, StopReason
from ._openai_secret import Secret

SHOWN = 300
"""Characters of a server's error that are kept."""
FINISHED = {"stop": StopReason.EOS, "length": StopReason.LENGTH}
"""How a reply ends that is one. With another reason (`abort`, `error`, `content_filter`, ...) the
server broke it off, and what there is of it is no answer of the model's."""
FOR_GOOD = ("content_filter",)
"""Reasons that would be the same again."""
MOST_TOKENS = 2**40
NO_SECRET = Secret()


@dataclass(frozen=True)
class Usage:
    """What replies cost here and now. Adds up with `+`."""

    requests: int = 0
    """Sent to the server, retries included, answered or not."""
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Hidden thoughts included."""
    cost: float | None = None
    """In the currency of the prices; None without prices."""
    kept: int = 0
    """Replies read from disk. They cost nothing again and are in no other field."""
    unmetered: int = 0
    """Requests whose tokens nobody counted (no usage in the answer, timed out, lost, cancelled):
    they are missing in tokens and cost."""

    def __add__(self, other: Usage) -> Usage:
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Usage(
            requests=self.requests + other.requests,
            retries=self.retries + other.retries,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost=sum(costs) if costs else None,
            kept=self.kept + other.kept,
            unmetered=self.unmetered + other.unmetered,
        )


def tokens_of(body: Any) -> tuple[int, int] | None:
    """Prompt and completion tokens by an answer's `usage`; None when it doesn't say.

    >>> tokens_of({"usage": {"prompt_tokens": 7, "completion_tokens": 2}})
    (7, 2)
    """
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return None
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    if not all(type(one) is int and 0 <= one < MOST_TOKENS for one in counts):
        return None
    return counts  # type: ignore[return-value]


def read_answer(body: Any, stop: Sequence[str], secret: Secret = NO_SECRET) -> Reply:
    """The reply in an answer. One that is not as it should be is a `Failure`.

    A refusal in words and an empty text are replies: the environment has them wrong. Thoughts that
    the server keeps apart (`reasoning_content`) are no part of one.
    """
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    for part in (body, choice):  # some gateways say 200 and fail
        if isinstance(part, dict) and part.get("error"):
            return Failure(f"the server answered with an error: {error_text(part, '', secret)}")
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return Failure(f"malformed answer: got {shown(body, secret)}, expected choices[0].message")
    reason, content = choice.get("finish_reason"), message.get("content")
    if not isinstance(reason, str) or reason not in FINISHED:
        got = shown(repr(reason), secret)
        again = reason not in FOR_GOOD
        return Failure(f"unfinished reply: got finish_reason {got}, expected stop or length", again)
    text = _text(content)
    if text is None:
        got = shown(content, secret)
        return Failure(f"malformed answer: got the content {got}, expected a text")
    # Half a surrogate pair can be written in JSON and in no file.
    text = secret.hide_in_reply(text.encode("utf-8", "replace").decode())
    for name in ("stop_reason", "matched_stop"):  # vLLM, SGLang: they cut the string itself off
        if (said := choice.get(name)) in stop:
            text += str(said)
            break
    end = stop_end(text, stop)
    if end is not None:
        return Completion([], [], StopReason.STOP, text=text[:end])
    return Completion([], [], FINISHED[reason], text=text)


def pack(reply: Completion) -> str:
    """A reply as it is kept on disk."""
    return json.dumps({"text": reply.text, "stop": reply.stop_reason})


def unpack(text: str) -> Completion | None:
    """A kept reply; None for a row that is damaged, which is asked for again."""
    try:
        kept = json.loads(text)
        said, stop = kept["text"], StopReason(kept["stop"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Completion([], [], stop, text=said) if isinstance(said, str) else None


def _text(content: Any) -> str | None:
    """The text of a message's content, which may be a string, nothing, or a list of parts."""
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        texts = [part.get("text") for part in content if part.get("type") == "text"]
        return "".join(texts) if all(isinstance(text, str) for text in texts) else None
    return content if isinstance(content, str) else None


def stop_end(text: str, stop: Sequence[str]) -> int | None:
    """Where the first stop string of a text ends, if there is one.

    >>> stop_end('[{"bbox_2d": [1, 2, 3, 4]}] and so on', ("}]",))
    27
    """
    ends = [at + len(one) for one in stop if (at := text.find(one)) >= 0]
    return min(ends, default=None)


def error_text(body: Any, otherwise: str, secret: Secret = NO_SECRET) -> str:
    """What an error's body says, in short; `otherwise` when it says nothing.

    >>> error_text({"message": "too long", "code": 400}, "?")
    'too long'
    """
    for _ in range(8):  # deep enough for any server, not for one that means harm
        names = ("error", "message", "detail") if isinstance(body, dict) else ()
        inner = next((body[name] for name in names if body.get(name)), None)
        if inner is None:
            break
        body = inner
    return shown(body or otherwise, secret)


def shown(value: Any, secret: Secret = NO_SECRET) -> str:
    """A value of a server's in a message: without the key, on one line, not too long."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (RecursionError, ValueError):  # too deep, or a number of too many digits
        text = f"a {type(value).__name__} that cannot be shown"
    text = secret.hide(text.encode("utf-8", "replace").decode())
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
