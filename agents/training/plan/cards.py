"""Graphics cards: what a plan has to know of them, from their makers' data sheets.

Arithmetic is that of dense bfloat16 on tensor cores, not the doubled figure for sparse matrices.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """One kind of GPU and what connects it to others of its machine."""

    name: str
    memory: float
    """GiB that programs see."""
    flops: float
    """Operations per second in bfloat16, at best."""
    bandwidth: float
    """Bytes per second between memory and chip, at best."""
    link: float
    """Bytes per second that it sends to the other cards of its machine, at best."""
    host: float
    """Bytes per second to main memory, at best."""


CARDS = {
    card.name: card
    for card in (
        Card("a100-40", 39.4, 312e12, 1.555e12, 300e9, 32e9),
        Card("a100-80", 79.3, 312e12, 2.039e12, 300e9, 32e9),
        Card("h100-80", 79.6, 989e12, 3.35e12, 450e9, 64e9),
        Card("h200-141", 139.8, 989e12, 4.8e12, 450e9, 64e9),
        Card("b200-180", 178.0, 2250e12, 7.7e12, 900e9, 64e9),
        Card("l40s-48", 44.4, 362e12, 0.864e12, 32e9, 32e9),
        Card("rtx4090-24", 23.6, 165e12, 1.008e12, 32e9, 32e9),
        Card("rtx5090-32", 31.4, 209e12, 1.792e12, 64e9, 64e9),
    )
}
DEFAULT = "h100-80"


def card_named(name: str) -> Card:
    """A card by its name, or the beginning of it (`h100`). Raises ValueError with the closest."""
    key = name.lower().replace("_", "-").removeprefix("nvidia-")
    found = [card for known, card in CARDS.items() if known == key or known.startswith(key + "-")]
    if len(found) == 1:
        return found[0]
    if found:
        expected = " or ".join(card.name for card in found)
        raise ValueError(f"--plan: got GPU {name!r}, expected {expected}: both are called so")
    close = difflib.get_close_matches(key, CARDS, n=1, cutoff=0.4)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ValueError(f"--plan: got GPU {name!r}, expected one of {', '.join(CARDS)}{hint}")
