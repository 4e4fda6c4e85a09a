"""Published numbers: beside ours where the protocol is the same, or enough of it is stated and
nothing of that differs; else in a folded list with the reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..published import AS_STATED, COMPARABLE, NOT_COMPARABLE, by_agent, in_order
from ..statistics.wording import asked
from .cells import MISSING, number, share, span
from .parts import Cell, Section, Table, percent

RULE = (
    "A published number stands beside ours only where nothing that is stated of its protocol "
    "differs from ours, and where enough is stated: benchmark, part and aggregation, the number of "
    "questions or the whole part, dialogue or turns, and the pixel budget or the sampling."
)
SAME = "Comparable"
OPEN = "As far as stated"
WORTH = (
    "“As far as stated” means that the source leaves parts of its protocol open. Each of them may "
    "be worth more than the difference between two models."
)
NONE_SAME = "No number here has its whole protocol stated and the same as ours."
NONE_BESIDE = "No number here is of that kind; the list says why."
SHORT = 30
"""Characters of a cell that stays on one line."""
NONE = "there is no model of ours to compare with"

Row = Mapping[str, Any]


def published_section(rows: Sequence[Row], table: Mapping[str, Row]) -> Section | None:
    """Of one dataset; None where nothing was published."""
    if not rows:
        return None
    beside = in_order(rows)
    same, stated = (
        [row for row in beside if row["standing"] == standing]
        for standing in (COMPARABLE, AS_STATED)
    )
    others = [row for row in rows if row["standing"] == NOT_COMPARABLE]
    tables, paragraphs = [], [RULE]
    if same:
        tables.append(_beside(same, list(table), SAME))
    if stated:
        common = _everywhere(stated)
        open_ = [f"Open for all of these: {', '.join(common)}."] if common else []
        paragraphs.append(" ".join([*([] if same else [NONE_SAME]), WORTH, *open_]))
        tables.append(_beside(stated, list(table), OPEN, common))
    if not beside:
        paragraphs.append(NONE_BESIDE)
    if others:
        tables.append(_apart(others))
    return Section("Published numbers", paragraphs, tables=tables, level=3)


def _everywhere(rows: Sequence[Row]) -> list[str]:
    """What is open for all numbers: said once above them, where a phone shows it too."""
    found = [own["open"] for row in rows for own in row["ours"].values()]
    return [point for point in found[0] if all(point in points for points in found)]


def _beside(
    rows: Sequence[Row], agents: Sequence[str], caption: str, common: Sequence[str] = ()
) -> Table:
    """The numbers of one standing, with the agents of ours that they stand beside, and what is open
    besides what is for all of them."""
    points = [_open(row, common) for row in rows]
    ours = [agent for agent in agents if any(agent in row["ours"] for row in rows)]
    lines: list[list[str | Cell]] = [
        [
            row["model"],
            share(row["value"]),
            number(row["n"]) if row["n"] else MISSING,
            *(_own(row["ours"].get(agent), row["n"]) for agent in ours),
            *([_words(point or "–")] if any(points) else []),
            row["metric"],
            _words(_rules(row["protocol"])),
            _source(row),
        ]
        for row, point in zip(rows, points, strict=True)
    ]
    more = ["also open" if common else "open"] if any(points) else []
    header = ["model", "published", "n", *ours, *more, "metric", "protocol", "source"]
    return Table(header, lines, caption=caption)


def _own(found: Row | None, theirs: int | None) -> Cell:
    """Ours, with its interval, and with the questions asked where these are not as theirs."""
    if not found or found["value"] is None:
        return MISSING
    parts = [span(found["interval"]).text] if found.get("interval") else []
    if (n := found.get("n")) and n != theirs:
        parts.append(f"n = {asked(found.get('questions') or n, n)}")
    beside = f" ({', '.join(parts)})" if parts else ""
    return Cell(f"{percent(found['value'])}{beside}", found["value"])


def _open(row: Row, common: Sequence[str]) -> str:
    left = {
        agent: [point for point in own["open"] if point not in common]
        for agent, own in row["ours"].items()
        if own["open"]
    }
    return by_agent(left, ", ")


def _apart(rows: Sequence[Row]) -> Table:
    lines: list[list[str | Cell]] = [
        [
            row["model"],
            share(row["value"]),
            number(row["n"]) if row["n"] else MISSING,
            row["metric"],
            Cell(by_agent(row["reasons"]) or NONE, wraps=True),
            _source(row),
        ]
        for row in rows
    ]
    header = ["model", "published", "n", "metric", "not comparable because", "source"]
    return Table(header, lines, fold=f"Not comparable, and why ({len(rows)})")


def _source(row: Row) -> Cell:
    note = f" ({row['note']})" if row.get("note") else ""
    link = row.get("link") or ""
    return _words(f"{row['source']}{note}", href=link if is_web(link) else "")


def _words(text: str, href: str = "") -> Cell:
    """Takes no more room than a few words need."""
    return Cell(text, href=href, wraps=len(text) > SHORT)


def is_web(link: str) -> bool:
    """Whether it is safe to lead there: no script, no file."""
    return link.startswith(("https://", "http://"))


def _rules(protocol: Row) -> str:
    """What is stated and matters."""
    known = {name: value for name, value in protocol.items() if value not in (None, "any")}
    told = (f"{name.replace('_', ' ')} {value}" for name, value in known.items())
    return ", ".join(told) or ("does not depend on it" if "any" in protocol.values() else "–")
