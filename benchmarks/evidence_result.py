"""What is kept of the evidence: the numbers of a benchmark in short, and tables for the README.

Shares are 0..1, intervals [low, high] of 95%; `null` where a number does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .processes import ROOT
from .resume import EPISODES

Json = dict[str, Any]

ALL = (
    *("n", "questions", "accuracy", "interval", "chance", "trainings", "draws", "cost"),
    *("valid_box_rate", "crops_per_episode", "hit_rate", "iou", "best_iou", "iogt_rate"),
    *("crop_recall", "box_area", "box_side", "sufficiency"),
)
"""Of a summary, for agents."""
FEW = ("n", "accuracy", "interval", "trainings", "cost")
"""For agents with one thing changed."""
COMPARED = (
    *("a", "b", "n", "questions", "difference", "interval"),
    *("p", "p_adjusted", "test", "inside_noise", "text"),
)
DIGITS = 6
"""After the point."""

REPLACED = ("none", "blank", "random", "shuffled")
"""What `crop` can be instead of the region that was asked for, without its detail."""

NAMES = {
    "random": "random",
    "centre": "centre crop",
    "base_one_look": "before RL, one look",
    "base": "before RL, two turns",
    "grpo": "GRPO, one look",
    "mgpo": "MGPO, two turns",
    "oracle": "oracle",
}
"""For people, in the order of tables and bars."""

WORDS = {"heldout": "held-out", "out_of_distribution": "unfamiliar"}
"""Of datasets."""

SHOWN = {
    "real": "its own region",
    "oracle": "the gold region",
    "random": "a random region",
    "shuffled": "another question's region",
    "blank": "a grey picture",
    "none": "nothing",
}
"""What a model sees in place of its crop, for people, in the order of tables and bars."""


OTHERS = {
    "options": "options in another order",
    "max_pixels": "pictures of {} px",
    "turns": "turns: {}",
}
"""Other things that are changed, and how that is said of a value."""

TOLD = (("mgpo", "base"), ("mgpo", "grpo"), ("grpo", "base_one_look"))
"""Pairs of agents whose comparison is told."""


def condense(folder: Path, datasets: Mapping[str, str]) -> Json:
    """The numbers of a benchmark's folder.

    `datasets`: what each is called in the result -> its label on the command line.

        "manifest"      versions, machine, git, seed, samples, data, hashes of all trained models;
                        without paths of the machine
        "results"       {dataset: {agent: {"accuracy", "interval", "n", "trainings", ...}}}
        "ablations"     {dataset: {agent: {"crop": {"real": {...}, "blank": {...}}, ...}}}
        "comparisons"   {dataset: [{"a", "b", "difference", "p_adjusted", "text", ...}]}
        "uses_the_crop" see `uses_the_crop`
        "answers_another" see `answers_another`

    Raises FileNotFoundError for a folder without a finished benchmark.
    """
    summaries, manifest = _read(folder / "summary.json"), _read(folder / "manifest.json")
    comparisons = _read(folder / "comparisons.json")
    agents: Json = manifest["agents"]
    results, ablations, compared = {}, {}, {}
    for part, label in datasets.items():
        found = {name: summaries[name][label] for name in agents if label in summaries[name]}
        whole = {name: s for name, s in found.items() if not agents[name].get("variant_of")}
        results[part] = {name: _pick(s, ALL) for name, s in whole.items()}
        ablations[part] = _ablations(found, agents)
        compared[part] = [_pick(row, COMPARED) for row in comparisons if row["dataset"] == label]
    kept = ("versions", "machine", "git", "seed", "samples", "datasets", "ablations")
    models = {name: agents[name].get("fingerprints") for name in results[next(iter(datasets))]}
    result = {
        "manifest": {**{key: manifest.get(key) for key in kept}, "models": models},
        "results": results,
        "ablations": ablations,
        "comparisons": compared,
        "uses_the_crop": {
            part: uses_the_crop(found, results[part]) for part, found in ablations.items()
        },
        "answers_another": answers_another(folder / EPISODES, datasets),
    }
    return without_places(result)


def _ablations(found: Mapping[str, Json], agents: Mapping[str, Json]) -> Json:
    """{agent: {flag: {value: summary}}}; the agent itself is there by its own value."""
    table: Json = {}
    for name, summary in found.items():
        if parent := agents[name].get("variant_of"):
            flag, value = agents[name]["condition"]
            own = {own_value(flag, agents[parent]): _pick(found[parent], FEW)}
            table.setdefault(parent, {}).setdefault(flag, own)[str(value)] = _pick(summary, FEW)
    return table


def own_value(flag: str, protocol: Mapping[str, Any]) -> str:
    """What an agent plays with when nothing is changed, as the command line would say it."""
    if flag == "options":
        return "as published"
    key = {"turns": "max_turns"}.get(flag, flag)
    value = protocol["env"].get(key)
    return "default" if value is None else str(value)


def uses_the_crop(ablations: Mapping[str, Json], results: Mapping[str, Json]) -> Json:
    """{agent: {what it saw: {"accuracy", "interval", "chance", "at_most"}}} for what replaced the
    crop and tells nothing: a model that reads its crop must guess then.

    `at_most` is the interval's upper end: so many are right at most. That chance lies inside the
    interval would show less, the fewer questions were asked.
    """
    table: Json = {}
    for agent, flags in ablations.items():
        chance = results[agent].get("chance")
        for value in REPLACED:
            if chance is not None and (one := flags.get("crop", {}).get(value)):
                table.setdefault(agent, {})[value] = {
                    **_pick(one, ("accuracy", "interval")),
                    "chance": _short(chance),
                    "at_most": one["interval"][1],
                }
    return table


def answers_another(path: Path, datasets: Mapping[str, str]) -> Json:
    """{dataset: {agent: {"share", "n"}}}: how many of the answers given after looking at another
    question's region (`crop=shuffled`) are the right answer of that question."""
    gold: dict[tuple[str, str], str] = {}
    given: list[tuple[str, str, str, str]] = []
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        if not line:
            continue
        row = json.loads(line)
        gold[row["dataset"], row["question_id"]] = row["gold"][0]
        shown = [one["question_id"] for turn in row["episode"]["turns"] for one in turn["shown"]]
        if row["episode"]["crop"] == "shuffled" and shown:
            agent = row["agent"].removesuffix(" [crop=shuffled]")
            given.append((row["dataset"], agent, shown[-1], row["episode"]["answer"]))
    table: Json = {part: {} for part in datasets}
    for part, label in datasets.items():
        hits: dict[str, list[bool]] = {}
        for dataset, agent, other, answer in given:
            if dataset == label and (label, other) in gold:
                hits.setdefault(agent, []).append(answer == gold[label, other])
        for agent, found in hits.items():
            table[part][agent] = {"share": _short(sum(found) / len(found)), "n": len(found)}
    return table


