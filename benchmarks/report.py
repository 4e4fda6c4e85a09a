"""One self-contained HTML page: what a page is made of, and how it is written.

Whatever a model or a dataset wrote is hostile text: the template escapes everything, loads
nothing and runs no script.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .plots import DARK, LIGHT, Bar, Panel, bars_png, panel_png

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Picture:
    """An image as data URLs; `dark` may be empty."""

    light: str
    alt: str
    dark: str = ""
    caption: str = ""
    pixelated: bool = False
    """Enlarge without smoothing: show the pixels a model saw."""


@dataclass(frozen=True)
class Card:
    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class TurnView:
    text: str
    reply: str
    note: str = ""


@dataclass(frozen=True)
class EpisodeView:
    """One agent's episode on one question."""

    agent: str
    outcome: str
    correct: bool
    pictures: Sequence[Picture]
    turns: Sequence[TurnView]


@dataclass(frozen=True)
class Question:
    """One question and what several agents made of it."""

    id: str
    text: str
    options: str
    gold: str
    views: Sequence[EpisodeView]


@dataclass(frozen=True)
class Section:
    title: str
    paragraphs: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    wide: bool = False
    """One picture per line instead of a grid."""
    tables: Sequence[Table] = ()
    questions: Sequence[Question] = ()


@dataclass(frozen=True)
class Page:
    title: str
    lead: str
    cards: Sequence[Card] = ()
    sections: Sequence[Section] = field(default_factory=tuple)
    footer: Sequence[str] = ()


def write_page(page: Page, path: Path) -> Path:
    """Render a page to a file and return its path."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment.get_template("report.html.j2").render(page=page), "utf-8")
    return path


def data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def panel_picture(panel: Panel, caption: str = "") -> Picture:
    light, dark = (data_url(panel_png(panel, theme)) for theme in (LIGHT, DARK))
    return Picture(light, f"{panel.title} over training steps", dark, caption)


def bars_picture(bars: Sequence[Bar], chance: float | None, caption: str = "") -> Picture:
    light, dark = (data_url(bars_png(bars, theme, chance)) for theme in (LIGHT, DARK))
    alt = ", ".join(f"{bar.label} {100 * bar.value:.1f}%" for bar in bars)
    return Picture(light, alt, dark, caption)


COLUMNS: Mapping[str, str] = {
    "score": "mean score",
    "valid_box_rate": "valid boxes",
    "hit_rate": "hit rate",
    "hit_rate_greedy": "hit rate, greedy",
    "hit_rate_sampled": "hit rate, sampled",
    "iou": "IoU",
    "coverage": "coverage",
    "box_side": "box side, ‰",
}


def summary_table(summaries: Mapping[str, Mapping[str, Any]], first: str = "agent") -> Table:
    """Accuracy with n and interval, how many of the n failed, where some did, then those box
    measures that any of the rows has."""
    columns = [name for name in COLUMNS if any(name in s for s in summaries.values())]
    failed = any(map(failures, summaries.values()))
    header = [first, "accuracy", "95% interval", "n", *(["failed"] if failed else [])]
    rows = []
    for label, summary in summaries.items():
        low, high = summary["interval"]
        cells = [label, percent(summary["accuracy"]), f"{percent(low)} – {percent(high)}"]
        cells += [str(summary["n"]), *([_failed_text(summary)] if failed else [])]
        rows.append([*cells, *(_cell(name, summary) for name in columns)])
    return Table([*header, *(COLUMNS[name] for name in columns)], rows)


def failures(summary: Mapping[str, Any]) -> int:
    """Episodes that ended with an error, sampled ones included."""
    return summary.get("outcomes", {}).get("error", 0) + summary.get("failed_sampled", 0)


def failed_line(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line when any episode failed: the accuracies then say less than they seem to."""
    parts = [f"{label} {failures(s)}" for label, s in summaries.items() if failures(s)]
    if not parts:
        return []
    return [
        f"Episodes failed: {', '.join(parts)}. They count as wrong answers, so these accuracies "
        "are lower bounds; --resume plays them again."
    ]


def _failed_text(summary: Mapping[str, Any]) -> str:
    drawn = summary.get("failed_sampled", 0)
    greedy = failures(summary) - drawn
    return f"{greedy} + {drawn} sampled" if drawn else str(greedy)


def aggregation_table(summaries: Mapping[str, Mapping[str, Any]]) -> Table:
    """The numbers that the benchmark reports by name, each with its interval; "partial" where the
    questions asked are not all that the name stands for. A second row per agent: the same replies
    by the benchmark's own rules."""
    parts: dict[str, Mapping[str, Any]] = {}
    for label, summary in summaries.items():
        parts[label] = summary.get("aggregations", {})
        if "official" in summary:
            parts[f"{label}, official rules"] = summary["official"]
    names = list(dict.fromkeys(name for part in parts.values() for name in part))
    rows = [
        [label, *(_aggregated(part.get(name)) for name in names)] for label, part in parts.items()
    ]
    return Table(["agent", *names], rows)


def _aggregated(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    if "value" not in found:
        return "partial"
    low, high = found["interval"]
    return f"{percent(found['value'])} ({percent(low)} – {percent(high)})"


def usage_table(summaries: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """What the agents on a server cost; None when there is none."""
    used = {label: s["usage"] for label, s in summaries.items() if "usage" in s}
    names = list(dict.fromkeys(name for usage in used.values() for name in usage))
    header = ["agent", *(name.replace("_", " ") for name in names)]
    rows = [[label, *(_amount(usage.get(name)) for name in names)] for label, usage in used.items()]
    return Table(header, rows) if used else None


def _amount(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _cell(name: str, summary: Mapping[str, Any]) -> str:
    if name not in summary:
        return "–"
    return f"{summary[name]:.0f}" if name == "box_side" else percent(summary[name])
