"""A dataset in the report: accuracy, categories, samples, trainings, pairs, boxes, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .ablation_section import ablation_section
from .cells import episodes_of, mean_count, number, points_with_span, probability, verdict
from .charts import MOST_ROWS, Chart, Groups, Point, groups_figure
from .notices import is_script, is_variant, pairs_of_agents
from .parts import Cell, Picture, Section, Table, bars_picture, chart_picture, drawn
from .plots import Bar
from .published_section import published_section
from .tables import (
    GROUNDING,
    accuracy_table,
    aggregation_table,
    category_table,
    chances_at,
    cost_table,
    draws_table,
    grounding_table,
    sufficiency_table,
    tables_of,
    trainings_table,
    usage_table,
)

USAGE = (
    "Requests, tokens and cost are those of all episodes, sampled ones and failed ones included. "
    "Cost is in the currency of the prices in the agent's config. Kept replies were read from "
    "disk; they were paid for before, by a run that was broken off or another one, and are in no "
    "other number. Unmetered are requests whose tokens nobody counted; they are missing."
)

PAIRS = (
    "On the same questions, greedy replies; of several trainings the counts are means. Adjusted: "
    "by Holm, for all pairs of models, or for all pairs with a scripted agent, on this dataset. "
    "Each interval is for itself while the verdict is corrected, so an interval without 0 may "
    "stand beside a difference inside the noise. A pair opens its episodes side by side."
)

SECONDS = (
    "Means per episode. Seconds are those of this machine, with all that ran beside it: they are "
    "rough, and equal work may differ by half. Scripted agents compute nothing and have none."
)

OPEN_PAIRS = 20
"""A longer table is closed at first."""

Part = Mapping[str, Mapping[str, Any]]
"""Agent -> its summary on one dataset."""


def dataset_sections(
    dataset: str,
    table: Part,
    comparisons: Sequence[Mapping[str, Any]],
    published: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
) -> list[Section]:
    """All that is told of a dataset: a main section, and smaller ones where there is something."""
    agents = manifest["agents"]
    order = [name for name in agents if not is_variant(agents, name)]
    main = {name: summary for name, summary in table.items() if not is_variant(agents, name)}
    here = [pair for pair in comparisons if pair["dataset"] == dataset]
    found = [
        _accuracy(dataset, main),
        _categories(dataset, main, agents, order),
        _pairs(dataset, pairs_of_agents(here, manifest)),
        ablation_section(table, here, manifest, dataset, order),
        _trainings(main),
        _draws(main, order),
        _grounding(main),
        _cost(main, order, agents),
        _named(main),
        published_section(published, main),
    ]
    return [section for section in found if section is not None]


def _accuracy(dataset: str, table: Part) -> Section:
    bars = [
        Bar(name, s["accuracy"], s["interval"], name, (s.get("trainings") or {}).get("values", ()))
        for name, s in table.items()
    ]
    chance = _chance(table)
    dotted = "; dotted: chance" if chance is not None else ""
    dots = "; a dot is one training" if any(len(bar.dots) > 1 for bar in bars) else ""
    picture = bars_picture(bars, chance, f"Accuracy with 95% intervals{dotted}{dots}.")
    links = [Cell(f"All episodes of {dataset}", href=episodes_of(dataset=dataset))]
    return Section(
        dataset,
        pictures=[picture],
        wide=True,
        tables=[accuracy_table(table, dataset)],
        links=links,
    )


def _chance(table: Part) -> float | None:
    chances = {summary.get("chance") for summary in table.values()}
    return chances.pop() if len(chances) == 1 else None


def _categories(
    dataset: str, table: Part, agents: Mapping[str, Any], order: Sequence[str]
) -> Section | None:
    """Bars of the models, or of everybody where there is no model; all agents in the table."""
    whole = category_table(table, dataset)
    if whole is None:
        return None
    models = [name for name in table if not is_script(agents, name)] or list(table)
    parts = {name: table[name].get("categories", {}) for name in models}
    groups = list(dict.fromkeys(name for part in parts.values() for name in part))
    pictures = []
    if len(groups) * len(models) <= MOST_ROWS:
        values = {
            (group, name): (part["accuracy"], part["interval"])
            for name, found in parts.items()
            for group, part in found.items()
        }
        chances = {
            group: part["chance"]
            for found in parts.values()
            for group, part in found.items()
            if part.get("chance") is not None
        }
        said = ", ".join(f"{g} {a} {100 * v:.0f}%" for (g, a), (v, _) in values.items())
        caption = "Accuracy with 95% intervals; dotted: chance."
        bars = groups_figure(Groups(groups, values, models, order, chances))
        pictures = [drawn(bars, said, caption)]
    return Section("Categories", pictures=pictures, wide=True, tables=[whole], level=3)


def _pairs(dataset: str, pairs: Sequence[Mapping[str, Any]]) -> Section | None:
    if not pairs:
        return None
    rows: list[list[str | Cell]] = []
    named = next((pair["headline"]["name"] for pair in pairs if pair.get("headline")), "")
    for pair in pairs:
        href = episodes_of(dataset=dataset, agent=pair["a"], compare=pair["b"])
        head = pair.get("headline") or {}
        cells = [Cell(f"{pair['a']} – {pair['b']}", href=href), verdict(pair)]
        cells.append(points_with_span(pair["difference"], pair["interval"]))
        if named:
            cells.append(points_with_span(head.get("difference"), head.get("interval")))
        cells += [probability(pair["p"]), probability(pair.get("p_adjusted"))]
        cells += [number(pair["questions"]), number(pair["n"])]
        cells += [mean_count(pair[key]) for key in ("only_a", "only_b", "both", "neither")]
        rows.append([*cells])
    header = ["agents", "the difference is", "points (95%)"]
    header += [f"points, {named} (95%)"] if named else []
    header += ["p", "p, adjusted", "questions", "answers"]
    header += ["only first", "only second", "both", "neither"]
    fold = f"All {len(rows)} pairs" if len(rows) > OPEN_PAIRS else ""
    tests = dict.fromkeys(pair["test"] for pair in pairs)
    text = [f"{PAIRS} p is by {' or by '.join(tests)}."]
    if named:
        text.append(
            f"This benchmark reports {named}, so the verdict is about that number. p and the "
            "counts are over all questions."
        )
    return Section(
        "Agents in pairs",
        text,
        tables=[Table(header, rows, fold=fold)],
        level=3,
    )


def _trainings(table: Part) -> Section | None:
    several = trainings_table(table)
    if several is None:
        return None
    text = (
        "The same recipe with other seeds. One interval is for other questions, one for other "
        "trainings; the one for both is drawn.",
    )
    return Section("Several trainings", text, tables=[several], level=3)


def _draws(table: Part, order: Sequence[str]) -> Section | None:
    drawn_ones = draws_table(table)
    if drawn_ones is None:
        return None
    series = {
        name: [
            Point(int(k), found["value"], found["interval"], f"k={k}")
            for k, found in sorted(s["draws"]["pass"].items(), key=lambda item: int(item[0]))
        ]
        for name, s in table.items()
        if s.get("draws")
    }
    guessing = [(float(k), chance) for k, chance in chances_at(table).items()]
    chart = Chart("pass@k", "samples k", series, order, guessing=guessing, y_title="any of k right")
    dotted = "; dotted: guessing k times" if guessing else ""
    caption = (
        f"Share of the questions that one of k samples gets right, with 95% intervals{dotted}."
    )
    pictures = [chart_picture(chart, caption)]
    text = (
        "avg@k is the mean over k samples of a question: what one sample is worth. pass@k counts a "
        "question when any of k is right. Guessing more often raises it, too, so it is to be read "
        "beside what k guesses would bring.",
    )
    return Section("Sampled replies", text, pictures, tables=[drawn_ones], level=3)


def _grounding(table: Part) -> Section | None:
    tables = tables_of(grounding_table(table), sufficiency_table(table))
    if not tables:
        return None
    text = [GROUNDING]
    if len(tables) > 1 or "asked" in tables[0].header:
        text.append(
            "Sufficiency: another agent sees nothing but what the box cuts out, and answers the "
            "question. Episodes without a valid box count as wrong."
        )
    return Section("Where the agents look", text, tables=tables, level=3)


def _cost(table: Part, order: Sequence[str], agents: Mapping[str, Any]) -> Section | None:
    scripts = {name for name in table if is_script(agents, name)}
    tables = tables_of(cost_table(table, scripts), usage_table(table))
    pictures: list[Picture] = []
    for key, title in (("image_tokens", "image tokens"), ("seconds", "seconds")):
        series = {
            name: [Point(s["cost"][key], s["accuracy"], s["interval"], f"{s['cost'][key]:.3g}")]
            for name, s in table.items()
            if (s.get("cost") or {}).get(key) and not (key == "seconds" and name in scripts)
        }
        if len({found[0].x for found in series.values()}) > 1:
            what = f"{title} per episode"
            chart = Chart(
                f"Accuracy and {title}", what, series, order, _chance(table), joined=False
            )
            caption = f"Accuracy against {what}; up and to the left is better."
            pictures.append(chart_picture(chart, caption))
    if not tables:
        return None
    text = [SECONDS]
    if any("usage" in summary for summary in table.values()):
        text.append(USAGE)
    return Section("Cost", text, pictures, tables=tables, level=3)


def _named(table: Part) -> Section | None:
    named = aggregation_table(table)
    if named is None:
        return None
    text = (
        "The numbers that papers report of this dataset, by name. Official rules: the same replies "
        "graded as the benchmark's own code does it.",
    )
    return Section("As the benchmark counts", text, tables=[named], level=3)
