"""Does one of our numbers compare with a published one? If not, why not, in plain words."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import rules as check
from .numbers import ANY, SUFFICIENCY, Published, draws_of, load
from .rules import Facts, Point, Rules, Summary

COMPARABLE = "comparable"
"""Everything is stated, and the same."""
AS_STATED = "as far as stated"
"""Enough is stated and nothing of it differs, but there are open points: what nobody stated."""
NOT_COMPARABLE = "not comparable"
STANDINGS = (COMPARABLE, AS_STATED, NOT_COMPARABLE)

PARTED = ("hrbench", "mme_realworld", "visualprobe")
"""Benchmarks with parts that are benchmarks of their own."""
UNSURE = ("test", "train", "val")
"""Splits of theirs that do not say which part they are."""
PARTIAL = re.compile(r"\b[0-9]+ of [0-9]+ questions\b")
"""How a manifest notes a run on a part of the data."""


@dataclass(frozen=True)
class Match:
    """Whether two numbers compare, all that speaks against it, and what remains open."""

    reasons: list[str]
    """What differs, and that too little is stated: one is enough."""
    open: list[str]
    """What the source does not state."""

    @property
    def standing(self) -> str:
        """One of STANDINGS."""
        if self.reasons:
            return NOT_COMPARABLE
        return AS_STATED if self.open else COMPARABLE

    @property
    def comparable(self) -> bool:
        return self.standing == COMPARABLE


def match(
    published: Published,
    dataset_facts: Facts,
    protocol: Rules,
    summary: Summary,
    reference: Rules | None = None,
) -> Match:
    """Compare the protocol of a published number with that of one of our agents on a dataset.

    `dataset_facts`, `protocol` and `reference` (who answers from the crops) as in `manifest.json`,
    `summary` as in `summary.json`.
    """
    theirs, env = published.protocol, protocol["env"]
    points = [
        *_data(published, dataset_facts),
        *_number(published, protocol, summary, reference),
        *check.of_images(theirs, env),
        *check.of_dialogue(theirs, protocol),
        *check.of_boxes(theirs, env),
        *check.of_sampling(theirs, protocol),
        *check.of_options(published, dataset_facts, env),
        *check.of_reference(published, summary, reference),
        *_ablation(protocol),
        *check.of_needed(theirs),
    ]
    reasons = [point.text for point in points if not point.open]
    return Match(reasons, [point.text for point in points if point.open])


def beside(
    summaries: Mapping[str, Mapping[str, Summary]],
    manifest: Mapping[str, Any],
    own: Sequence[Published] = (),
) -> dict[str, list[dict[str, Any]]]:
    """The published numbers of each dataset of a run, and ours where they compare.

    `{dataset: [{"model", "value" (0..1), "n", "source", "link", "note", "split", "metric",
    "protocol", "standing", "ours": {agent: {"value", "interval", "n", "questions", "standing",
    "open"}}, "reasons": {agent: [..]}}]}`. `standing`: the best of all our agents'. `ours` holds
    the agents that nothing speaks against, each with what remains open, `reasons` the others; n
    counts answers, by rotations and trainings. Ablations and scripted agents are
    no candidates. `own`: numbers besides ours, see `published.own`. Datasets that nothing is
    published about are left out, and so are numbers of another part of a benchmark (8k beside 4k).
    """
    numbers = [*load(), *own]
    table = {
        dataset: [
            _row(number, dataset, facts, summaries, manifest)
            for number in numbers
            if _same_benchmark(number, facts)
        ]
        for dataset, facts in manifest["datasets"].items()
    }
    return {dataset: rows for dataset, rows in table.items() if rows}


def _row(
    number: Published,
    dataset: str,
    facts: Facts,
    summaries: Mapping[str, Mapping[str, Summary]],
    manifest: Mapping[str, Any],
) -> dict[str, Any]:
    agents, reference = manifest["agents"], manifest.get("reference")
    found = {
        agent: match(number, facts, rules, summaries[agent][dataset], reference)
        for agent, rules in agents.items()
        if "engine" in rules and not rules.get("variant_of") and dataset in summaries.get(agent, {})
    }
    ours = {
        agent: {
            **_told(number, agents[agent], summaries[agent][dataset]),
            "standing": same.standing,
            "open": same.open,
        }
        for agent, same in found.items()
        if not same.reasons
    }
    kept = ("model", "n", "source", "link", "note", "split", "metric")
    return {
        **{name: getattr(number, name) for name in kept},
        "value": number.percent / 100,
        "protocol": dataclasses.asdict(number.protocol),
        "standing": min(
            (same.standing for same in found.values()), key=STANDINGS.index, default=NOT_COMPARABLE
        ),
        "ours": ours,
        "reasons": {agent: same.reasons for agent, same in found.items() if same.reasons},
    }


def _told(number: Published, rules: Rules, summary: Summary) -> dict[str, Any]:
    """Our number, never without its interval and the questions that it is of."""
    found, _ = value_of(number, rules, summary)
    value, interval = (found or {}).get("value"), (found or {}).get("interval")
    counts = {name: summary.get(name) for name in ("n", "questions")}
    return {"value": value, "interval": interval, **counts}


def in_order(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that compare, then those that do as far as is stated: first where least is open.

    Counted are the points that stand beside a number, so those of all of our agents.
    """
    shown = [row for row in rows if row["standing"] != NOT_COMPARABLE]
    return sorted(shown, key=lambda row: (STANDINGS.index(row["standing"]), len(_points(row))))


