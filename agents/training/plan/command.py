"""`python -m agents.train CONFIG --plan [GPU] [--json] [--section.key value ...]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from ...config import load
from ...failures import FAILURES, told
from . import plan
from .report import as_json, show

FLAG = "--plan"


def is_asked(words: Sequence[str]) -> bool:
    """Whether the command line asks for a plan instead of training."""
    return any(word == FLAG or word.startswith(FLAG + "=") for word in words)


def plan_command(words: Sequence[str]) -> int:
    """Print the plan; exit code: 0 it fits, 1 it does not, 2 bad input."""
    gpu, wants_json, rest = split(words)
    try:
        if not rest:
            raise ValueError(f"{FLAG}: got no config, expected CONFIG {FLAG} [GPU]")
        made = plan(load(rest[0], rest[1:]), gpu)
        if wants_json:
            print(json.dumps(as_json(made), indent=2))
        else:
            show(made)
    except FAILURES as error:
        print(f"error: {told(error)}", file=sys.stderr)
        return 2
    return 0 if made.fits else 1


def split(words: Sequence[str]) -> tuple[str, bool, list[str]]:
    """The GPU, whether JSON is wanted, and the other words.

    >>> split(["a.yaml", "--plan", "h200", "--seed", "1"])
    ('h200', False, ['a.yaml', '--seed', '1'])
    """
    gpu, wants_json, rest = "", False, []
    waiting = iter(words)
    for word in waiting:
        if word == "--json":
            wants_json = True
        elif word == FLAG:
            after = next(waiting, "")
            named = after and not after.startswith("--") and not after.endswith((".yaml", ".yml"))
            gpu = after if named else gpu
            if after == "--json":
                wants_json = True
            elif after and not named:
                rest.append(after)
        elif word.startswith(FLAG + "="):
            gpu = word.partition("=")[2]
        else:
            rest.append(word)
    return gpu, wants_json, rest
