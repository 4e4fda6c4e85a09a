"""Figures hold what they show: long names are not cut and take no room from the bars."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmarks.pages import figures
from benchmarks.pages.charts import Chart, Groups, Point, chart_figure, groups_figure, told
from benchmarks.pages.figures import SMALL, WIDTH, new_figure, png, wrapped
from benchmarks.pages.palette import LIGHT
from benchmarks.pages.plots import Bar, bars_figure

NAMES = {
    "short": ["base", "grpo", "mgpo"],
    "ordinary": [f"qwen2.5-vl-7b-{end}" for end in ("mgpo", "grpo", "instruct")],
    "long": [f"{letter * 40} of many letters" for letter in "mWn"],
    "many": [f"agent-number-{n}" for n in range(9)],
}
PHONE = 358
"""Pixels of a figure's width on a phone."""


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def inside(figure: Figure) -> bool:
    """Whether nothing reaches over the figure's edge."""
    tight = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return (
        tight.x0 > -0.01
        and tight.y0 > -0.01
        and tight.x1 < width + 0.01
        and tight.y1 < height + 0.01
    )


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("group", ["small", "a category with quite a long name", "W" * 40])
def test_bars_by_category_have_room(names, group):
    groups = [group, "other"]
    values = {(g, name): (0.5, [0.4, 0.6]) for g in groups for name in names}
    figure = drawn(groups_figure(Groups(groups, values, names, names, {}))(LIGHT))
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len(names)
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width
    assert inside(figure)
    (axes,) = figure.axes
    assert axes.get_window_extent().width > 0.4 * figure.bbox.width
    marks = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    marks.sort(key=lambda mark: mark.x0)
    assert len(marks) == 3
    assert all(one.x1 < other.x0 for one, other in pairwise(marks))


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_a_chart_and_plain_bars_hold_their_names(names):
    series = {name: [Point(x, 0.5, [0.4, 0.6]) for x in (1, 2, 4)] for name in names}
    figure = drawn(chart_figure(Chart("pass@k", "samples", series, names))(LIGHT))
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width
    assert inside(figure)
    assert figure.axes[0].get_window_extent().width > 0.6 * figure.bbox.width
    bars = [Bar(name, 1.0, [0.9, 1.0], name) for name in names]
    assert inside(drawn(bars_figure(bars, 0.2, "title")(LIGHT)))


def test_letters_can_be_read_on_a_phone():
    assert SMALL / 72 / WIDTH * PHONE > 9


def test_a_logarithmic_axis_says_so_and_has_round_marks():
    xs = (0.021, 0.023, 0.026, 0.11, 0.12)
    series = {f"agent{n}": [Point(x, 0.5, [0.4, 0.6])] for n, x in enumerate(xs)}
    figure = drawn(chart_figure(Chart("Cost", "seconds", series, [*series]))(LIGHT))
    (axes,) = figure.axes
    assert axes.get_xlabel() == "seconds (logarithmic)"
    low, high = axes.get_xlim()
    seen = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert [label.get_text() for label in seen] == ["0.02", "0.05", "0.1"]
    doubling = {"mgpo": [Point(x, 0.5, [0.4, 0.6]) for x in (1, 2, 4)]}
    figure = drawn(chart_figure(Chart("pass@k", "samples", doubling, ["mgpo"]))(LIGHT))
    assert figure.axes[0].get_xlabel() == "samples"
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1", "2", "4"]


def test_guessing_is_a_curve_where_it_rises():
    series = {"mgpo": [Point(k, 0.5, [0.4, 0.6], f"k={k}") for k in (1, 2, 4)]}
    guessing = [(float(k), 1 - (5 / 6) ** k) for k in (1, 2, 4)]
    chart = Chart("pass@k", "samples k", series, ["mgpo"], guessing=guessing)
    (axes,) = drawn(chart_figure(chart)(LIGHT)).axes
    curves = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert [chance for _, chance in guessing] in curves
    assert "guessing" in [text.get_text() for text in axes.texts]
    assert "guessing: 1 16.7%, 2 30.6%, 4 51.8%" in told(chart)


def test_names_stand_in_two_lines_at_most():
    assert wrapped("small") == "small"
    assert wrapped("counting of small things").splitlines() == ["counting of", "small things"]
    assert len(wrapped("x" * 200).splitlines()) == 2
    assert max(map(len, wrapped("many words " * 30).splitlines())) < 22


def test_letters_that_the_first_font_lacks_come_from_another_one(monkeypatch):
    """Chinese categories are boxes only where no font has them. One of matplotlib's own fonts
    stands for such a font; two letters that are boxes look the same."""

    def picture(letter: str) -> bytes:
        figure, axes = new_figure(LIGHT, 1)
        axes.set_yticks([0], [letter])
        return png(figure)

    assert picture("\u1d81") == picture("\u1d84")
    monkeypatch.setattr(figures, "OTHER_LETTERS", ("not installed", "STIXGeneral"))
    assert picture("\u1d81") != picture("\u1d84")