def _points(row: Mapping[str, Any]) -> set[str]:
    return {point for own in row["ours"].values() for point in own["open"]}


def by_agent(found: Mapping[str, Sequence[str]], apart: str = "; ") -> str:
    """Points of several agents as one text: those of all first, then those of each under its name.

    >>> by_agent({"a": ["asked 8 of 191", "1 turn"], "b": ["asked 8 of 191"]})
    'asked 8 of 191; a: 1 turn'
    """
    everybody = [text for text in next(iter(found.values()), ()) if _of_all(text, found)]
    parts = [apart.join(everybody)] if everybody else []
    groups: dict[str, list[str]] = {}
    for agent, texts in found.items():
        if said := apart.join(text for text in texts if text not in everybody):
            groups.setdefault(said, []).append(agent)
    parts += [f"{', '.join(agents)}: {said}" for said, agents in groups.items()]
    return "; ".join(parts)


def _of_all(text: str, found: Mapping[str, Sequence[str]]) -> bool:
    return all(text in texts for texts in found.values())


# -- The questions


def _same_benchmark(number: Published, facts: Facts) -> bool:
    if number.benchmark != facts["dataset"]:
        return False
    part = _part(number, facts)
    return part in (number.split, "")


def _part(number: Published, facts: Facts) -> str:
    """Which part of the benchmark our data is; empty where it does not say."""
    split = str(facts.get("split", UNSURE[0])).lower()
    split = split.removeprefix("hrbench_").removeprefix("hr_bench_")
    if number.benchmark in PARTED and split in UNSURE:
        return ""
    return split


def _data(number: Published, facts: Facts) -> Iterator[Point]:
    if number.benchmark != facts["dataset"]:
        yield Point(f"published on {number.benchmark}, ours is {facts['dataset']}")
        return
    part, asked = _part(number, facts), facts["questions"]
    if part and part != number.split:
        yield Point(f"published on the split {number.split!r}, ours is {part!r}")
    if number.n is None:
        yield Point("number of questions", open=True)
        # Then it is a number of the whole part that it names.
        parts = [note for note in facts.get("notes", ()) if PARTIAL.search(note)]
        yield from (Point(f"ours is not the whole set: {note}") for note in parts)
    elif asked < number.n:
        yield Point(f"asked {asked} of {number.n} questions")
    elif asked > number.n:
        yield Point(f"published on {number.n} questions, ours are {asked}")
    if not part and asked != number.n:
        yield Point(f"our data does not say whether it is {number.split!r}")
    if skipped := facts.get("skipped", 0):
        yield Point(f"{skipped} rows of our data could not be read")


def _ablation(rules: Rules) -> Iterator[Point]:
    if rules.get("variant_of"):
        name, value = rules["condition"]
        yield Point(f"ours is an ablation: {name}={value}")
    elif rules["env"].get("crop", "real") != "real":
        yield Point(f"ours is an ablation: crop={rules['env']['crop']}")


# -- The numbers


def _number(
    number: Published, rules: Rules, summary: Summary, reference: Rules | None
) -> Iterator[Point]:
    found, why = value_of(number, rules, summary)
    if found is None or found.get("value") is None:
        yield Point(why or f"ours has no {number.metric}")
    asked = reference if number.metric == SUFFICIENCY and reference else rules
    grader, theirs = asked["env"]["grader"], number.protocol.grader
    if theirs is None:
        yield Point("grader", open=True)
    elif theirs != ANY and not _is_official(number, rules, summary) and grader != theirs:
        yield Point(f"published by the grader {theirs}, ours by {grader}")


def value_of(number: Published, rules: Rules, summary: Summary) -> tuple[Summary | None, str]:
    """Our {"value", "interval"} of the same metric by the same grader, or None and why."""
    if number.metric == SUFFICIENCY:
        found = summary.get(SUFFICIENCY)
        return (found, "") if found else (None, "ours was not asked for sufficiency")
    if draws := draws_of(number.protocol.sampling):
        return _drawn(number, draws, summary)
    official = _is_official(number, rules, summary)
    reports = summary.get("official" if official else "aggregations", {})
    found = reports.get(number.metric)
    if found is None and number.metric == "micro" and not reports:
        found = {"value": summary["accuracy"], "interval": summary.get("interval")}
    if found is None or found.get("value") is None:
        return None, f"ours has no {(found or {}).get('incomplete', number.metric)}"
    return found, ""


def _drawn(number: Published, k: int, summary: Summary) -> tuple[Summary | None, str]:
    """The mean over as many draws: of the questions, by the environment's grader."""
    found = summary.get("draws")
    if not found:
        return None, f"published with Avg@{k}, ours is greedy"
    if found["k"] != k:
        return None, f"published with Avg@{k}, ours has K = {found['k']}"
    if number.metric != "micro":
        return None, f"ours has no {number.metric} of its draws"
    return found["avg"], ""


def _is_official(number: Published, rules: Rules, summary: Summary) -> bool:
    """Whether the number is by the benchmark's own rules, and ours are there by these as well,
    whatever the grader of our environment."""
    theirs = number.protocol.grader
    greedy = draws_of(number.protocol.sampling) is None and number.metric != SUFFICIENCY
    return (
        greedy
        and theirs == f"official:{number.benchmark}"
        and rules["env"]["grader"] != theirs
        and bool(summary.get("official"))
    )
