"""What an agent does when one thing is changed: a figure per agent and condition, and one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..published.rules import turns_of
from .cells import (
    MISSING,
    episodes_of,
    number,
    points_with_span,
    probability,
    share_with_span,
    verdict,
)
from .charts import Chart, Point
from .parts import Cell, Picture, Section, Table, bars_picture, chart_picture
from .plots import Bar

MEANINGS = {
    "crop": "The crop that comes back is real (what the agent's box cuts out), oracle (around the "
    "gold box), random (a region of the same size anywhere), blank (grey), none (not shown) "
    "or shuffled (what another question would show). An agent that uses its crops falls to about "
    "chance with blank and shuffled ones.",
    "max_pixels": "The pixel budget of each image shown.",
    "turns": "How many turns the agent has.",
    "options": "The options of every question in another order, by the seed of the shuffle.",
}
DEFAULTS = {
    "crop": ("crop", "real"),
    "max_pixels": ("max_pixels", ""),
    "turns": ("max_turns", ""),
    "options": ("shuffle_options", ""),
}
"""Condition -> (where the agent's own value stands in its environment, what it is there by
default)."""
CURVE = "max_pixels"
"""Drawn as a curve of all agents; the others as bars of one."""
ORDER = ("real", "oracle", "random", "blank", "shuffled", "none")
"""Crops from the best to the emptiest."""

CORRECTED = (
    "Differences are from the agent itself on the same questions, training by training, as the "
    "weights are the same. p is corrected by Holm for all ablations of one agent on this dataset; "
    "each interval is for itself."
)

Conditions = dict[str, list[tuple[str, str]]]
"""Name of the condition -> (its value, the agent or variant that has it)."""


def ablation_section(
    table: Mapping[str, Mapping[str, Any]],
    comparisons: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
    dataset: str,
    order: Sequence[str],
) -> Section | None:
    """The ablations on one dataset; None when there are none. `table`: agent or variant ->
    summary; `order`: all agents of the page."""
    agents = manifest["agents"]
    found = {name: conditions_of(name, table, agents) for name in table if name in order}
    pictures: list[Picture] = []
    several = len([values for values in found.values() if values]) > 1
    names = dict.fromkeys(condition for values in found.values() for condition in values)
    for condition in sorted(names, key=lambda name: name == CURVE):
        having = {
            agent: values[condition] for agent, values in found.items() if condition in values
        }
        if condition == CURVE:
            pictures.append(replace(_curve(having, table, order), opens_line=several))
        else:
            first, *more = (_bars(condition, *item, table, order) for item in having.items())
            pictures += [replace(first, opens_line=several), *more]
    if not pictures:
        return None
    return Section(
        "Ablations",
        [
            *(MEANINGS[name] for name in names if name in MEANINGS),
            *_by_place(found, comparisons),
            CORRECTED,
        ],
        pictures,
        tables=[_table(found, table, comparisons, dataset)],
        level=3,
    )


def conditions_of(
    agent: str, table: Mapping[str, Any], agents: Mapping[str, Mapping[str, Any]]
) -> Conditions:
    """The conditions of an agent with all their values, its own among them."""
    found: Conditions = {}
    for name, protocol in agents.items():
        if protocol.get("variant_of") == agent and name in table and protocol.get("condition"):
            condition, value = protocol["condition"]
            found.setdefault(condition, []).append((str(value), name))
    for condition, values in found.items():
        own = own_value(condition, agents.get(agent, {}).get("env", {}))
        values.append((own, agent))
        values.sort(key=lambda pair: _place(pair[0]))
    return found


def own_value(condition: str, env: Mapping[str, Any]) -> str:
    """The agent's own value of a condition, as text; empty where the manifest doesn't say.

    >>> own_value("crop", {}), own_value("max_pixels", {"max_pixels": 9216})
    ('real', '9216')
    """
    key, default = DEFAULTS.get(condition, (condition, ""))
    value = env.get(key)
    if value is None and condition == "turns" and "dialogue" in env:
        value = turns_of(env)
    return default if value is None else str(value)


def _place(value: str) -> tuple[int, float, str]:
    if value in ORDER:
        return 0, ORDER.index(value), ""
    return (1, float(value), "") if value.isdecimal() else (2, 0, value)


def _bars(
    condition: str,
    agent: str,
    values: Sequence[tuple[str, str]],
    table: Mapping[str, Any],
    order: Sequence[str],
) -> Picture:
    bars, lap = [], 0
    for value, name in values:
        lap += name != agent
        label = _label(value, name == agent)
        summary = table[name]
        place = 0 if name == agent else 1 + (lap - 1) % 3
        accuracy, interval = summary["accuracy"], summary["interval"]
        bars.append(Bar(label, accuracy, interval, agent, lap=place, order=order))
    chance = table[agent].get("chance")
    caption = f"Accuracy with 95% intervals{'; dotted: chance.' if chance else '.'}"
    return bars_picture(bars, chance, caption, f"{agent}: {condition.replace('_', ' ')}")


def _curve(
    having: Mapping[str, Sequence[tuple[str, str]]],
    table: Mapping[str, Mapping[str, Any]],
    order: Sequence[str],
) -> Picture:
    """Accuracy against image tokens, or against the budget where tokens were not counted."""
    names = [name for values in having.values() for _, name in values]
    counted = all((table[name].get("cost") or {}).get("image_tokens") for name in names)
    series = {}
    for agent, values in having.items():
        found = []
        for value, name in values:
            x = table[name]["cost"]["image_tokens"] if counted else float(value)
            found.append(
                Point(x, table[name]["accuracy"], table[name]["interval"], f"{value} pixels")
            )
        series[agent] = sorted(found, key=lambda point: point.x)
    what = "image tokens per episode" if counted else "pixels of an image shown, at most"
    chance = next((table[name].get("chance") for name in names), None)
    chart = Chart("Pixel budget", what, series, order, chance)
    return chart_picture(chart, f"Accuracy against {what}, with 95% intervals.")


def _table(
    found: Mapping[str, Conditions],
    table: Mapping[str, Mapping[str, Any]],
    comparisons: Sequence[Mapping[str, Any]],
    dataset: str,
) -> Table:
    """A line per value; the difference is that from the agent itself, on the same questions."""
    pairs = _signed(comparisons)
    rows: list[list[str | Cell]] = []
    for agent, conditions in found.items():
        for condition, values in conditions.items():
            for value, name in values:
                summary = table[name]
                own = name == agent
                cells = [Cell(agent, href=episodes_of(agent=name, dataset=dataset))]
                cells += [Cell(condition.replace("_", " ")), _value(value, own)]
                cells.append(share_with_span(summary["accuracy"], summary["interval"]))
                cells += [MISSING] * 3 if own else _difference(pairs.get((name, agent)))
                cells.append(number((summary.get("cost") or {}).get("image_tokens")))
                rows.append([*cells])
    header = ["agent", "changed", "value", "accuracy (95%)", "points, to its own (95%)"]
    header += ["the difference is", "p, adjusted", "image tokens"]
    return Table(header, rows)


def _value(value: str, own: bool) -> Cell:
    return Cell(_label(value, own), float(value) if value.isdecimal() else None)


def _label(value: str, own: bool) -> str:
    if not own:
        return value
    return f"{value} (its own)" if value not in ("", "own") else "its own"


Signed = tuple[int, Mapping[str, Any]]
"""A comparison, and -1 when it has the two the other way round."""


def _signed(comparisons: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Signed]:
    pairs = {}
    for pair in comparisons:
        pairs[pair["a"], pair["b"]] = (1, pair)
        pairs[pair["b"], pair["a"]] = (-1, pair)
    return pairs


def _by_place(
    found: Mapping[str, Conditions], comparisons: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Which agents fall, by more than noise, when their options stand in another order."""
    pairs = _signed(comparisons)
    falling = []
    for agent, conditions in found.items():
        told = [pairs[n, agent] for _, n in conditions.get("options", ()) if (n, agent) in pairs]
        if any(not p["inside_noise"] and sign * p["difference"] < 0 for sign, p in told):
            falling.append(agent)
    if falling:
        yield (
            f"With the options in another order {' and '.join(falling)} "
            f"{'fall' if len(falling) > 1 else 'falls'} by more than noise. An agent that reads "
            "its options does not fall here: some of this accuracy is knowing at which letter an "
            "answer stands."
        )


def _difference(found: Signed | None) -> list[Cell]:
    if found is None:
        return [MISSING] * 3
    sign, pair = found
    told = pair.get("headline") or pair  # what the verdict is about
    low, high = told["interval"]
    interval = (low, high) if sign > 0 else (-high, -low)
    cells = [points_with_span(sign * told["difference"], interval), verdict(pair)]
    return [*cells, probability(told.get("p_adjusted", told["p"]))]
