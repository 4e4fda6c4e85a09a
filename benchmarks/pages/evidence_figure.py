"""The picture of the evidence: everybody's accuracy, and MGPO's with its crop replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evidence_result import NAMES, SHOWN
from .figures import TITLE, png
from .palette import LIGHT
from .plots import Bar, draw_bars

AGENT = "mgpo"
PART = "heldout"


def picture(evidence: Mapping[str, Any]) -> bytes:
    """A PNG on white: bars with 95% intervals, a dot for each training, and the line of chance."""
    results = evidence["results"][PART]
    chance = next((r["chance"] for r in results.values() if "chance" in r), None)
    figure = Figure(figsize=(11, 3.9), dpi=130, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1.05, 1))
    everybody = [_bar(NAMES[name], results[name], name) for name in NAMES if name in results]
    _panel(left, "Accuracy on held-out questions", everybody, chance)
    found = evidence["ablations"][PART].get(AGENT, {}).get("crop", {})
    crops = [_bar(words, found[value], AGENT) for value, words in SHOWN.items() if value in found]
    _panel(right, f"{NAMES[AGENT]}: what it sees as its crop", crops, chance)
    return png(figure, transparent=False)


def _panel(axes: Axes, title: str, bars: list[Bar], chance: float | None) -> None:
    draw_bars(axes, bars, LIGHT, chance)
    axes.set_title(title, fontsize=TITLE, loc="left", color=LIGHT.ink)


def _bar(label: str, summary: Mapping[str, Any], agent: str) -> Bar:
    dots = (summary.get("trainings") or {}).get("values", ())
    return Bar(label, summary["accuracy"], summary["interval"], agent, tuple(dots))