def tables(evidence: Mapping[str, Any]) -> str:
    """Two Markdown tables, everybody and what becomes of those that see a crop when one thing is
    changed, and what the comparisons say in words."""
    said = {
        frozenset((row["a"], row["b"])): row["text"] for row in evidence["comparisons"]["heldout"]
    }
    lines = [f"* {said[pair]}\n" for pair in map(frozenset, TOLD) if pair in said]
    parts = [_markdown(_everybody(evidence)), _markdown(_changed(evidence)), "".join(lines)]
    return "\n".join(filter(None, parts))


def _everybody(evidence: Mapping[str, Any]) -> list[list[str]]:
    held, other = (evidence["results"][part] for part in WORDS)
    heads = (f"{WORDS[part]} (n={_n(evidence['results'][part])})" for part in WORDS)
    first, last = heads
    rows = [["agent", first, "each training", "hit rate", "its crops suffice", last]]
    for name in (name for name in NAMES if name in held):
        summary = held[name]
        each = [percent(value) for value in (summary.get("trainings") or {}).get("values", ())]
        suffices = (summary.get("sufficiency") or {}).get("value")
        rows.append(
            [
                NAMES[name],
                _with_interval(summary),
                ", ".join(each) or "-",
                percent(summary.get("hit_rate")),
                percent(suffices),
                _with_interval(other.get(name)),
            ]
        )
    return rows


def _changed(evidence: Mapping[str, Any]) -> list[list[str]]:
    found = {part: evidence["ablations"][part] for part in WORDS}
    seen = [(name, part) for name in NAMES for part in WORDS if "crop" in found[part].get(name, {})]
    rows = [["what changes", *(f"{NAMES[name]}, {WORDS[part]}" for name, part in seen)]]
    for flag, value, words in _changes([found[part][name] for name, part in seen]):
        cells = (found[part][name].get(flag, {}).get(value) for name, part in seen)
        rows.append([words, *map(_with_interval, cells)])
    return rows


def _changes(tables: Sequence[Json]) -> Iterator[tuple[str, str, str]]:
    """(flag, value, in words) of everything that was changed, the crop first."""
    for value, words in SHOWN.items():
        if any(value in table["crop"] for table in tables):
            yield "crop", value, f"crop: {words}"
    for flag, words in OTHERS.items():
        values = {value for table in tables for value in table.get(flag, {})}
        for value in sorted((v for v in values if v.isdecimal()), key=int):
            if not all(_is_own(table, flag, value) for table in tables):
                yield flag, value, words.format(value)


def _is_own(table: Json, flag: str, value: str) -> bool:
    """Whether the agent plays like that anyway."""
    return bool(table.get(flag, {}).get(value) == table["crop"]["real"])


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _with_interval(summary: Mapping[str, Any] | None) -> str:
    if not summary:
        return "-"
    low, high = (100 * limit for limit in summary["interval"])
    return f"{percent(summary['accuracy'])} ({low:.1f} – {high:.1f})"


def _n(results: Mapping[str, Json]) -> int:
    """Questions of a dataset: an agent without several trainings answered each once."""
    return min(result["n"] for result in results.values())


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body]) + "\n"


def _pick(source: Mapping[str, Any], keys: Iterable[str]) -> Json:
    return {key: _short(source[key]) for key in keys if key in source}


def _short(value: Any) -> Any:
    """Without digits that say nothing."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {key: _short(part) for key, part in value.items()}
    return [_short(part) for part in value] if isinstance(value, list | tuple) else value


def without_places(value: Json) -> Json:
    """Paths as seen from the checkout: what is kept speaks of no machine."""
    return dict(json.loads(json.dumps(value).replace(f"{ROOT}/", "")))


def _read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
