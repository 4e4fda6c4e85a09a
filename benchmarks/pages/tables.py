"""Tables of summaries: accuracy, categories, samples, trainings, grounding, cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .cells import MISSING, asked_of, episodes_of, number, rough, share, span, valued
from .parts import Cell, Table, percent

Summaries = Mapping[str, Mapping[str, Any]]
"""What stands in a line -> the summary of its episodes."""

BOXES: Mapping[str, str] = {
    "valid_box_rate": "valid boxes",
    "hit_rate": "hit rate",
    "hit_rate_greedy": "hit rate, greedy",
    "hit_rate_sampled": "hit rate, sampled",
    "iou": "IoU",
    "coverage": "coverage",
    "box_side": "box side, ‰",
    "crops_per_episode": "crops per episode",
    "box_area": "crop area, of the image",
    "crop_recall": "crop recall",
    "best_iou": "best IoU",
    "iogt_rate": "IoGT > 0.3",
    "shown_gold": "gold area shown",
}
LAST_BOX = tuple(BOXES)[:7]
"""The measures of the last box."""
SAME = 1e-9
"""Between two numbers that are one: sums in another order."""
PLAIN = {"box_side", "crops_per_episode"}
"""No shares."""

GROUNDING = (
    "Valid boxes: episodes with a box that could be cut out; an agent of one turn is shown no "
    "crop. Crop area: mean share of the image over all valid boxes. The others need gold boxes, "
    "and without a valid box count 0. Hit rate: last boxes that hold the centre of the gold box; "
    "IoU and coverage (share of the gold box inside) are of the last box, too. Crop recall: share "
    "of the gold area that the boxes cover together. Best IoU: of the best box. IoGT > 0.3: gold "
    "boxes of which one box covers more than 0.3. Box side: in thousandths of the image's side. "
    "Gold area shown: share of it in what a random or oracle's crop showed instead of the boxes."
)


def summary_table(summaries: Summaries, first: str = "agent") -> Table:
    """Accuracy with questions and interval, how many episodes failed, where some did, then those
    measures of the last box that any of the rows has."""
    columns = [name for name in LAST_BOX if _any(summaries, name)]
    failed = any(map(failures, summaries.values()))
    header = [first, "accuracy", "95% interval", "questions", *(["failed"] if failed else [])]
    rows: list[list[str | Cell]] = []
    for label, summary in summaries.items():
        cells: list[str | Cell] = [label, share(summary["accuracy"]), span(summary["interval"])]
        cells += [asked_of(summary), *([_failed(summary)] if failed else [])]
        rows.append([*cells, *(_box(name, summary) for name in columns)])
    return Table([*header, *(BOXES[name] for name in columns)], rows)


def accuracy_table(summaries: Summaries, dataset: str) -> Table:
    """The table of a dataset: an agent's name leads to its episodes."""
    asked = [
        ("questions", "questions", number),
        ("strict", "strict", share),
        ("score", "mean score", share),
        ("macro_accuracy", "mean of categories", share),
        ("chance", "chance", share),
    ]
    asked = [row for row in asked if _any(summaries, row[0])]
    failed = any(map(failures, summaries.values()))
    rows: list[list[str | Cell]] = []
    for agent, summary in summaries.items():
        cells = [Cell(agent, href=episodes_of(agent=agent, dataset=dataset))]
        cells += [share(summary["accuracy"]), span(summary["interval"]), number(summary["n"])]
        cells += [show(summary.get(key)) for key, _, show in asked]
        rows.append([*cells, *([_failed(summary)] if failed else [])])
    header = ["agent", "accuracy", "95% interval", "episodes", *(title for _, title, _ in asked)]
    return Table([*header, *(["failed"] if failed else [])], rows)


def category_table(summaries: Summaries, dataset: str) -> Table | None:
    """A line per category and agent; None with fewer than two categories."""
    rows: list[list[str | Cell]] = [
        [
            Cell(name, href=episodes_of(dataset=dataset, category=leaf(name), agent=agent)),
            Cell(agent),
            share(part["accuracy"]),
            span(part["interval"]),
            asked_of(part),
        ]
        for agent, summary in summaries.items()
        for name, part in summary.get("categories", {}).items()
    ]
    header = ["category", "agent", "accuracy", "95% interval", "questions"]
    return Table(header, rows, fold=f"Categories as a table ({len(rows)} rows)") if rows else None


