"""Published numbers: beside ours where the protocol is the same, or is as far as it is stated, else
in a folded list with the reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..published import AS_STATED, COMPARABLE, NOT_COMPARABLE, by_agent
from .cells import MISSING, number, share
from .parts import Cell, Section, Table

SAME = "Comparable: every part of the protocol is stated, and the same."
OPEN = (
    "Only as far as stated: nothing contradicts, but the source does not state the open points. "
    "Each of them may be worth more than the difference between two models."
)
NONE = "there is no model of ours to compare with"

Row = Mapping[str, Any]


def published_section(rows: Sequence[Row], table: Mapping[str, Row]) -> Section | None:
    """Of one dataset; None where nothing was published."""
    if not rows:
        return None
    same, stated, others = (
        [row for row in rows if row["standing"] == standing]
        for standing in (COMPARABLE, AS_STATED, NOT_COMPARABLE)
    )
    tables = []
    if same:
        tables.append(_beside(same, list(table), SAME))
    if stated:
        stated.sort(key=_least_open)
        tables.append(_beside(stated, list(table), OPEN))
    if others:
        tables.append(_apart(others))
    text = "A published number stands beside ours only where no part of its protocol is another."
    if not same:
        text += " None is known to have the same protocol."
    if others and not (same or stated):
        text += " All have another one: the reasons are in the list."
    return Section("Published numbers", [text], tables=tables, level=3)


def _beside(rows: Sequence[Row], agents: Sequence[str], caption: str) -> Table:
    """The numbers of one standing, with the agents of ours that they stand beside."""
    ours = [agent for agent in agents if any(agent in row["ours"] for row in rows)]
    lines: list[list[str | Cell]] = [
        [
            row["model"],
            share(row["value"]),
            number(row["n"]) if row["n"] else MISSING,
            row["metric"],
            *(share(row["ours"].get(agent, {}).get("value")) for agent in ours),
            Cell(_rules(row["protocol"]), wraps=True),
            *([Cell(_open(row), wraps=True)] if caption == OPEN else []),
            _source(row),
        ]
        for row in rows
    ]
    points = ["open points"] if caption == OPEN else []
    header = ["model", "published", "n", "metric", *ours, "protocol", *points, "source"]
    return Table(header, lines, caption=caption)


def _least_open(row: Row) -> int:
    return min(len(own["open"]) for own in row["ours"].values())


def _open(row: Row) -> str:
    return by_agent({agent: own["open"] for agent, own in row["ours"].items()}, ", ")


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
    return Cell(f"{row['source']}{note}", href=link if is_web(link) else "", wraps=True)


def is_web(link: str) -> bool:
    """Whether it is safe to lead there: no script, no file."""
    return link.startswith(("https://", "http://"))


def _rules(protocol: Row) -> str:
    """What is stated and matters."""
    known = {name: value for name, value in protocol.items() if value not in (None, "any")}
    told = (f"{name.replace('_', ' ')} {value}" for name, value in known.items())
    return ", ".join(told) or ("does not depend on it" if "any" in protocol.values() else "–")
