"""The key of a chat server: where it comes from, and how it stays out of all that is written down.

Servers and the HTTP library repeat what they were sent, whole or cut short, in errors, in answers
that are none and even in replies. So texts are masked as they come, before anything cuts them.
"""

from __future__ import annotations

import os
import re

MASK = "***"
PIECE = 8
"""Characters of a key in a row that are masked in messages; fewer for keys under 16 characters."""
REPLY_PIECE = 16
"""The same for replies, which are answers: what looks like a word in them stays."""

NAMES_SECRET = re.compile(
    r"(^|.*[_-])(api_?key|(?<!cache_)key|secret|password|authorization|auth|bearer|credentials?"
    r"|headers?|cookies?|(api|access|auth|secret|bearer|hf)[_-]?token)$|^token$",
    re.IGNORECASE,
)
"""Names under which a secret may stand; `prompt_cache_key` is none."""
LOOKS_SECRET = re.compile(r"\s*(bearer\s|basic\s|sk-)", re.IGNORECASE)


class Secret:
    """A key that masks itself; an empty one masks nothing.

    >>> Secret("sk-0123456789abcdef").hide("got 'Bearer sk-0123456789abcdef', or sk-01234…")
    "got 'Bearer ***', or ***…"
    """

    def __init__(self, key: str = "") -> None:
        self.key = key

    def __repr__(self) -> str:
        return "Secret(***)" if self.key else "Secret()"

    def hide(self, text: str) -> str:
        """A message without the key and without larger pieces of it, in any case of letters."""
        size = len(self.key)
        return self._hide(text, min(size, max(6, min(PIECE, size // 2))))

    def hide_in_reply(self, text: str) -> str:
        """A reply without the key. Stand-ins such as `EMPTY`, which are words, hide nothing."""
        return self._hide(text, min(len(self.key), REPLY_PIECE)) if self.telling else text

    @property
    def telling(self) -> bool:
        """Whether the key is long and odd enough not to stand in a text by chance."""
        return len(self.key) >= 8 and not self.key.isalpha()

    def _hide(self, text: str, size: int) -> str:
        """Every run of `size` characters or more of the key becomes a mask."""
        if not self.key:
            return text
        lower = text.lower()
        if len(lower) != len(text):  # a letter that has more of them as a small one
            lower = text
        key = self.key if lower is text else self.key.lower()
        found = []
        for piece in {key[n : n + size] for n in range(len(key) - size + 1)}:
            at = lower.find(piece)
            while at >= 0:
                found.append(at)
                at = lower.find(piece, at + 1)
        out, end = [], 0
        for n, at in enumerate(sorted(found)):
            if n == 0 or at > end:
                out += [text[end:at], MASK]
            end = at + size
        return "".join([*out, text[end:]])


def read_key(name: str, url: str) -> str:
    """The key in the environment variable `name`, without white space around it.

    Raises ValueError, which never shows the key, for one that is not set or cannot be sent.
    """
    if not name:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        raise ValueError(
            f"engine openai: the environment variable {name} is not set; it must hold the key of "
            f"{url} (or set engine.key_env to '' where none is needed)"
        )
    if not all("!" <= one <= "~" for one in key):
        raise ValueError(
            f"engine openai: the environment variable {name} holds characters that no key has; "
            f"expected the key of {url}: letters, digits and signs of ASCII, without white space"
        )
    return key


def secret_in(value: object, at: str = "") -> str:
    """Where in a nested value a text stands that is a secret by its name or its beginning, or ''.

    >>> secret_in({"a": [{"api_key": "x"}]}), secret_in({"max_tokens_key": 3, "b": "text"})
    ('a.0.api_key', '')
    """
    if isinstance(value, dict):
        items = [(str(name), part) for name, part in value.items()]
    elif isinstance(value, list | tuple):
        items = [(str(n), part) for n, part in enumerate(value)]
    else:
        return at if isinstance(value, str) and LOOKS_SECRET.match(value) else ""
    for name, part in items:
        here = f"{at}.{name}" if at else name
        if NAMES_SECRET.match(name) and isinstance(part, str | dict | list | tuple):
            return here
        if found := secret_in(part, here):
            return found
    return ""
