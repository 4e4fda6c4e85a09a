"""Figures of a benchmark beside the bars: categories, conditions, curves, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from .figures import (
    NORMAL,
    SMALL,
    TITLE,
    Draw,
    bar_look,
    chance_line,
    line_look,
    new_figure,
    outside_legend,
    plain,
    share_marks,
    shares,
    whiskers,
    wrapped,
)
from .palette import Theme, styles

ROOM = 1.3
"""How many times a mark must be the one before it, for both to be written."""
MOST_ROWS = 40
"""Bars in one figure of categories; more are in the table alone."""


@dataclass(frozen=True)
class Point:
    """A share at some place of an axis, with its interval [low, high]."""

    x: float
    value: float
    interval: Sequence[float]
    label: str = ""
    """Where it is, in words."""


@dataclass(frozen=True)
class Chart:
    """Points by agent; each agent looks as it does in every other figure of the page."""

    title: str
    x_title: str
    series: Mapping[str, Sequence[Point]]
    order: Sequence[str]
    """All agents of the page."""
    chance: float | None = None
    guessing: Sequence[tuple[float, float]] = ()
    """Chance where it is not the same everywhere: (place, share) from left to right."""
    doubles: bool = True
    """The axis doubles from mark to mark."""
    joined: bool = True
    """A line through the points of an agent."""
    y_title: str = "accuracy"


def chart_figure(chart: Chart) -> Draw:
    """Points with intervals over a number: pixel budget, turns, samples, cost."""

    def draw(theme: Theme) -> Figure:
        figure, axes = new_figure(theme, 3.0)
        looks = styles(chart.order)
        for name, points in chart.series.items():
            look = line_look(looks[name], theme)
            if not chart.joined:
                look["linestyle"] = "none"
            xs, values = [p.x for p in points], [p.value for p in points]
            errors = [
                [e[side][0] for e in (whiskers(p.value, p.interval) for p in points)]
                for side in (0, 1)
            ]
            axes.errorbar(
                xs,
                values,
                yerr=errors,
                capsize=2.5,
                elinewidth=1.1,
                ecolor=theme.ink,
                label=plain(name, 30),
                **look,
            )
        _finish(axes, chart, theme)
        return figure

    return draw


def told(chart: Chart) -> str:
    """The points in words, for who cannot see them."""
    lines = [
        *_told_of_guessing(chart),
        *(
            f"{name}: " + ", ".join(f"{point.label} {100 * point.value:.1f}%" for point in points)
            for name, points in chart.series.items()
        ),
    ]
    return f"{chart.title}. {'; '.join(lines)}"


def _told_of_guessing(chart: Chart) -> list[str]:
    if not chart.guessing:
        return []
    return ["guessing: " + ", ".join(f"{x:g} {100 * value:.1f}%" for x, value in chart.guessing)]


def _finish(axes: Axes, chart: Chart, theme: Theme) -> None:
    axes.set_title(plain(chart.title, 60), color=theme.ink, fontsize=TITLE, loc="left")
    axes.set_xlabel(chart.x_title, color=theme.ink, fontsize=NORMAL)
    axes.set_ylabel(chart.y_title, color=theme.ink, fontsize=NORMAL)
    axes.set_ylim(0, 1.05)
    shares(axes.yaxis)
    _scale(axes, chart, theme)
    if chart.chance is not None:
        chance_line(axes, theme, chart.chance, vertical=False)
        _beside(axes, chart.chance, "chance", theme)
    if chart.guessing:
        xs, values = zip(*chart.guessing, strict=True)
        axes.plot(xs, values, color=theme.ink, linestyle=(0, (1, 2)), linewidth=1.3)
        _beside(axes, values[-1], "guessing", theme)
    if len(chart.series) > 1:
        outside_legend(axes, theme, "outside lower center")


def _beside(axes: Axes, y: float, words: str, theme: Theme) -> None:
    """Words to the right of the chart: inside, a point may lie there."""
    across = axes.get_yaxis_transform()
    axes.text(1.01, y, words, fontsize=SMALL, color=theme.ink, va="center", transform=across)


def _scale(axes: Axes, chart: Chart, theme: Theme) -> None:
    """Marks where the points are if there is room, else round ones; logarithmic where that helps,
    which the axis says unless its marks do."""
    marks = sorted({point.x for points in chart.series.values() for point in points})
    first, last = marks[0], marks[-1]
    room = len(marks) <= 6 and all(after > ROOM * mark for mark, after in pairwise(marks))
    if chart.doubles and first > 0 and (room or last > 4 * first):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(first / 1.35, last * 1.35)
        if not room:
            axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
            axes.set_xlabel(f"{chart.x_title} (logarithmic)", color=theme.ink, fontsize=NORMAL)
    elif not room:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.08)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    if room:
        axes.set_xticks(marks)


@dataclass(frozen=True)
class Groups:
    """Bars in groups: a share with its interval for each (group, agent) that there is."""

    groups: Sequence[str]
    values: Mapping[tuple[str, str], tuple[float, Sequence[float]]]
    agents: Sequence[str]
    order: Sequence[str]
    """All agents of the page."""
    chances: Mapping[str, float]
    """Of guessing, by group."""


def groups_figure(table: Groups) -> Draw:
    """A group of bars per category: one bar per agent, its interval, a dotted mark at chance."""

    def draw(theme: Theme) -> Figure:
        rows = len(table.groups) * len(table.agents)
        figure, axes = new_figure(theme, 1.0 + 0.19 * rows + 0.12 * len(table.groups))
        axes.grid(visible=False, axis="y")
        looks, height = styles(table.order), 0.8 / len(table.agents)
        for place, agent in enumerate(table.agents):
            look = bar_look(looks[agent], theme)
            for y, group in enumerate(table.groups):
                _group_bar(
                    axes,
                    table,
                    (group, agent),
                    y - 0.4 + (place + 0.5) * height,
                    {**look, "height": height * 0.92},
                    theme,
                )
            axes.barh(-9, 0, label=plain(agent, 30), **look)  # out of sight: for the legend
        for y, group in enumerate(table.groups):
            if group in table.chances:
                axes.plot(
                    [table.chances[group]] * 2,
                    [y - 0.45, y + 0.45],
                    color=theme.ink,
                    linestyle=(0, (1, 1)),
                    linewidth=1.2,
                )
        axes.set_yticks(range(len(table.groups)), [wrapped(g) for g in table.groups])
        axes.set_ylim(len(table.groups) - 0.5, -0.5)
        axes.set_xlim(0, 1.17)
        share_marks(axes)
        outside_legend(axes, theme, "outside upper center")
        return figure

    return draw


def _group_bar(
    axes: Axes,
    table: Groups,
    key: tuple[str, str],
    y: float,
    look: Mapping[str, object],
    theme: Theme,
) -> None:
    if key not in table.values:
        return
    value, interval = table.values[key]
    axes.barh(y, value, **look)  # type: ignore[arg-type]
    errors = whiskers(value, interval)
    for colour, width in ((theme.ground, 2.4), (theme.ink, 1.0)):
        axes.errorbar(value, y, xerr=errors, color=colour, linewidth=width)
    axes.text(
        max(interval[1], value) + 0.015,
        y,
        f"{100 * value:.0f}",
        va="center",
        fontsize=SMALL,
        color=theme.ink,
    )
