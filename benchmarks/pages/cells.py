"""Numbers as table cells: how they are written, and what they are sorted by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ..statistics.wording import asked
from .parts import Cell, percent

VIEWER = "episodes.html"
"""The page of the episodes, beside the report."""
MISSING = Cell("–")


def share(value: float | None) -> Cell:
    """0.125 -> 12.5%."""
    return MISSING if value is None else Cell(percent(value), value)


def span(interval: Sequence[float] | None) -> Cell:
    """An interval of shares; sorts by its lower end."""
    if interval is None:
        return MISSING
    low, high = interval
    return Cell(f"{percent(low)} – {percent(high)}", low)


def points(value: float | None) -> Cell:
    """A difference of shares in points, with its sign."""
    return MISSING if value is None else Cell(f"{100 * value:+.1f}", value)


def points_span(interval: Sequence[float] | None) -> Cell:
    """An interval of a difference; sorts by its lower end."""
    if interval is None:
        return MISSING
    low, high = interval
    return Cell(f"{100 * low:+.1f} … {100 * high:+.1f}", low)


def points_with_span(value: float | None, interval: Sequence[float] | None) -> Cell:
    """A difference and its interval in one cell; sorts by the difference."""
    if value is None:
        return MISSING
    beside = f" ({points_span(interval).text})" if interval else ""
    return Cell(f"{100 * value:+.1f}{beside}", value)


def share_with_span(value: float | None, interval: Sequence[float] | None) -> Cell:
    """A share and its interval in one cell; sorts by the share."""
    return valued({"value": value, "interval": interval})


def verdict(pair: Mapping[str, Any]) -> Cell:
    """What a comparison came to, in words."""
    return Cell("inside the noise" if pair["inside_noise"] else "larger than noise")


def rough(value: float | None) -> Cell:
    """A number of which two digits matter at most.

    >>> rough(0.0664).text, rough(12.7).text
    ('0.066', '13')
    """
    return MISSING if value is None else Cell(f"{float(f'{value:.2g}'):g}", value)


def duration(seconds: float) -> str:
    """Seconds up to two minutes, then minutes.

    >>> duration(3.21), duration(45.0), duration(250.0)
    ('3.2 s', '45 s', '4.2 min')
    """
    if seconds >= 120:
        return f"{seconds / 60:,.1f} min"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def number(value: float | None) -> Cell:
    """A count whole, other numbers with three digits that matter.

    >>> number(1234).text, number(0.01234).text, number(3.0).text, number(1234.5).text
    ('1,234', '0.0123', '3', '1,234')
    """
    if value is None:
        return MISSING
    whole = isinstance(value, int) or float(value).is_integer() or abs(value) >= 1000
    return Cell(f"{value:,.0f}" if whole else f"{value:.3g}", float(value))


def asked_of(summary: Mapping[str, Any]) -> Cell:
    """Questions, and how often each was answered: by rotations, or by trainings."""
    n = summary["n"]
    return Cell(asked(summary.get("questions", 0), n), float(summary.get("questions") or n))


def mean_count(value: float) -> Cell:
    """A count, or a mean of counts over trainings: 7 or 7.3."""
    return Cell(f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}", value)


def probability(value: float | None) -> Cell:
    """A p-value; what is smaller than 0.001 says so."""
    if value is None:
        return MISSING
    return Cell("< 0.001" if value < 0.001 else f"{value:.3f}", value)


def valued(found: Mapping[str, Any] | None) -> Cell:
    """{"value", "interval"} in one cell."""
    if not found or found.get("value") is None:
        return MISSING
    interval = found.get("interval")
    beside = f" ({span(interval).text})" if interval else ""
    return Cell(f"{percent(found['value'])}{beside}", found["value"])


def episodes_of(**filters: str | int | None) -> str:
    """The address of the episodes with these filters.

    >>> episodes_of(agent="a b", dataset="vstar", step=None)
    'episodes.html#agent=a%20b&dataset=vstar'
    """
    parts = [
        f"{key}={quote(str(value).encode('utf-8', 'backslashreplace'), safe='')}"
        for key, value in filters.items()
        if value is not None
    ]
    return f"{VIEWER}#{'&'.join(parts)}"
