"""What a reader has to know before the numbers: differences inside the noise, and what is odd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .parts import Notice
from .tables import failed_line


def notices(
    summaries: Mapping[str, Mapping[str, Mapping[str, Any]]],
    comparisons: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
) -> list[Notice]:
    """Warnings first, then what can be told apart. Comparisons of an agent with a variant of
    itself are the affair of the ablations."""
    pairs = pairs_of_agents(comparisons, manifest)
    inside = [pair["text"] for pair in pairs if pair["inside_noise"]]
    outside = [pair["text"] for pair in pairs if not pair["inside_noise"]]
    found = [Notice("Inside the noise: these differences may be chance", inside)] if inside else []
    if odd := _odd(summaries, manifest):
        found.append(Notice("Read the numbers with this in mind", odd))
    if outside:
        found.append(Notice("Larger than the noise", outside, warns=False))
    return found


def pairs_of_agents(
    comparisons: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Comparisons of agents that are no variants; those of models first, a floor or ceiling is of
    less interest."""
    agents = manifest["agents"]
    pairs = [
        pair
        for pair in comparisons
        if not any(is_variant(agents, pair[side]) for side in ("a", "b"))
    ]
    return sorted(pairs, key=lambda p: sum(is_script(agents, p[side]) for side in ("a", "b")))


def is_variant(agents: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    """Whether an agent is an ablation of another one."""
    return bool(agents.get(name, {}).get("variant_of"))


def is_script(agents: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    """Whether an agent is scripted: a floor or a ceiling."""
    return "engine" not in agents.get(name, {})


def _odd(
    summaries: Mapping[str, Mapping[str, Mapping[str, Any]]], manifest: Mapping[str, Any]
) -> list[str]:
    """What weighs most first, for only the first lines are open: the code, what failed or is
    missing, then what was not played."""
    lines = [*_of_code(manifest), *_single(summaries, manifest)]
    for dataset, data in manifest["datasets"].items():
        table = {agent: of[dataset] for agent, of in summaries.items() if dataset in of}
        lines += [f"{dataset}: {line}" for line in failed_line(table)]
        if skipped := data.get("skipped"):
            lines.append(f"{dataset}: {skipped} rows of the dataset could not be used.")
        counts = {summary["n"] for summary in table.values() if "n" in summary}
        per_training = {_per_training(summary) for summary in table.values()}
        if len(counts) > 1 and len(per_training) > 1:
            told = ", ".join(f"{agent} {summary['n']}" for agent, summary in table.items())
            lines.append(f"{dataset}: the agents did not answer the same questions: {told}.")
        lines += [
            f"{dataset}: asked were only {note}; this is not the dataset's own number."
            for note in data.get("notes", ())
            if note.startswith("the first ")
        ]
    return [
        *lines,
        *sorted(manifest.get("notes", ()), key=lambda note: ": no ablation of " in note),
    ]


def _of_code(manifest: Mapping[str, Any]) -> list[str]:
    lines = []
    if (manifest.get("git") or {}).get("dirty"):
        lines.append("The code had changes that are in no commit.")
    if any("git.commit" in before for before in manifest.get("earlier", ())):
        lines.append("The run was interrupted, and went on with the code of another commit.")
    return lines


def _single(summaries: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """That one training each tells weights apart and not recipes, where two models are compared."""
    agents = manifest["agents"]
    models = [
        name
        for name in summaries
        if name in agents and not (is_variant(agents, name) or is_script(agents, name))
    ]
    single = [name for name in models if len(agents[name].get("trainings") or [""]) == 1]
    if len({agents[name].get("agent") for name in single}) < 2:
        return []
    return [
        f"One training each: {', '.join(single)}. What is said of them in pairs holds for these "
        "weights; it says nothing about the same recipes with another seed."
    ]


def _per_training(summary: Mapping[str, Any]) -> float:
    trainings = (summary.get("trainings") or {}).get("values") or [None]
    questions: float = summary["n"] / len(trainings)
    return questions
