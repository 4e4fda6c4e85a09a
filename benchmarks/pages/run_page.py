"""The page of `benchmarks.run`: warnings, then each dataset, then what agents and questions are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .cells import VIEWER, duration
from .dataset_section import dataset_sections
from .notices import is_variant, notices
from .parts import Card, Cell, Page
from .protocol_section import protocol_section

Summaries = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""{agent: {dataset: summary}}; variants are agents there."""


def make_page(
    summaries: Summaries,
    comparisons: Sequence[Mapping[str, Any]],
    published: Mapping[str, Sequence[Mapping[str, Any]]],
    manifest: Mapping[str, Any],
) -> Page:
    """The report of a benchmark.

    `comparisons`: see `benchmarks.statistics.families.compare_all`; `published`: the published
    numbers of each dataset, see `benchmarks.published.beside`; `manifest`: what manifest.json
    holds.
    """
    sections = []
    for dataset in manifest["datasets"]:
        table = {agent: of[dataset] for agent, of in summaries.items() if dataset in of}
        if table:
            known = published.get(dataset, ())
            sections += dataset_sections(dataset, table, comparisons, known, manifest)
    return Page(
        title="Benchmark",
        lead=_lead(manifest),
        cards=_cards(summaries, manifest),
        sections=[*sections, protocol_section(manifest)],
        footer=["Every number has its episodes: press an agent, a category or a pair."],
        notices=notices(summaries, comparisons, manifest),
        links=[Cell("Look at the episodes", href=VIEWER)],
    )


def _lead(manifest: Mapping[str, Any]) -> str:
    agents, datasets = manifest["agents"], manifest["datasets"]
    own = [name for name in agents if not is_variant(agents, name)]
    variants = len(agents) - len(own)
    beside = f" and {_count(variants, 'ablation')}" if variants else ""
    commit = (manifest.get("git") or {}).get("commit")
    code = f", code {commit[:12]}" if commit else ""
    return (
        f"{_count(len(own), 'agent')}{beside} on {_count(len(datasets), 'dataset')}, seed "
        f"{manifest['seed']}{code}. Intervals are of 95%: what other questions of the same kind, "
        "and other trainings where there are several, would bring."
    )


def _cards(summaries: Summaries, manifest: Mapping[str, Any]) -> list[Card]:
    parts = [summary for of in summaries.values() for summary in of.values()]
    asked = sum(data["questions"] for data in manifest["datasets"].values())
    drawn = sum(part["n"] * part["draws"]["k"] for part in parts if part.get("draws"))
    beside = f"{drawn:,} sampled ones beside them" if drawn else "all agents"
    alone = "greedy episodes, without the sampled" if drawn else "greedy episodes"
    cards = [
        Card("questions", f"{asked:,}", _count(len(manifest["datasets"]), "dataset")),
        Card("greedy episodes", f"{sum(part['n'] for part in parts):,}", beside),
    ]
    costs = [(part["n"], part.get("cost") or {}) for part in parts]
    tokens = sum(n * (cost.get("image_tokens") or 0) for n, cost in costs)
    seconds = sum(n * (cost.get("seconds") or 0) for n, cost in costs)
    if tokens:
        cards.append(Card("image tokens", _large(tokens), alone))
    if seconds:
        cards.append(Card("computing time", duration(seconds), alone))
    return cards


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _large(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f}"
