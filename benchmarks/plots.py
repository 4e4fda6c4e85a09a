"""Figures as PNG bytes, each in a light and a dark version with a transparent background."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

Series = tuple[Sequence[float], Sequence[float]]
"""Steps and values."""


@dataclass(frozen=True)
class Theme:
    ink: str
    faint: str


LIGHT = Theme(ink="#24292f", faint="#d0d7de")
DARK = Theme(ink="#e6edf3", faint="#3d444d")

COLOURS = {
    "base": "#8b949e",
    "grpo": "#dd7a1c",
    "mgpo": "#2f81f7",
    "random": "#b8a4d9",
    "centre": "#c7b26a",
    "oracle": "#3fa876",
}
OTHERS = ("#c05299", "#5e9ea0", "#a0785a", "#7f8fa6")


@dataclass(frozen=True)
class Panel:
    """One small chart over training steps."""

    title: str
    series: Mapping[str, Series]
    """Run -> steps and values."""
    percent: bool = True
    reference: float | None = None
    """Height of a dashed line: chance, or the warm start."""
    smooth: int = 1
    """Steps of a centred moving average, drawn over the pale raw values."""


@dataclass(frozen=True)
class Bar:
    """One bar: a share, its interval [low, high] and the agent that gives it its colour."""

    label: str
    value: float
    interval: Sequence[float]
    agent: str


def colour(agent: str, order: Sequence[str] = ()) -> str:
    """The colour of an agent; agents without one of their own get colours by their order."""
    strangers = [name for name in order if name not in COLOURS]
    index = strangers.index(agent) if agent in strangers else 0
    return COLOURS.get(agent, OTHERS[index % len(OTHERS)])


def panel_png(panel: Panel, theme: Theme) -> bytes:
    """One panel, 3.4 x 2.4 inches at 150 dots."""
    figure = Figure(figsize=(3.4, 2.4), dpi=150, layout="constrained")
    draw_panel(figure.add_subplot(), panel, theme)
    return _png(figure)


def draw_panel(axes: Axes, panel: Panel, theme: Theme) -> None:
    _style(axes, theme)
    axes.set_title(panel.title, color=theme.ink, fontsize=10, loc="left")
    if panel.reference is not None:
        axes.axhline(panel.reference, color=theme.ink, linestyle=":", linewidth=1, alpha=0.7)
    for name, (steps, values) in panel.series.items():
        line = colour(name, list(panel.series))
        few = len(steps) <= 20
        if panel.smooth > 1:
            axes.plot(steps, values, color=line, alpha=0.25, linewidth=0.8)
            values = moving_average(values, panel.smooth)
        style = {"marker": "o", "markersize": 3.0} if few else {}
        axes.plot(steps, values, color=line, linewidth=1.8, label=name.upper(), **style)  # type: ignore[arg-type]
    if panel.percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f}%"))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(panel.series) > 1:
        axes.legend(fontsize=7, frameon=False, labelcolor=theme.ink, loc="best")


def bars_png(bars: Sequence[Bar], theme: Theme, chance: float | None = None) -> bytes:
    """Horizontal bars with intervals and the chance line."""
    figure = Figure(figsize=(6.4, 0.5 + 0.42 * len(bars)), dpi=150, layout="constrained")
    draw_bars(figure.add_subplot(), bars, theme, chance)
    return _png(figure)


def draw_bars(axes: Axes, bars: Sequence[Bar], theme: Theme, chance: float | None) -> None:
    _style(axes, theme)
    order = list(dict.fromkeys(bar.agent for bar in bars))
    for y, bar in enumerate(bars):
        axes.barh(y, bar.value, color=colour(bar.agent, order), height=0.66)
        low, high = bar.interval
        errors = [[max(bar.value - low, 0)], [max(high - bar.value, 0)]]
        axes.errorbar(bar.value, y, xerr=errors, color=theme.ink, capsize=2.5, linewidth=1)
        axes.text(
            high + 0.015, y, f"{100 * bar.value:.1f}%", va="center", fontsize=8, color=theme.ink
        )
    if chance is not None:
        axes.axvline(chance, color=theme.ink, linestyle=":", linewidth=1)
        axes.text(chance, -0.62, " chance", fontsize=7, color=theme.ink, va="bottom")
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
    axes.set_ylim(len(bars) - 0.4, -0.75)
    axes.set_xlim(0, 1.15)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f}%"))


def overview_png(bars: Sequence[Bar], chance: float | None, panels: Sequence[Panel]) -> bytes:
    """The picture for a page that is not ours: white ground, bars and up to four panels."""
    figure = Figure(figsize=(11, 4.4), dpi=130, layout="constrained", facecolor="white")
    grid = figure.add_gridspec(2, 3, width_ratios=(1.6, 1, 1))
    axes = figure.add_subplot(grid[:, 0])
    draw_bars(axes, bars, LIGHT, chance)
    axes.set_title("Accuracy on held-out questions (95% intervals)", fontsize=10, loc="left")
    for n, panel in enumerate(panels[:4]):
        draw_panel(figure.add_subplot(grid[n // 2, 1 + n % 2]), panel, LIGHT)
    return _png(figure, transparent=False)


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """Centred mean over `window` values, over fewer at the ends.

    >>> moving_average([1.0, 2.0, 6.0], 3)
    [1.5, 3.0, 4.0]
    """
    half = window // 2
    cuts = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(cut) / len(cut) for cut in cuts]


def _style(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=theme.ink, labelsize=8, length=0)
    axes.grid(color=theme.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)


def _png(figure: Figure, transparent: bool = True) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=transparent)
    return buffer.getvalue()