def leaf(category: str) -> str:
    """The last part of a category's name, which is what the page of the episodes filters by.

    >>> leaf("Perception/OCR")
    'OCR'
    """
    return category.rpartition("/")[2]


def draws_table(summaries: Summaries) -> Table | None:
    """avg@k and pass@k of agents that were sampled; None when none was."""
    drawn = {agent: s["draws"] for agent, s in summaries.items() if s.get("draws")}
    sizes = sorted({int(k) for found in drawn.values() for k in found["pass"]})
    rows: list[list[str | Cell]] = [
        [
            agent,
            number(found["k"]),
            share(summaries[agent]["accuracy"]),
            valued(found["avg"]),
            *(valued(found["pass"].get(str(k))) for k in sizes),
        ]
        for agent, found in drawn.items()
    ]
    if rows and (guessing := chances_at(summaries)):
        shares = [share(guessing.get(k)) for k in sizes]
        rows.append(["guessing", MISSING, MISSING, share(guessing.get(1)), *shares])
    header = ["agent", "samples k", "greedy", "avg@k", *(f"pass@{k}" for k in sizes)]
    return Table(header, rows) if rows else None


def chances_at(summaries: Summaries) -> dict[int, float]:
    """k -> how often any of k guesses is right; nothing where that is unknown or differs."""
    found: dict[int, float] = {}
    for summary in summaries.values():
        for k, part in ((summary.get("draws") or {}).get("pass") or {}).items():
            chance = part.get("chance")
            if chance is None or abs(found.setdefault(int(k), chance) - chance) > SAME:
                return {}
    return dict(sorted(found.items()))


def trainings_table(summaries: Summaries) -> Table | None:
    """Agents that were trained several times; None when there is none."""
    several = {
        agent: s
        for agent, s in summaries.items()
        if len((s.get("trainings") or {}).get("values", ())) > 1
    }
    rows: list[list[str | Cell]] = []
    for agent, summary in several.items():
        found = summary["trainings"]
        each = Cell(" · ".join(map(percent, found["values"])))
        cells = [Cell(agent), each, share(summary["accuracy"]), share(found.get("sd"))]
        cells += [span(found.get("interval_questions")), span(found.get("interval_trainings"))]
        rows.append([*cells, span(summary["interval"])])
    header = ["agent", "each training", "mean", "standard deviation", "95%, other questions"]
    header += ["95%, other trainings", "95%, both"]
    return Table(header, rows) if rows else None


def grounding_table(summaries: Summaries) -> Table | None:
    """The box measures that any agent has; None when nobody may point."""
    pointing = {
        agent: s
        for agent, s in summaries.items()
        if any(s.get(key) is not None for key in BOXES if key != "crops_per_episode")
    }
    names = [name for name in BOXES if _any(pointing, name)]
    rows: list[list[str | Cell]] = [
        [agent, *(_box(name, summary) for name in names)] for agent, summary in pointing.items()
    ]
    return Table(["agent", *(BOXES[name] for name in names)], rows) if rows else None


def sufficiency_table(summaries: Summaries) -> Table | None:
    """What a reference agent makes of the crops alone; None where nobody asked it."""
    rows: list[list[str | Cell]] = []
    for agent, summary in summaries.items():
        if found := summary.get("sufficiency"):
            cells = [Cell(agent), Cell(found["reference"]), share(found["value"])]
            cells += [span(found["interval"]), number(found["n"]), number(found.get("with_box"))]
            rows.append([*cells, share(found.get("given_box")), share(summary["accuracy"])])
    header = ["crops of", "asked", "right, of all", "95% interval", "episodes", "with a valid box"]
    return Table([*header, "right, of those", "the agent itself"], rows) if rows else None


