"""`--key value` on the command line, for whatever arguments an environment takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def parse_options(words: Sequence[str]) -> dict[str, Any]:
    """Arguments of an environment: values are JSON where they can be read as such, else texts.

    >>> parse_options(["--dataset", "jsonl", "--max-turns", "3", "--show_options=true"])
    {'dataset': 'jsonl', 'max_turns': 3, 'show_options': True}

    Raises ValueError for a word without a key, a key without a value, and a key given twice.
    """
    options: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or len(word) == 2:
            raise ValueError(f"got {word!r}, expected --key value")
        key, equals, value = word[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ValueError(f"got {word!r} without a value, expected --{key} VALUE")
            value = rest.pop(0)
        name = key.replace("-", "_")
        if name in options:
            raise ValueError(f"--{key}: given twice")
        options[name] = read_value(value)
    return options


def read_value(text: str) -> Any:
    """JSON where the text can be read as such, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
