"""Colours, markers, hatches and dashes of agents, runs and conditions.

The colours are those of Okabe and Ito, "Color Universal Design" (2008), which people with any of
the common colour deficiencies can tell apart. None of them says anything alone: what has a colour
has a hatch (bars), a marker and a dash (lines) of its own as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Theme:
    """What a figure is drawn on: a page in light or dark."""

    ink: str
    faint: str
    ground: str


LIGHT = Theme(ink="#24292f", faint="#d0d7de", ground="#ffffff")
DARK = Theme(ink="#e6edf3", faint="#3d444d", ground="#0d1117")

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
VERMILLION, SKY, YELLOW, GREY = "#D55E00", "#56B4E9", "#F0E442", "#666666"


@dataclass(frozen=True)
class Style:
    """How one thing looks in every figure of a page."""

    colour: str
    marker: str
    hatch: str
    dash: str

    def varied(self, lap: int) -> Style:
        """The same colour for another thing: another hatch, marker and dash."""
        if lap <= 0:
            return self
        at = (lap - 1) % len(LAPS)
        hatch, marker, dash = LAPS[at]
        return replace(self, hatch=hatch, marker=marker, dash=dash)


SLOTS = (
    Style(BLUE, "o", "", "-"),
    Style(ORANGE, "s", "//", "--"),
    Style(GREEN, "^", "..", "-."),
    Style(VERMILLION, "v", "\\\\", ":"),
    Style(SKY, "P", "++", "-"),
    Style(GREY, "D", "--", "--"),
    Style(YELLOW, "h", "xx", "-."),
    Style(PURPLE, "X", "oo", ":"),
)
"""In the order in which they are given out: neighbours differ most."""

LAPS = (("||", "<", ":"), ("OO", ">", "-."), ("**", "p", "--"))
"""(hatch, marker, dash) of the ninth thing, the seventeenth and so on."""

KNOWN = {
    "mgpo": SLOTS[0],
    "grpo": SLOTS[1],
    "oracle": SLOTS[2],
    "base": SLOTS[5],
    "centre": SLOTS[6],
    "random": SLOTS[7],
}
"""Names that look the same on every page."""


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name, all different as long as there are enough.

    >>> found = styles(["mine", "mgpo"])
    >>> found["mgpo"].colour == BLUE, found["mine"].colour == ORANGE
    (True, True)
    """
    order = list(dict.fromkeys(names))
    found = {name: KNOWN[name] for name in order if name in KNOWN}
    free = [slot for slot in SLOTS if slot not in found.values()]
    strangers = [name for name in order if name not in KNOWN]
    for place, name in enumerate(strangers):
        extra = place - len(free)
        found[name] = (
            free[place] if extra < 0 else SLOTS[extra % len(SLOTS)].varied(1 + extra // len(SLOTS))
        )
    return found
