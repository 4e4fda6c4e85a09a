"""What the numbers depend on: agents, rules, questions, code and machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .cells import number
from .parts import Cell, Section, Table


def protocol_section(manifest: Mapping[str, Any]) -> Section:
    """Everything that a second person needs to play the same benchmark."""
    said = []
    if command := manifest.get("command"):
        said.append(f"Command: {command if isinstance(command, str) else ' '.join(command)}")
    tables = [protocol_table(manifest), *variants_table(manifest)]
    tables += [data_table(manifest["datasets"]), run_table(manifest)]
    return Section("Protocol", said, tables=tables)


def protocol_table(manifest: Mapping[str, Any]) -> Table:
    """What differs between agents besides the agent, and must not be mixed up."""
    servers = {name: _servers(manifest, name) for name in manifest["agents"]}
    shown = any(servers.values())
    rows: list[list[str | Cell]] = []
    for name, protocol in manifest["agents"].items():
        if protocol.get("variant_of"):
            continue
        env = protocol["env"]
        pixels = f"{env['min_pixels']} – {env['max_pixels']}"
        boxes = f"{env['box_dialect']}, {env['box_parser']}"
        engine = protocol.get("engine", {}).get("name", "script")
        trainings = protocol.get("trainings") or ()
        several = f" and {len(trainings) - 1} more trainings" if len(trainings) > 1 else ""
        what = [Cell(f"{protocol['agent']}{several}", wraps=True), Cell(engine)]
        what += [Cell(servers[name] or "–", wraps=True)] if shown else []
        rules = [env["dialogue"], str(env["prompt"]), Cell(pixels, env["max_pixels"]), boxes]
        rest = [str(env.get("grader", "–")), str(env.get("crop", "real"))]
        rows.append([name, *what, *rules, *rest])
    header = ["agent", "what it is", "engine", *(["server"] if shown else [])]
    header += ["dialogue", "prompt", "pixels seen", "boxes", "grader", "crop"]
    return Table(header, rows, caption="Agents")


def variants_table(manifest: Mapping[str, Any]) -> list[Table]:
    """The ablations: each is its agent with one thing changed. Empty when there are none."""
    rows: list[list[str | Cell]] = [
        [name, protocol["variant_of"], *map(str, protocol["condition"])]
        for name, protocol in manifest["agents"].items()
        if protocol.get("variant_of")
    ]
    header = ["ablation", "of", "changed", "value"]
    return [Table(header, rows, fold=f"Ablations ({len(rows)})")] if rows else []


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


def data_table(datasets: Mapping[str, Any]) -> Table:
    """What the questions are: two tables with the same data hash asked the same ones."""
    rows: list[list[str | Cell]] = []
    for name, data in datasets.items():
        notes = "; ".join(data["notes"]) or "–"
        counts = [number(data["questions"]), number(data["skipped"])]
        rows.append([name, *counts, data["hash"][:16], Cell(notes, wraps=True)])
    header = ["dataset", "questions", "rows left out", "data hash", "notes"]
    return Table(header, rows, caption="Questions")


def _processors(machine: Mapping[str, Any]) -> dict[str, list[str]]:
    return {"CPU": [machine.get("cpu") or ""], "GPU": machine.get("gpus") or []}


def run_table(manifest: Mapping[str, Any]) -> Table:
    """The run itself: seed, code, machine, versions."""
    git = manifest.get("git") or {}
    changed = ", with changes in no commit" if git.get("dirty") else ""
    machine = manifest.get("machine", {})
    facts: dict[str, str] = {
        "seed": str(manifest["seed"]),
        "samples": str(manifest.get("samples") or "–"),
        "limit": str(manifest.get("limit") or "none"),
        "git commit": f"{git['commit']}{changed}" if git.get("commit") else "not in a checkout",
        "machine": f"{machine.get('system', '–')}, {machine.get('cores', '–')} cores",
        **{name: ", ".join(parts) for name, parts in _processors(machine).items() if any(parts)},
        **{name: str(version) for name, version in manifest["versions"].items()},
    }
    return Table(
        ["run", "value"], [[k, Cell(v, wraps=True)] for k, v in facts.items()], caption="Run"
    )