COSTS = {
    "image_tokens": "image tokens",
    "prompt_tokens": "prompt tokens",
    "sampled_tokens": "sampled tokens",
    "seconds": "seconds",
    "correct_per_1k_image_tokens": "right per 1,000 image tokens",
    "correct_per_second": "right per second",
}
TIMES = {"seconds", "correct_per_second"}


def cost_table(summaries: Summaries, scripts: Collection[str] = ()) -> Table | None:
    """What an episode costs on average; None where nothing was counted. The time of `scripts` says
    nothing of a model: it is left out."""
    costs = {agent: s["cost"] for agent, s in summaries.items() if s.get("cost")}
    for agent in costs.keys() & set(scripts):
        costs[agent] = {k: v for k, v in costs[agent].items() if k not in TIMES}
    names = [name for name in COSTS if _any(costs, name)]
    rows: list[list[str | Cell]] = [
        [
            agent,
            share(summaries[agent]["accuracy"]),
            *((rough if name in TIMES else number)(cost.get(name)) for name in names),
        ]
        for agent, cost in costs.items()
    ]
    return Table(["agent", "accuracy", *(COSTS[n] for n in names)], rows) if names else None


def aggregation_table(summaries: Summaries) -> Table | None:
    """The numbers that the benchmark reports by name, each with its interval; "partial" where the
    questions asked are not all that the name stands for. A second row per agent: the same replies
    by the benchmark's own rules. None where the dataset has no such names."""
    parts: dict[str, Mapping[str, Any]] = {}
    for label, summary in summaries.items():
        parts[label] = summary.get("aggregations", {})
        if "official" in summary:
            parts[f"{label}, official rules"] = summary["official"]
    names = list(dict.fromkeys(name for part in parts.values() for name in part))
    rows: list[list[str | Cell]] = [
        [label, *(_aggregated(part.get(name)) for name in names)] for label, part in parts.items()
    ]
    return Table(["agent", *names], rows) if names else None


def usage_table(summaries: Summaries) -> Table | None:
    """What the agents on a server cost; None when there is none."""
    used = {label: s["usage"] for label, s in summaries.items() if "usage" in s}
    names = list(dict.fromkeys(name for usage in used.values() for name in usage))
    header = ["agent", *(name.replace("_", " ") for name in names)]
    rows: list[list[str | Cell]] = [
        [label, *(_amount(usage.get(name)) for name in names)] for label, usage in used.items()
    ]
    return Table(header, rows) if used else None


def failures(summary: Mapping[str, Any]) -> int:
    """Episodes that ended with an error, sampled ones included."""
    greedy: int = summary.get("outcomes", {}).get("error", 0)
    drawn: int = summary.get("failed_sampled", 0)
    return greedy + drawn


def failed_line(summaries: Summaries) -> list[str]:
    """One line when any episode failed: the accuracies then say less than they seem to."""
    parts = [f"{label} {failures(s)}" for label, s in summaries.items() if failures(s)]
    if not parts:
        return []
    return [
        f"Episodes failed: {', '.join(parts)}. They count as wrong answers, so these accuracies "
        "are lower bounds; --resume plays them again."
    ]


def tables_of(*found: Table | None) -> Sequence[Table]:
    """Those that there are."""
    return [table for table in found if table is not None]


def _any(summaries: Summaries, name: str) -> bool:
    return any(summary.get(name) is not None for summary in summaries.values())


def _failed(summary: Mapping[str, Any]) -> Cell:
    drawn = summary.get("failed_sampled", 0)
    greedy = failures(summary) - drawn
    return Cell(f"{greedy} + {drawn} sampled" if drawn else str(greedy), greedy + drawn)


def _aggregated(found: Mapping[str, Any] | None) -> Cell:
    if found is None:
        return MISSING
    return valued(found) if "value" in found else Cell("partial")


def _amount(value: float | None) -> Cell:
    if value is None:
        return MISSING
    return Cell(f"{value:,}" if isinstance(value, int) else f"{value:,.4f}", value)


def _box(name: str, summary: Mapping[str, Any]) -> Cell:
    value = summary.get(name)
    if value is None:
        return MISSING
    if name == "box_side":
        return Cell(f"{value:.0f}", value)
    return number(value) if name in PLAIN else share(value)
