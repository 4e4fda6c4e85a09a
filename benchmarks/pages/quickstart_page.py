"""The quickstart's report: what the page says and shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..metrics import Row
from ..processes import TrainingRun
from ..specs import AgentSpec
from .drawings import draw_questions
from .parts import (
    Card,
    Page,
    Section,
    bars_picture,
    panel_picture,
    percent,
    write_page,
)
from .plots import Bar, Panel, overview_png
from .sheets import question_png
from .tables import summary_table

LABELS = {
    "random": "random",
    "base_single_turn": "before RL, one look",
    "base": "before RL, two turns",
    "grpo": "GRPO, one look",
    "mgpo": "MGPO, two turns",
    "oracle": "oracle",
}
VARIANT_OF = {"base_single_turn": "base"}
"""Agents that are drawn in another one's colour, with a hatch."""
DRAWN_QUESTIONS = 4

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]


def write_report(
    out: Path,
    results: Results,
    rows: Sequence[Row],
    runs: Sequence[TrainingRun],
    agents: Sequence[AgentSpec],
    manifest: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> Path:
    """Write report.html, summary.png and episodes/1.png ... into `out`; returns the page's path."""
    held = results["heldout"]
    chance = held["random"].get("chance")
    panels = training_panels(runs, chance)
    chosen = [panels[title] for title in OVERVIEW if title in panels]
    (out / "summary.png").write_bytes(overview_png(bars_of(held), chance, chosen))
    episodes = _episodes(rows, agents)
    (out / "episodes").mkdir(exist_ok=True)
    for n, question in enumerate(episodes.questions, start=1):
        (out / f"episodes/{n}.png").write_bytes(question_png(question))
    sections = [
        _accuracy(held, chance),
        _curves(list(panels.values())),
        _unfamiliar(results["out_of_distribution"]),
        episodes,
        Section("What this shows, and what it does not", paragraphs=HONESTY),
    ]
    page = Page(
        title="Learning to look: GRPO and MGPO on one task",
        lead=LEAD,
        cards=_cards(held, seconds),
        sections=sections,
        footer=_footer(manifest),
    )
    return write_page(page, out / "report.html")


LEAD = (
    "A vision-language model of one million parameters answers questions about a detail that its "
    "view of the image cannot show. With GRPO it looks once and answers. With MGPO it first points "
    "at a region, which is cut out of the original and shown to it enlarged, and then answers. "
    "Both start from the same weights and get the same reward: 1 for a right final answer, else 0. "
    "Nothing rewards the box itself."
)

HONESTY = (
    "The task is built so that one look cannot win: the pattern asked for is finer than a pixel of "
    "the view. Chance is the most that any single-turn agent can reach, however it is trained, so "
    "GRPO's bar says nothing about GRPO as an algorithm; MGPO differs from it by the dialogue, not "
    "by the loss.",
    "The model before reinforcement learning (RL) was made for this demonstration by a supervised "
    "warm start that teaches two separate skills: to point at an object loosely, on purpose with "
    "boxes that are too large and off-centre, and to read a clear crop of an unrelated scene. It "
    "never saw its own box followed by its own crop. RL therefore has something to discover, "
    "namely that tighter boxes make right answers, and the looseness it starts from was chosen by "
    "us.",
    "So the gap shows that the mechanism works, grounding from the reward of the answer alone, and "
    "not how large the effect is on photographs with a real model: the paper reports +5.4 and +5.2 "
    "points over GRPO for a model of 7 billion parameters. The greedy hit rate may fall while the "
    "sampled one rises: smaller boxes miss a centre more easily. Look at hit rate, IoU, coverage "
    "and box side together.",
)


def bars_of(table: Mapping[str, Mapping[str, Any]]) -> list[Bar]:
    return [
        Bar(
            LABELS[name],
            r["accuracy"],
            r["interval"],
            VARIANT_OF.get(name, name),
            lap=name in VARIANT_OF,
        )
        for name, r in table.items()
    ]


def labelled(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """By label; a measure without a value is left out."""
    return {
        LABELS[name]: {k: v for k, v in result.items() if v is not None}
        for name, result in table.items()
    }


def _accuracy(held: Mapping[str, Mapping[str, Any]], chance: float | None) -> Section:
    n = held["mgpo"]["n"]
    caption = f"{n} held-out questions, greedy replies; 95% Wilson intervals; dotted: chance."
    return Section(
        "Held-out questions",
        pictures=[bars_picture(bars_of(held), chance, caption)],
        wide=True,
        tables=[summary_table(labelled(held))],
        paragraphs=(
            "New scenes from the distribution of training. Hit rate: share of the boxes that hold "
            "the centre of the object asked for, where no valid box counts as a miss. Coverage: "
            "share of the object inside the box. Box side: in thousandths of the image's side, of "
            "valid boxes. IoU, coverage and box side are those of greedy replies.",
        ),
    )


# Title -> (split, metric, percent, moving average over steps).
CURVES = {
    "Reward in training": ("train", "reward_mean", True, 9),
    "Accuracy": ("eval", "accuracy", True, 1),
    "Valid boxes": ("eval", "valid_box_rate", True, 1),
    "Hit rate, sampled": ("eval", "hit_rate_sampled", True, 1),
    "Hit rate, greedy": ("eval", "hit_rate_greedy", True, 1),
    "IoU": ("eval", "iou", True, 1),
    "Coverage": ("eval", "coverage", True, 1),
    "Box side, ‰ of the image": ("eval", "box_side", False, 1),
}
OVERVIEW = ("Accuracy", "Hit rate, sampled", "IoU", "Box side, ‰ of the image")


def training_panels(runs: Sequence[TrainingRun], chance: float | None) -> dict[str, Panel]:
    """One panel per metric with a curve per run; a metric that no run has is left out."""
    panels = {}
    for title, (split, metric, is_percent, window) in CURVES.items():
        series = {}
        for run in runs:
            points = [(r["step"], r[metric]) for r in run.rows(split) if r.get(metric) is not None]
            if points:
                steps, values = zip(*points, strict=True)
                series[run.name] = (steps, values)
        if series:
            reference = chance if metric in ("accuracy", "reward_mean") else None
            panels[title] = Panel(title, series, is_percent, reference, window)
    return panels


def _curves(panels: Sequence[Panel]) -> Section:
    return Section(
        "Over training",
        pictures=[panel_picture(panel) for panel in panels],
        small=True,
        paragraphs=(
            "Against training steps. The reward is that of the training questions, pale as it "
            "came and bold as a mean over 9 steps; everything else is measured every few steps on "
            "held-out questions, on greedy replies unless it says sampled. No step was chosen by "
            "these curves: the model evaluated is that of the last step.",
        ),
    )


def _unfamiliar(table: Mapping[str, Mapping[str, Any]]) -> Section:
    categories = {
        f"{category} · {LABELS[agent]}": {k: v for k, v in part.items() if v is not None}
        for category in table["mgpo"].get("categories", {})
        for agent in ("base", "grpo", "mgpo")
        for part in (table[agent]["categories"][category],)
    }
    tables = [summary_table(labelled(table))]
    if categories:
        tables.append(summary_table(categories, "category · agent"))
    caption = f"{table['mgpo']['n']} questions of kinds that training never showed."
    return Section(
        "Out of distribution",
        pictures=[bars_picture(bars_of(table), table["random"].get("chance"), caption)],
        wide=True,
        tables=tables,
        paragraphs=("Smaller and bigger objects, more of them, and images of twice the side.",),
    )


def _episodes(rows: Sequence[Row], agents: Sequence[AgentSpec]) -> Section:
    dataset = rows[0]["dataset"]
    held = [row for row in rows if row["dataset"] == dataset]
    ids = list(dict.fromkeys(row["question_id"] for row in held))[:DRAWN_QUESTIONS]
    name, _, split = dataset.partition(":")
    environments = {
        spec.name: {**spec.env, "dataset": name, "split": split}
        for spec in agents
        if spec.name in ("base", "mgpo")
    }
    return Section(
        "The same questions before and after",
        questions=draw_questions(held, environments, ids, LABELS),
        paragraphs=(
            f"The first {len(ids)} held-out questions, not a selection. Left the model before RL, "
            "right the same model after MGPO. Its box is blue; the gold box, which it never sees, "
            "is orange and dashed. The texts are what was said, word by word; <image> stands where "
            "an image went.",
        ),
    )


def _cards(held: Mapping[str, Mapping[str, Any]], seconds: Mapping[str, float]) -> list[Card]:
    def accuracy(name: str, label: str) -> Card:
        low, high = held[name]["interval"]
        return Card(label, percent(held[name]["accuracy"]), f"{percent(low)} – {percent(high)}")

    gap = 100 * (held["mgpo"]["accuracy"] - held["grpo"]["accuracy"])
    hits = [percent(held[name]["hit_rate_sampled"]) for name in ("base", "mgpo")]
    return [
        accuracy("mgpo", "MGPO, held-out accuracy"),
        accuracy("grpo", "GRPO, held-out accuracy"),
        Card("MGPO above GRPO", f"{gap:+.1f}", "points"),
        Card("sampled hit rate", hits[1], f"before: {hits[0]}"),
        Card("time", f"{sum(seconds.values()) / 60:.1f} min", "training and evaluation"),
    ]


def _footer(manifest: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    machine = manifest["machine"]
    rules = manifest["agents"]["mgpo"]["env"]
    view = f"views and crops of {rules['min_pixels']} to {rules['max_pixels']} pixels"
    return [
        f"Prompt {rules['prompt']!r}, {view}, boxes {rules['box_dialect']}, parser "
        f"{rules['box_parser']}, seed {manifest['seed']}.",
        f"{machine['system']}, {machine['cores']} cores; {versions}.",
    ]
