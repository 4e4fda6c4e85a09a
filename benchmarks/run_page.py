"""The page of `benchmarks.run`: a section per dataset, then what agents and questions are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .plots import Bar
from .report import (
    Page,
    Section,
    Table,
    aggregation_table,
    bars_picture,
    failed_line,
    summary_table,
    usage_table,
)

USAGE = (
    "Requests, tokens and cost are those of all episodes, sampled ones and failed ones included. "
    "Cost is in the currency of the prices in the agent's config. Kept replies were read from "
    "disk; they were paid for before, by a run that was broken off or another one, and are in no "
    "other number. Unmetered are requests whose tokens nobody counted; they are missing."
)


def make_page(summaries: dict[str, dict[str, Any]], manifest: dict[str, Any]) -> Page:
    """One section per dataset: bars, the table, and a table per category where there are some."""
    parts = {
        dataset: {agent: of[dataset] for agent, of in summaries.items() if dataset in of}
        for dataset in manifest["datasets"]
    }
    sections = [_dataset_section(dataset, table) for dataset, table in parts.items()]
    lead = f"{len(summaries)} agents on {len(sections)} datasets, seed {manifest['seed']}."
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    tables = [protocol_table(manifest), data_table(manifest["datasets"])]
    used = any("usage" in part for table in parts.values() for part in table.values())
    protocol = Section("Protocol", [USAGE] if used else [], tables=tables)
    return Page("Benchmark", lead, sections=[*sections, protocol], footer=[versions])


def _dataset_section(dataset: str, table: dict[str, dict[str, Any]]) -> Section:
    chances = {part.get("chance") for part in table.values()}
    bars = [Bar(agent, s["accuracy"], s["interval"], agent) for agent, s in table.items()]
    used = usage_table(table)
    tables = [summary_table(table), *([used] if used else [])]
    if any({"aggregations", "official"} & set(summary) for summary in table.values()):
        tables.append(aggregation_table(table))
    by_category = {
        f"{agent} · {name}": part
        for agent, summary in table.items()
        for name, part in summary.get("categories", {}).items()
    }
    if by_category:
        tables.append(summary_table(by_category, "agent · category"))
    chance = chances.pop() if len(chances) == 1 else None
    picture = bars_picture(bars, chance, "Accuracy with 95% intervals.")
    return Section(dataset, failed_line(table), pictures=[picture], wide=True, tables=tables)


def protocol_table(manifest: Mapping[str, Any]) -> Table:
    """What differs between agents besides the agent, and must not be mixed up."""
    servers = {name: _servers(manifest, name) for name in manifest["agents"]}
    shown = any(servers.values())
    rows = []
    for name, protocol in manifest["agents"].items():
        env = protocol["env"]
        pixels = f"{env['min_pixels']} – {env['max_pixels']}"
        boxes = f"{env['box_dialect']}, {env['box_parser']}"
        engine = protocol.get("engine", {}).get("name", "script")
        what = [protocol["agent"], engine, *([servers[name] or "–"] if shown else [])]
        rows.append([name, *what, env["dialogue"], env["prompt"], pixels, boxes])
    header = ["agent", "what it is", "engine", *(["server"] if shown else [])]
    return Table([*header, "dialogue", "prompt", "pixels seen", "boxes"], rows)


def _servers(manifest: Mapping[str, Any], agent: str) -> str:
    """Where an agent was asked: its server, and those of the run before it went on."""
    engine = manifest["agents"][agent].get("engine", {})
    if "url" not in engine:
        return ""
    key = f"agents.{agent}.engine.url"
    earlier = [values[key] for values in manifest.get("earlier", []) if key in values]
    kind = f"{engine['server']} at " if "server" in engine else ""
    before = f", before: {', '.join(earlier)}" if earlier else ""
    return f"{kind}{engine['url']}{before}"


def data_table(datasets: dict[str, Any]) -> Table:
    """What the questions are: two tables with the same data hash asked the same ones."""
    rows = []
    for name, data in datasets.items():
        notes = "; ".join(data["notes"]) or "–"
        counts = [str(data["questions"]), str(data["skipped"])]
        rows.append([name, *counts, data["hash"][:16], notes])
    return Table(["dataset", "questions", "rows left out", "data hash", "notes"], rows)
