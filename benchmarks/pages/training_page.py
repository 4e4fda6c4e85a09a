"""The page of a training run: curves, warnings, episodes by step, settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .cells import MISSING, VIEWER, duration, episodes_of, number, share
from .parts import Card, Cell, Notice, Page, Section, Table, panel_picture, percent
from .plots import Panel
from .runs import TrainedRun

TRAIN, EVAL = "train", "eval"

CURVES: Mapping[str, Sequence[tuple[str, str, str, bool]]] = {
    "What it learns": (
        ("Reward in training", TRAIN, "reward_mean", True),
        ("Accuracy, held-out, greedy", EVAL, "accuracy", True),
        ("Accuracy, held-out, sampled", EVAL, "accuracy_sampled", True),
    ),
    "Where it looks": (
        ("Valid boxes in training", TRAIN, "valid_box_rate", True),
        ("Valid boxes, held-out, greedy", EVAL, "valid_box_rate", True),
        ("Hit rate in training", TRAIN, "hit_rate_sampled", True),
        ("Hit rate, held-out, greedy", EVAL, "hit_rate_greedy", True),
        ("Hit rate, held-out, sampled", EVAL, "hit_rate_sampled", True),
        ("IoU, held-out, greedy", EVAL, "iou", True),
        ("Coverage, held-out, greedy", EVAL, "coverage", True),
        ("Box side in training, ‰", TRAIN, "box_side_sampled", False),
        ("Box side, held-out, greedy, ‰", EVAL, "box_side", False),
        ("Tool rate", TRAIN, "tool_rate", True),
        ("Crops shown", TRAIN, "crop_rate", True),
    ),
    "How it speaks": (
        ("Tokens per reply", TRAIN, "tokens_per_reply", False),
        ("Tokens of the longest reply", TRAIN, "tokens_longest_reply", False),
        ("Turns per episode", TRAIN, "turns_per_episode", False),
        ("Replies that were cut", TRAIN, "stop_length", True),
        ("Episodes out of turns", TRAIN, "over_turn_share", True),
        ("Episodes that failed", TRAIN, "errors", False),
    ),
    "The update": (
        ("Entropy, nats per token", TRAIN, "entropy", False),
        ("Groups without a signal", TRAIN, "zero_variance_share", True),
        ("Loss", TRAIN, "loss", False),
        ("Gradient norm", TRAIN, "grad_norm", False),
        ("Learning rate", TRAIN, "lr", False),
        ("Tokens clipped", TRAIN, "clip_fraction", True),
        ("KL from the first policy", TRAIN, "kl_reference", False),
        ("Trainer and sampler apart, nats", TRAIN, "mismatch_mean", False),
        ("Seconds per step", TRAIN, "seconds_step", False),
    ),
}
"""Section -> (title, split, metric, whether it is a share)."""
FAULTS = {"errors", "stop_length", "over_turn_share", "clip_fraction"}
"""Drawn only where there were some."""
COUNTED = {
    (EVAL, name)
    for name in (
        "accuracy",
        "accuracy_sampled",
        "valid_box_rate",
        "hit_rate_greedy",
        "hit_rate_sampled",
    )
}
"""Shares of the held-out questions, one count each: they have intervals."""
SMOOTH, LONG = 9, 30
"""Steps of the moving average, for curves of more than so many points."""
NOTES = {
    "What it learns": "The reward is that of the training questions; held-out questions are asked "
    "every few steps, and their 95% intervals are what other questions of the kind would bring. "
    "Curves of many steps are drawn pale as they came and bold as a mean over "
    f"{SMOOTH} steps.",
    "Where it looks": "The last valid box against the gold box, which the model never sees. "
    "Without a box an episode counts 0, except for the side of the box.",
}


def make_training_page(run: TrainedRun, others: Sequence[TrainedRun] = ()) -> Page:
    """The report of a training run; `others` are drawn beside it."""
    runs = [run, *others]
    order = [one.name for one in runs]
    sections = [_curves(title, rows, runs, order) for title, rows in CURVES.items()]
    own = _own_metrics(runs)
    if own:
        sections.append(_curves("The algorithm's own numbers", own, runs, order))
    sections = [section for section in sections if section.pictures]
    if run.episodes:
        sections.append(_episodes(run))
    sections += [_ends(runs), _settings(runs)]
    return Page(
        title=f"Training: {run.name}",
        lead=_lead(run, others),
        cards=_cards(run),
        sections=sections,
        footer=[", ".join(f"{k} {v}" for k, v in _flat(run.versions))] if run.versions else (),
        notices=_notices(run),
        links=[Cell("Look at training episodes", href=VIEWER)] if run.episodes else (),
    )


def panels(
    rows: Sequence[tuple[str, str, str, bool]], runs: Sequence[TrainedRun], order: Sequence[str]
) -> list[Panel]:
    """A panel per metric with a curve per run; a metric that no run has is left out, and so is a
    fault that none had."""
    found = []
    for title, split, metric, is_share in rows:
        every = {run.name: run.series(split, metric) for run in runs}
        series = {name: points for name, points in every.items() if points}
        if not series or (metric in FAULTS and _always_zero(series.values())):
            continue
        long = max(len(steps) for steps, _ in series.values()) > LONG
        smooth = SMOOTH if split == TRAIN and long else 1
        bounds = {
            run.name: run.intervals(split, metric) for run in runs if (split, metric) in COUNTED
        }
        found.append(Panel(title, series, is_share, None, smooth, order, bounds))
    return found


def _always_zero(series: Any) -> bool:
    return all(value == 0 for _, values in series for value in values)


def _curves(
    title: str,
    rows: Sequence[tuple[str, str, str, bool]],
    runs: Sequence[TrainedRun],
    order: Sequence[str],
) -> Section:
    pictures = [panel_picture(panel) for panel in panels(rows, runs, order)]
    return Section(title, [NOTES[title]] if title in NOTES else [], pictures, small=True)


def _own_metrics(runs: Sequence[TrainedRun]) -> list[tuple[str, str, str, bool]]:
    names = {name for run in runs for row in run.rows for name in row}
    own = sorted(name for name in names if name.startswith("algorithm/"))
    return [(name.removeprefix("algorithm/"), TRAIN, name, False) for name in own]


def _lead(run: TrainedRun, others: Sequence[TrainedRun]) -> str:
    config = run.config
    algorithm = _at(config, "algorithm.name") or "an algorithm that config.yaml does not name"
    planned = _at(config, "optim.steps")
    done = run.rows[-1]["step"]
    steps = f"{done} of {planned} steps" if planned else f"{done} steps"
    data = _at(config, "env.dataset")
    on = f" on {data}" if data else ""
    beside = f", beside {', '.join(other.name for other in others)}" if others else ""
    seed = config.get("seed")
    said = f", seed {seed}" if seed is not None else ""
    return f"{algorithm}{on}: {steps}{said}{beside}."


def _cards(run: TrainedRun) -> list[Card]:
    cards = []
    for label, split, metric in (
        ("reward in training", TRAIN, "reward_mean"),
        ("accuracy, held-out", EVAL, "accuracy"),
        ("valid boxes, held-out", EVAL, "valid_box_rate"),
        ("hit rate, held-out, sampled", EVAL, "hit_rate_sampled"),
    ):
        if found := run.series(split, metric):
            steps, values = found
            note = f"step {steps[-1]:g}; {percent(values[0])} at step {steps[0]:g}"
            bounds = run.intervals(split, metric) if (split, metric) in COUNTED else []
            if bounds:
                low, high = bounds[-1]
                asked = f"{percent(low)} – {percent(high)} of {run.asked(split)} questions"
                note = f"95%: {asked}; {note}"
            cards.append(Card(label, percent(values[-1]), note))
    if found := run.series(TRAIN, "seconds_step"):
        cards.append(Card("time of all steps", duration(sum(found[1])), "evaluation aside"))
    return cards


def _notices(run: TrainedRun) -> list[Notice]:
    """What the run said about itself, the same words once with a count."""
    counts: dict[str, int] = {}
    for line in run.log:
        _, mark, text = line.partition("warning: ")
        if mark:
            counts[text] = counts.get(text, 0) + 1
    lines = [text if n == 1 else f"{text} ({n} times)" for text, n in counts.items()]
    return [Notice("The run warned", lines)] if lines else []


def _episodes(run: TrainedRun) -> Section:
    links = [
        Cell(f"step {step} ({count})", href=episodes_of(step=step))
        for step, count in run.episodes.items()
    ]
    text = "Some of the sampled episodes of these steps, the best and the worst of their groups."
    return Section("Episodes by step", [text], links=links)


def _ends(runs: Sequence[TrainedRun]) -> Section:
    """The last number of every metric that any run has."""
    rows: list[list[str | Cell]] = []
    for title, split, metric, is_share in (row for part in CURVES.values() for row in part):
        values = [run.last(split, metric) for run in runs]
        if any(value is not None for value in values):
            show = share if is_share else number
            cells = [MISSING if value is None else show(value) for value in values]
            rows.append([title, Cell(metric), *cells])
    header = ["measure", "name", *(run.name for run in runs)]
    return Section("Last values", tables=[Table(header, rows)])


def _settings(runs: Sequence[TrainedRun]) -> Section:
    """Every setting; of several runs those that differ stand first, open."""
    every = [dict(_flat(run.config)) for run in runs]
    keys = list(dict.fromkeys(key for one in every for key in one))
    lines: list[list[str | Cell]] = [
        [key, *(Cell(one.get(key, "–"), wraps=True) for one in every)] for key in keys
    ]
    header = ["setting", *(run.name for run in runs)]
    differ = [
        line
        for key, line in zip(keys, lines, strict=True)
        if len({one.get(key) for one in every}) > 1
    ]
    tables = [Table(header, differ, caption="Settings that differ")] if differ else []
    tables.append(Table(header, lines, fold=f"All {len(lines)} settings (config.yaml)"))
    return Section("Settings", tables=tables)


def _at(config: Mapping[str, Any], path: str) -> Any:
    value: Any = config
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings by path, as text."""
    if not isinstance(value, Mapping) or not value:
        yield at, str(value)
        return
    for key, part in value.items():
        yield from _flat(part, f"{at}.{key}" if at else str(key))
