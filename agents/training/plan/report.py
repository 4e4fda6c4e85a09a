"""A plan in words: tables for people, one JSON object for scripts."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from . import MARGIN, Plan, alternatives, remedy
from .memory import GIB, PHASES
from .seconds import ASSUMED, MEANINGS, Range
from .work import form_of

PROPOSED = 5
"""Changes that are shown when a plan does not fit."""


def as_json(made: Plan) -> dict[str, Any]:
    """Bytes, tokens and seconds of a plan; keys are those of the tables."""
    usual = made.works[1]
    return {
        "gpu": made.card.name,
        "gpus": made.config.scale.processes,
        "model": made.shapes.source,
        "parameters": made.shapes.parameters,
        "trained": made.shapes.trained,
        "memory": {
            item.name: {"gpu": item.gpu, "host": item.host, "phases": list(item.phases)}
            for item in made.items
        },
        "gpu_bytes": {phase: made.gpu(phase) for phase in PHASES},
        "gpu_room": made.room,
        "host_bytes": made.host,
        "machine_bytes": made.machine,
        "disk_bytes": made.run.disk,
        "fits": made.fits,
        "tokens": {name: made.total(name) for name in ("sampled", "prefill", "trained", "plain")},
        "saved_by_sharing": usual.saved,
        "traffic": vars(made.traffic),
        "seconds": {stage.name: vars(stage.seconds) for stage in made.stages},
        "seconds_step": vars(made.seconds),
        "seconds_evaluation": vars(made.run.evaluation),
        "seconds_checkpoint": vars(made.run.checkpoint),
        "seconds_run": vars(made.run.seconds) if made.run.seconds else None,
    }


def show(made: Plan, console: Console | None = None) -> None:
    """Print the plan and the verdict, and what to change where it does not fit."""
    console = console or Console()
    config, card = made.config, made.card
    zero = f"ZeRO-{made.zero.stage}" if made.zero.deepspeed else "no DeepSpeed"
    if made.zero.optimizer_on_host:
        zero += ", moments in main memory"
    console.print(
        f"{config.scale.processes} x {card.name} ({card.memory:g} GiB), {zero}, engine "
        f"{config.engine.name}, {config.model.dtype}; {made.shapes.source}"
    )
    for table in (
        _parameters(made),
        _memory(made),
        _work(made),
        _seconds(made),
        _run(made),
        _assumed(),
    ):
        console.print(table)
    _verdict(made, console)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", expand=False)
    for n, column in enumerate(columns):
        table.add_column(column, justify="right" if n else "left", no_wrap=n > 0)
    return table


def _parameters(made: Plan) -> Table:
    table = _table("Parameters, millions", "part", "all", "trained")
    for part, count in made.shapes.parameters.items():
        if count:
            table.add_row(part, f"{count / 1e6:,.1f}", f"{made.shapes.trained[part] / 1e6:,.1f}")
    table.add_row(
        "together", f"{made.shapes.total / 1e6:,.1f}", f"{made.shapes.n_trained / 1e6:,.1f}"
    )
    return table


def _memory(made: Plan) -> Table:
    title = "Memory, GiB: of each GPU by phase, and main memory of the first process"
    table = _table(title, "what", *PHASES, "main")
    for item in made.items:
        if item.gpu or item.host:
            cells = [_gib(item.gpu) if phase in item.phases else "" for phase in PHASES]
            table.add_row(item.name, *cells, _gib(item.host))
    table.add_section()
    table.add_row("together", *(_gib(made.gpu(phase)) for phase in PHASES), _gib(made.host))
    table.add_row(f"room (card less {MARGIN:.0%})", *[_gib(made.room)] * len(PHASES), "")
    blank = [""] * len(PHASES)
    table.add_row("a machine's main memory, all processes", *blank, _gib(made.machine))
    return table


def _work(made: Plan) -> Table:
    work, moved = made.works[1], made.traffic
    table = _table("A step, all GPUs (replies and crops at half of their limits)", "what", "")
    table.add_row(
        "questions x siblings",
        f"{made.config.rollout.groups_per_step:,} x {made.config.rollout.group_size}",
    )
    for name, count in (
        ("tokens drawn", "sampled"),
        ("tokens read by the engine", "prefill"),
        (f"tokens of the training passes ({form_of(made.config)})", "trained"),
        ("the same in plain rows", "plain"),
    ):
        table.add_row(name, f"{made.total(count):,}")
    table.add_row("saved by sharing", f"{work.saved:.0%}")
    table.add_row("largest micro-batch, tokens", f"{made.micro.tokens:,}")
    table.add_row("micro-batches of each GPU", f"{work.n_micro:,}")
    for name, size in (
        ("gradients sent by each GPU, GB", moved.gradients),
        ("weights gathered by each GPU, GB", moved.weights),
        ("weights to each engine, GB", moved.engine),
        ("to and from main memory, GB", moved.host),
    ):
        table.add_row(name, f"{size / 1e9:,.1f}")
    return table


def _seconds(made: Plan) -> Table:
    table = _table("Seconds of a step, estimated", "stage", "at best", "usual", "at worst")
    for stage in made.stages:
        table.add_row(stage.name, *_cells(stage.seconds))
    table.add_section()
    table.add_row("together", *_cells(made.seconds))
    return table


def _run(made: Plan) -> Table:
    run = made.run
    title = "The whole run, estimated" + ("" if run.steps else " (optim.steps is open)")
    table = _table(title, "what", "number", "at best", "usual", "at worst")
    if run.steps:
        table.add_row("seconds of a step", f"{run.steps:,}", *_cells(made.seconds))
    if made.evaluations:
        number = f"{run.evaluations:,}" if run.steps else ""
        table.add_row("seconds of an evaluation", number, *_cells(run.evaluation))
    number = f"{run.checkpoints:,}" if run.steps else ""
    table.add_row("seconds that training waits for a checkpoint", number, *_cells(run.checkpoint))
    if run.seconds:
        hours = Range(*(value / 3600 for value in vars(run.seconds).values()))
        table.add_row("hours together", "", *_cells(hours))
    table.add_row("disk: GB of a checkpoint", "", "", f"{run.checkpoint_bytes / 1e9:,.1f}", "")
    table.add_row("disk: GB of the run's folder, at most", "", "", f"{run.disk / 1e9:,.1f}", "")
    return table


def _cells(seconds: Range) -> list[str]:
    return [f"{value:,.1f}" for value in (seconds.best, seconds.usual, seconds.worst)]


def _assumed() -> Table:
    table = _table("Assumed, not measured", "what", "at best", "usual", "at worst")
    for name, meaning in MEANINGS.items():
        value = getattr(ASSUMED, name)
        table.add_row(meaning, *(f"{x:g}" for x in (value.best, value.usual, value.worst)))
    return table


def _gib(size: float) -> str:
    return f"{size / GIB:,.1f}" if size else ""


def _verdict(made: Plan, console: Console) -> None:
    peak, room, run = made.peak / GIB, made.room / GIB, made.run
    needs = f"{made.machine / GIB:,.0f} GiB of main memory on a machine, {run.disk / 1e9:,.0f} GB "
    needs += "of disk"
    if made.fits:
        console.print(
            f"It fits: {peak:.1f} of {room:.1f} GiB. A step takes about {made.seconds.usual:,.0f} "
            f"s ({made.seconds.best:,.0f} to {made.seconds.worst:,.0f}), by estimate"
            + (f", the run {run.seconds.usual / 3600:,.1f} hours" if run.seconds else "")
            + f". It also needs {needs}.",
            style="green",
        )
        return
    console.print(f"It does not fit: {peak:.1f} of {room:.1f} GiB. What would help:", style="red")
    single = alternatives(made)[:PROPOSED]
    for words, other in single:
        _propose([words], other, console)
    if not any(other.fits for _, other in single):
        _propose(*remedy(made), console)


def _propose(words: list[str], made: Plan, console: Console) -> None:
    end = "fits" if made.fits else "not yet"
    text = f"  {' '.join(words)}  -> {made.peak / GIB:.1f} GiB, {end}"
    text += f"; {made.machine / GIB:,.0f} GiB of main memory on a machine"
    console.print(text, highlight=False, soft_wrap=True)
