"""Who the agents of a trace are: models, scripts, ablations of another agent.

A benchmark says so in the `manifest.json` beside its episodes; without one the names have to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..scripted import SCRIPTED

MANIFEST = "manifest.json"
_VARIANT = re.compile(r"(.+) \[[^\]]*=[^\]]*\]", re.DOTALL)
"""`mgpo [crop=blank]`, an ablation of mgpo."""


@dataclass(frozen=True, slots=True)
class Player:
    """An agent as its own trace calls it."""

    name: str
    scripted: bool
    variant_of: str
    """The agent that this is an ablation of; empty: of none."""


def read_players(folder: Path) -> dict[str, Player]:
    """The agents of the manifest in a folder, by name; none where there is no readable one.

    `floor=random` of a command line is a script called floor:

    >>> read_players(Path("runs/bench"))["floor"].scripted
    True
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    agents = manifest.get("agents") if isinstance(manifest, dict) else None
    if not isinstance(agents, dict):
        return {}
    return {name: _told(name, one) for name, one in agents.items() if isinstance(one, dict)}


def by_name(name: str) -> Player:
    """What a name alone says.

    >>> by_name("mgpo [crop=blank]").variant_of
    'mgpo'
    """
    found = _VARIANT.fullmatch(name)
    return Player(name, name in SCRIPTED, found[1] if found else "")


def rivals(players: Mapping[str, Player]) -> list[str]:
    """The agents among whom "disagree" means something, as the page calls them.

    Ablations of another agent are left out, and of the others those that follow a script where at
    least two do not: an oracle disagrees with everybody who is wrong.

    >>> names = ["random", "oracle", "grpo", "mgpo", "mgpo [crop=blank]"]
    >>> rivals({name: by_name(name) for name in names})
    ['grpo', 'mgpo']
    """
    known = {player.name for player in players.values()} - {""}
    plain = {shown: one for shown, one in players.items() if one.variant_of not in known}
    models = [shown for shown, one in plain.items() if not one.scripted]
    return models if len(models) > 1 else [*plain]


def _told(name: str, entry: Mapping[str, Any]) -> Player:
    """Scripted agents need no engine."""
    return Player(name, "engine" not in entry, str(entry.get("variant_of") or ""))
