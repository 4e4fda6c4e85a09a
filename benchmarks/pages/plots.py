"""Bars with intervals and curves over training steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .figures import (
    NORMAL,
    SMALL,
    TITLE,
    Draw,
    bar_look,
    chance_line,
    dress,
    legend,
    line_look,
    new_figure,
    plain,
    png,
    share_marks,
    shares,
    whiskers,
    wrapped,
)
from .palette import LIGHT, Theme, styles

Series = tuple[Sequence[float], Sequence[float]]
"""Steps and values."""
PANEL = 3.6
"""Width of a panel, inches: three of them stand side by side."""
FEW = 6
"""Steps that are all written below a panel."""
MARKED = 8
"""Markers on a curve, at most about so many."""


@dataclass(frozen=True)
class Panel:
    """One small chart over training steps."""

    title: str
    series: Mapping[str, Series]
    """Run -> steps and values."""
    percent: bool = True
    reference: float | None = None
    """Height of a dotted line: chance, or the warm start."""
    smooth: int = 1
    """Steps of a centred moving average, drawn over the pale raw values."""
    order: Sequence[str] = ()
    """All runs of the page: each looks the same in every panel."""
    intervals: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    """Run -> [low, high] of each of its values, for shares of few questions."""


@dataclass(frozen=True)
class Bar:
    """One bar: a share, its interval [low, high] and the agent that gives it its look."""

    label: str
    value: float
    interval: Sequence[float]
    agent: str
    dots: Sequence[float] = ()
    """Single values behind it: one per training."""
    lap: int = 0
    """Which variant of its agent it is: 1 and more have other hatches."""
    order: Sequence[str] = ()
    """All agents of the page: each looks the same in every figure."""


def panel_figure(panel: Panel) -> Draw:
    def draw(theme: Theme) -> Figure:
        figure, axes = new_figure(theme, 2.7, PANEL)
        draw_panel(axes, panel, theme)
        return figure

    return draw


def draw_panel(axes: Axes, panel: Panel, theme: Theme) -> None:
    """Curves of all runs, the raw values pale where they are smoothed."""
    dress(axes, theme)
    axes.set_title(plain(panel.title, 60), color=theme.ink, fontsize=TITLE, loc="left")
    if panel.reference is not None:
        chance_line(axes, theme, panel.reference, vertical=False)
    looks = styles(panel.order or panel.series)
    for name, (steps, values) in panel.series.items():
        look = line_look(looks[name], theme)
        if panel.smooth > 1:
            axes.plot(steps, values, color=look["color"], alpha=0.3, linewidth=0.8)
            values = moving_average(values, panel.smooth)
        every = max(1, len(steps) // MARKED)
        axes.plot(steps, values, label=plain(name), markevery=every, **look)
        for step, value, bounds in zip(steps, values, panel.intervals.get(name, ()), strict=False):
            errors = whiskers(value, bounds)
            axes.errorbar(step, value, errors, color=look["color"], linewidth=1.0, capsize=2)
    if panel.percent:
        shares(axes.yaxis)
    else:  # whole numbers at every mark: a power of ten above the axis is easily missed
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    every_value = [value for _, values in panel.series.values() for value in values]
    if min(every_value, default=0.0) >= 0:
        tops = [high for found in panel.intervals.values() for _, high in found]
        axes.set_ylim(0, 1.08 * max([*every_value, *tops, panel.reference or 0.0]) or 1.0)
    _steps(axes, panel, theme)
    if len(panel.series) > 1:
        legend(axes, theme, loc="best")


def _steps(axes: Axes, panel: Panel, theme: Theme) -> None:
    """Marks at the steps themselves where they are few, for evaluations are."""
    steps = sorted({step for found, _ in panel.series.values() for step in found})
    if len(steps) <= FEW:
        axes.set_xticks(steps)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("step", color=theme.ink, fontsize=SMALL)


def bars_figure(bars: Sequence[Bar], chance: float | None = None, title: str = "") -> Draw:
    """Horizontal bars with intervals and the chance line."""

    def draw(theme: Theme) -> Figure:
        figure, axes = new_figure(theme, 0.6 + 0.36 * len(bars) + (0.25 if title else 0))
        draw_bars(axes, bars, theme, chance)
        axes.set_title(plain(title, 60), color=theme.ink, fontsize=TITLE, loc="left")
        return figure

    return draw


def draw_bars(axes: Axes, bars: Sequence[Bar], theme: Theme, chance: float | None) -> None:
    dress(axes, theme)
    axes.grid(visible=False, axis="y")
    looks = styles(name for bar in bars for name in (*bar.order, bar.agent))
    for y, bar in enumerate(bars):
        style = looks[bar.agent].varied(bar.lap)
        axes.barh(y, bar.value, height=0.66, **bar_look(style, theme))
        _interval(axes, y, bar, theme)
    if chance is not None:
        chance_line(axes, theme, chance, vertical=True)
        axes.text(chance, -0.58, " chance", fontsize=SMALL, color=theme.ink, va="bottom")
    axes.set_yticks(range(len(bars)), [wrapped(bar.label) for bar in bars])
    axes.set_ylim(len(bars) - 0.4, -0.95 if chance is not None else -0.6)
    axes.set_xlim(0, 1.2)
    share_marks(axes)


def _interval(axes: Axes, y: float, bar: Bar, theme: Theme) -> None:
    errors = whiskers(bar.value, bar.interval)
    # Twice, thick in the colour of the ground below: seen on the bar and beside it.
    for colour, width in ((theme.ground, 3.0), (theme.ink, 1.2)):
        axes.errorbar(bar.value, y, xerr=errors, color=colour, capsize=2.5, linewidth=width)
    if len(bar.dots) > 1:
        heights = [y + 0.16 * (-1) ** place for place in range(len(bar.dots))]
        axes.scatter(bar.dots, heights, s=13, color=theme.ground, edgecolor=theme.ink, zorder=5)
    text = f"{100 * bar.value:.1f}%"
    right = max(bar.interval[1], bar.value, *bar.dots) + 0.02
    axes.text(right, y, text, va="center", fontsize=NORMAL, color=theme.ink)


def overview_png(bars: Sequence[Bar], chance: float | None, panels: Sequence[Panel]) -> bytes:
    """The picture for a page that is not ours: white ground, bars and up to four panels."""
    figure = Figure(figsize=(11, 4.8), dpi=130, layout="constrained", facecolor="white")
    grid = figure.add_gridspec(2, 3, width_ratios=(1.6, 1, 1))
    axes = figure.add_subplot(grid[:, 0])
    draw_bars(axes, bars, LIGHT, chance)
    axes.set_title("Accuracy on held-out questions (95% intervals)", fontsize=10, loc="left")
    for n, panel in enumerate(panels[:4]):
        draw_panel(figure.add_subplot(grid[n // 2, 1 + n % 2]), panel, LIGHT)
    return png(figure, transparent=False)


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """Centred mean over `window` values, over fewer at the ends.

    >>> moving_average([1.0, 2.0, 6.0], 3)
    [1.5, 3.0, 4.0]
    """
    half = window // 2
    cuts = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(cut) / len(cut) for cut in cuts]
