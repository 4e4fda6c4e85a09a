"""How every figure is made: sizes, letters, and PNG bytes in a light and a dark version.

Figures are 3.9 inches wide or less: half a page on a screen, all of it on a phone, where the
smallest letters are still 9 pixels high.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from .palette import LIGHT, Style, Theme

Draw = Callable[[Theme], Figure]
"""Draws a figure for a theme."""

WIDTH, DOTS = 3.9, 180
"""Inches, and dots per inch."""
SMALL, NORMAL, TITLE = 7.5, 8.5, 9.5
"""Sizes of letters, points."""
OTHER_LETTERS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC"),
    *("PingFang SC", "Hiragino Sans GB", "Hiragino Sans", "Apple SD Gothic Neo"),
    *("Microsoft YaHei", "SimHei", "Yu Gothic", "Malgun Gothic", "Arial Unicode MS"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
)
"""Fonts for letters that matplotlib's own lacks, of which a machine has some or none."""


def png_of(draw: Draw, theme: Theme) -> bytes:
    """A figure with a transparent ground."""
    return png(draw(theme))


def png(figure: Figure, transparent: bool = True) -> bytes:
    buffer = io.BytesIO()
    installed = set(get_font_names())
    families = ["DejaVu Sans", *(name for name in OTHER_LETTERS if name in installed)]
    for text in figure.findobj(Text):
        text.set_fontfamily(families)
    with warnings.catch_warnings():  # a letter that all of them lack is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", transparent=transparent)
    return buffer.getvalue()


def new_figure(theme: Theme, height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """A figure with one chart in it."""
    figure = Figure(figsize=(width, height), dpi=DOTS, layout="constrained")
    axes = figure.add_subplot()
    dress(axes, theme)
    return figure, axes


def dress(axes: Axes, theme: Theme) -> None:
    """Faint lines, no frame, letters in the theme's ink."""
    axes.set_facecolor("none")
    axes.tick_params(colors=theme.ink, labelsize=NORMAL, length=0)
    axes.grid(color=theme.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)


def plain(text: str, letters: int = 30) -> str:
    r"""A foreign text for a figure: in one line, no formula, cut in the middle when too long.

    >>> plain("costs $5 or $6"), plain("abcdefghij", 7)
    ('costs \\$5 or \\$6', 'abc…hij')
    """
    clean = "".join(c if c.isprintable() else " " for c in text)
    if len(clean) > letters:
        half = (letters - 1) // 2
        clean = f"{clean[:half]}…{clean[-half:]}"
    clean = clean.replace("$", r"\$")
    return f" {clean}" if clean.startswith("_") else clean  # matplotlib hides such labels


def wrapped(text: str, letters: int = 17) -> str:
    """A foreign text for a figure in one line, or in two of about so many letters.

    >>> wrapped("counting of small things").splitlines()
    ['counting of', 'small things']
    """
    short = plain(text, 2 * letters - 4)
    if len(short) <= letters:
        return short
    for width in range(len(short) // 2, len(short)):
        lines = textwrap.wrap(short, width)
        if len(lines) <= 2:
            return "\n".join(lines)
    return short


def share_marks(axes: Axes) -> None:
    """Shares along x: a line at every quarter, a number at every half, for narrow charts."""
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0%", "", "50%", "", "100%"])


def shares(axis: Any) -> None:
    """Percent signs on an axis of shares; small ones with the digits that tell marks apart."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}%"))


def whiskers(value: float, interval: Sequence[float]) -> list[list[float]]:
    """An interval [low, high] as matplotlib wants it; an interval may lie beside its value."""
    low, high = interval
    return [[max(value - low, 0.0)], [max(high - value, 0.0)]]


def bar_look(style: Style, theme: Theme) -> dict[str, Any]:
    """Fill, hatch and outline of a bar."""
    return {
        "color": style.colour,
        "hatch": style.hatch,
        "hatchcolor": LIGHT.ink,  # on the bar's own colour: dark in both themes
        "edgecolor": theme.ink,
        "linewidth": 0.6,
        "hatch_linewidth": 0.5,
    }


OVER = {"-": 2.1, "--": 2.2, "-.": 2.3, ":": 2.4}
"""Lines with gaps are drawn over those without: where two are equal, both are seen."""


def line_look(style: Style, theme: Theme) -> dict[str, Any]:
    """Colour, dash and outlined marker of a line."""
    return {
        "zorder": OVER[style.dash],
        "color": style.colour,
        "linestyle": style.dash,
        "linewidth": 1.8,
        "marker": style.marker,
        "markersize": 5.5,
        "markeredgecolor": theme.ink,
        "markeredgewidth": 0.6,
    }


def legend(axes: Axes, theme: Theme, **options: Any) -> None:
    """Names of lines and bars, dashes long enough to be told apart."""
    look = {"fontsize": SMALL, "frameon": False, "labelcolor": theme.ink, "handlelength": 2.8}
    axes.legend(**{**look, **options})


def outside_legend(
    axes: Axes, theme: Theme, place: Literal["outside upper center", "outside lower center"]
) -> None:
    """Names above or below the chart, in as many columns as the figure has room for.

    It belongs to the figure: long names take nothing from the width of the chart.
    """
    figure = axes.figure
    handles, names = axes.get_legend_handles_labels()
    handles = [_without_intervals(handle) for handle in handles]
    for columns in range(min(4, len(names)), 0, -1):
        found: Legend = figure.legend(
            handles,
            names,
            loc=place,
            ncols=columns,
            fontsize=SMALL,
            frameon=False,
            labelcolor=theme.ink,
            handlelength=2.6,
            columnspacing=1.4,
        )
        if columns == 1 or found.get_window_extent().width <= 0.98 * figure.bbox.width:
            return
        found.remove()


def _without_intervals(handle: Any) -> Any:
    """Of a line with intervals the line alone: its mark is seen better."""
    return handle[0] if isinstance(handle, ErrorbarContainer) else handle


def chance_line(axes: Axes, theme: Theme, chance: float, vertical: bool) -> None:
    """A dotted line where guessing would be."""
    draw = axes.axvline if vertical else axes.axhline
    draw(chance, color=theme.ink, linestyle=(0, (1, 2)), linewidth=1.1)
