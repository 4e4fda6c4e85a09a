"""One self-contained HTML page: what a page is made of, and how it is written.

Whatever a model or a dataset wrote is hostile text: the template escapes everything, the page loads
nothing, and its content security policy lets nothing run but its own script, which sorts tables.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .charts import Chart, chart_figure, told
from .figures import Draw, png_of
from .palette import DARK, LIGHT
from .plots import Bar, Panel, bars_figure, panel_figure

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
    opens_line: bool = False
    """Stands at the left, below those before it."""


@dataclass(frozen=True)
class Card:
    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """What stands in a table.

    >>> Cell("12.5%", 0.125).text
    '12.5%'
    """

    text: str
    value: float | None = None
    """What it is sorted by; None: by its text."""
    href: str = ""
    """Where it leads: a file beside the page."""
    wraps: bool = False
    """A sentence, not a number or a name."""


@dataclass(frozen=True)
class Table:
    """Sorts by any column. With `fold` it is closed at first, under that line."""

    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    caption: str = ""
    fold: str = ""

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows, every entry a Cell."""
        return [[Cell(c) if isinstance(c, str) else c for c in row] for row in self.rows]

    @property
    def kinds(self) -> list[str]:
        """What each column holds: `wraps`, `text`, or nothing for numbers."""
        columns = zip(*self.cells, strict=True)
        kinds = [
            "wraps"
            if any(cell.wraps for cell in column)
            else "text"
            if all(cell.value is None for cell in column)
            else ""
            for column in columns
        ]
        return kinds or [""] * len(self.header)


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
class Notice:
    """What has to be read before the numbers: a warning, or what the numbers allow to say."""

    title: str
    lines: Sequence[str]
    warns: bool = True


@dataclass(frozen=True)
class Section:
    title: str
    paragraphs: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    wide: bool = False
    """One picture per line instead of two."""
    small: bool = False
    """Up to three pictures per line."""
    tables: Sequence[Table] = ()
    questions: Sequence[Question] = ()
    links: Sequence[Cell] = ()
    level: int = 2
    """Of the heading; 2 is in the list of contents, 3 belongs to the 2 before it."""


@dataclass(frozen=True)
class Page:
    title: str
    lead: str
    cards: Sequence[Card] = ()
    sections: Sequence[Section] = field(default_factory=tuple)
    footer: Sequence[str] = ()
    notices: Sequence[Notice] = ()
    links: Sequence[Cell] = ()

    @property
    def contents(self) -> list[tuple[str, str]]:
        """(title, address) of the main sections."""
        return [(s.title, self.name_of(s)) for s in self.sections if s.level == 2]

    def name_of(self, section: Section) -> str:
        """A section's address inside the page; two datasets may differ in signs alone."""
        place = next(n for n, other in enumerate(self.sections) if other is section)
        return f"{anchor(section.title)}-{place}"


def write_page(page: Page, path: Path) -> Path:
    """Render a page to a file and return its path."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (TEMPLATES / "report.css").read_text("utf-8")
    script = (TEMPLATES / "report.js").read_text("utf-8")
    html = environment.get_template("report.html.j2").render(
        page=page,
        style=style,
        script=script,
        style_hash=csp_hash(style),
        script_hash=csp_hash(script),
        sortable=any(len(t.rows) > 1 for section in page.sections for t in section.tables),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, "utf-8", "backslashreplace")  # half a surrogate pair from a model
    return path


def csp_hash(text: str) -> str:
    """The source expression that lets an inline script or style of exactly this text in."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def drawn(draw: Draw, alt: str, caption: str = "") -> Picture:
    """A figure for light and dark pages."""
    light, dark = (data_url(png_of(draw, theme)) for theme in (LIGHT, DARK))
    return Picture(light, alt, dark, caption)


def panel_picture(panel: Panel, caption: str = "") -> Picture:
    return drawn(panel_figure(panel), f"{panel.title} over training steps", caption)


def bars_picture(
    bars: Sequence[Bar], chance: float | None, caption: str = "", title: str = ""
) -> Picture:
    alt = ", ".join(f"{bar.label} {percent(bar.value)}" for bar in bars)
    return drawn(bars_figure(bars, chance, title), alt, caption)


def chart_picture(chart: Chart, caption: str = "") -> Picture:
    return drawn(chart_figure(chart), told(chart), caption)


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def anchor(title: str) -> str:
    """A title as an address inside the page.

    >>> anchor("V* (test): all")
    'v-test-all'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
