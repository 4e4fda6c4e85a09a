"""A benchmark in the terminal: how far it is, and what it found.

A table per dataset, then the differences between agents: models before scripted agents before
ablations, and of each first those that are inside the noise. Of many, some of every kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as Bar
from rich.table import Table
from rich.text import Text

from .published import in_order
from .statistics.families import SCRIPTED
from .statistics.wording import asked

Summaries = Mapping[str, Mapping[str, Mapping[str, Any]]]

SHOWN = 12
"""Comparisons that are told here; the report has all of them."""
SHOWN_PUBLISHED = 4
"""Published numbers that are told here, per dataset: they are not what was run."""


class Rate(ProgressColumn):
    """Episodes per second of late."""

    def render(self, task: Bar) -> Text:
        return Text(f"{task.speed:.2f}/s" if task.speed else "")


def progress_bar(console: Console, hidden: bool = False) -> Progress:
    """Who plays, how many episodes are over, how fast, and the time that is left."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=hidden,
    )


def print_results(
    console: Console,
    summaries: Summaries,
    comparisons: Sequence[Mapping[str, Any]],
    published: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Print `summary.json`, `comparisons.json` and the published numbers that compare."""
    datasets = dict.fromkeys(name for parts in summaries.values() for name in parts)
    for dataset in datasets:
        parts = {name: found[dataset] for name, found in summaries.items() if dataset in found}
        console.print(table(dataset, parts))
        _print_published(console, published.get(dataset, ()))
    _print_comparisons(console, comparisons)


def table(dataset: str, parts: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row per agent, shares in percent. What nobody has a value for is left out, what all have in
    common stands in the title."""
    columns = {head: [cell(part) for part in parts.values()] for head, cell in COLUMNS.items()}
    common = {head: {cell for cell in columns[head] if cell} for head in COMMON}
    title = [f"{head} {values.pop()}" for head, values in common.items() if len(values) == 1]
    made = Table(
        title=Text(", ".join([dataset, *title])),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    shown = [head for head, cells in columns.items() if any(cells) and common.get(head) != set()]
    made.add_column("agent", overflow="fold", min_width=12)
    for head in shown:
        made.add_column(head, justify="right", no_wrap=True)
    for number, name in enumerate(parts):
        made.add_row(Text(name), *(Text(columns[head][number]) for head in shown))
    return made


def _percent(value: Any) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _range(part: Mapping[str, Any]) -> str:
    low, high = part["interval"]
    return f"{100 * low:.0f} to {100 * high:.0f}"


def _rate(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda part: _percent(part.get(name))


def _draws(part: Mapping[str, Any]) -> str:
    draws = part.get("draws")
    return _percent(draws["avg"]["value"]) if draws else ""


def _pass(part: Mapping[str, Any]) -> str:
    draws = part.get("draws")
    if not draws or draws["k"] < 2:
        return ""
    return _percent(draws["pass"][str(draws["k"])]["value"])


def _sufficiency(part: Mapping[str, Any]) -> str:
    found = part.get("sufficiency")
    return _percent(found["value"]) if found else ""


def _failed(part: Mapping[str, Any]) -> str:
    count = part.get("outcomes", {}).get("error", 0) + part.get("failed_sampled", 0)
    return str(count) if count else ""


COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "questions": lambda part: asked(part.get("questions", 0), part["n"]),
    "right %": _rate("accuracy"),
    "95 %": _range,
    "chance": _rate("chance"),
    "strict": _rate("strict"),
    "k": lambda part: str(part["draws"]["k"]) if part.get("draws") else "",
    "avg@k": _draws,
    "pass@k": _pass,
    "box": _rate("valid_box_rate"),
    "hit": _rate("hit_rate"),
    "by crop": _sufficiency,
    "failed": _failed,
}

COMMON = ("questions", "chance", "k")
"""Columns that mostly say one thing."""


def _print_comparisons(console: Console, comparisons: Sequence[Mapping[str, Any]]) -> None:
    """What is inside the noise first, after what it is about: it is what people overlook."""
    for one in _of_every_kind(comparisons):
        style = "yellow" if one["inside_noise"] else ""
        console.print(Text(one["text"], style=style))
    if (more := len(comparisons) - SHOWN) > 0:
        console.print(f"{more} more comparisons are in comparisons.json and in the report.")


def _of_every_kind(comparisons: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most SHOWN of them in order. Kinds take turns: many of one leave some of each other."""
    kinds: dict[tuple[int, bool], list[Mapping[str, Any]]] = defaultdict(list)
    for one in comparisons:
        kinds[_kind(one)].append(one)
    turns = zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    taken = [one for turn in turns for one in turn if one is not None]
    return sorted(taken[:SHOWN], key=_kind)


def _kind(one: Mapping[str, Any]) -> tuple[int, bool]:
    return _interest(one), not one["inside_noise"]


def _interest(one: Mapping[str, Any]) -> int:
    """0 two models; 1 a floor or a ceiling; 2 an ablation of an agent."""
    return 2 if one.get("variant") else int(one.get("family_of") == SCRIPTED)


def _print_published(console: Console, numbers: Sequence[Mapping[str, Any]]) -> None:
    """In the order of the report, which also says what is open."""
    fitting = in_order(numbers)
    for one in fitting[:SHOWN_PUBLISHED]:
        here = ", ".join(_own(name, own) for name, own in one["ours"].items())
        where = f"{one['metric']}, {one['source']}"
        said = f"published: {one['model']} {_percent(one['value'])} ({where}); here: {here}"
        console.print(Text(said))
    if (more := len(fitting) - SHOWN_PUBLISHED) > 0:
        console.print(f"{more} more published numbers are in the report.", highlight=False)
    if odd := len(numbers) - len(fitting):
        said = f"Published numbers that do not compare with this run: {odd}; the report says why."
        console.print(said, highlight=False)


def _own(name: str, own: Mapping[str, Any]) -> str:
    """One of ours beside a published number.

    >>> _own("mgpo", {"value": 0.5, "interval": [0.42, 0.58], "open": ["grader", "prompt"]})
    'mgpo 50.0 (42 to 58; as far as stated, 2 points open)'
    """
    parts = [_range(own)] if own.get("interval") else []
    if count := len(own["open"]):
        parts.append(f"as far as stated, {count} point{'s' if count > 1 else ''} open")
    beside = f" ({'; '.join(parts)})" if parts else ""
    return f"{name} {_percent(own['value'])}{beside}"
