"""The demonstration: train GRPO and MGPO side by side, evaluate both, write a report.

    python -m benchmarks.quickstart          (`make quickstart` installs first)

writes to runs/quickstart
    grpo/ mgpo/      two training runs: metrics.jsonl, checkpoints, the trained model
    evaluation/      an episode per question and agent, in text
    results.json     {"heldout": {agent: {"accuracy", "n", "interval", ...}},
                      "out_of_distribution": {...}, "seconds": {...}, ...}
    report.html      the page for people; its main figure is summary.png as well, and its drawn
                     episodes are episodes/*.png

Ctrl-C stops both trainings with a checkpoint; the same command goes on from there. A finished
quickstart is set aside as runs/quickstart.previous when the command is given again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from .command import positive
from .evaluate import make_tasks, run_tasks
from .manifest import make_manifest
from .metrics import Row, summarise_all
from .processes import ROOT, TrainingFailed, TrainingRun, only_one, signals_as_interrupts, train
from .run import write_json
from .specs import AgentSpec, DatasetSpec, parse_agent, parse_dataset

CONFIGS = {"grpo": ROOT / "configs/grpo_tiny.yaml", "mgpo": ROOT / "configs/mgpo_tiny.yaml"}
DATASETS = {"heldout": "synthetic:test", "out_of_distribution": "synthetic:ood"}
AGENTS = ("random", "base_single_turn", "base", "grpo", "mgpo", "oracle")
"""In the order of tables and bars; `base` is the model before RL."""

PLAN = """\
Training a vision-language model of one million parameters to look before it answers.
  1. GRPO (one look) and MGPO (look, crop, answer) train side by side, from the same weights,
     rewarded for right answers alone: {steps} steps each, about 4 minutes on two cores
  2. both, the model before training, a random and an all-knowing agent answer {questions}
     held-out questions and {unfamiliar} of unfamiliar kinds: about 1 minute
  3. the report: {out}/report.html
Ctrl-C stops and keeps what is done; the same command goes on from there.
"""


@dataclass
class Quickstart:
    """One demonstration in one folder."""

    out: Path
    steps: int
    questions: int
    workers: int
    console: Console
    overrides: Sequence[str] = ()
    """On top of both training configs, `--section.key value`."""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def limits(self) -> dict[str, int]:
        """Questions per dataset: half as many out of distribution."""
        return dict(
            zip(DATASETS.values(), (self.questions, (self.questions + 1) // 2), strict=True)
        )

    @property
    def state_file(self) -> Path:
        return self.out / "state.json"

    def prepare(self) -> None:
        """Go on with an interrupted run of the same settings; set anything else aside."""
        state: dict[str, Any] = {"fingerprint": self.fingerprint(), "seconds": {}}
        if self.state_file.is_file():
            found = json.loads(self.state_file.read_text())
            finished = (self.out / "results.json").is_file()
            if not finished and found["fingerprint"] == state["fingerprint"]:
                self.console.print("Going on with the run that was interrupted.\n")
                state = found
            else:
                self.set_aside("finished" if finished else "unfinished, of other settings,")
        self.seconds = state["seconds"]
        write_json(self.state_file, state)

    def set_aside(self, kind: str) -> None:
        """Move what the folder holds to `NAME.previous`, which is replaced."""
        previous = self.out.with_name(self.out.name + ".previous")
        shutil.rmtree(previous, ignore_errors=True)
        previous.mkdir()
        # The state last: without it, what is left after a death would be taken for new.
        for path in sorted(self.out.iterdir(), key=lambda p: p == self.state_file):
            if path.name != ".lock":
                path.rename(previous / path.name)
        self.console.print(f"The {kind} run before this one is now in {previous}.\n")

    def fingerprint(self) -> str:
        """Of everything that a resumed training must share with its beginning."""
        files = [*CONFIGS.values(), ROOT / "agents/tiny/weights/model.safetensors"]
        digest = hashlib.sha256(f"{self.steps} {self.overrides}".encode())
        for file in files:
            digest.update(file.read_bytes())
        return digest.hexdigest()

    def count_seconds(self, part: str, since: float) -> None:
        """Add to a part's time; an interrupted part goes on counting when it is taken up again."""
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - since
        state = {"fingerprint": self.fingerprint(), "seconds": self.seconds}
        write_json(self.state_file, state)

    def train(self, keep_open: Sequence[int]) -> list[TrainingRun]:
        """Both trainings, side by side. Raises TrainingFailed or KeyboardInterrupt."""
        runs = [
            TrainingRun(name, config, self.out / name, self.steps, self.overrides)
            for name, config in CONFIGS.items()
        ]
        began = time.perf_counter()
        try:
            train(runs, self.console, keep_open)
        finally:
            self.count_seconds("training", began)
        return runs

    def evaluate(self) -> tuple[list[Row], list[AgentSpec], list[DatasetSpec]]:
        """All agents on both datasets. An interrupted evaluation starts over: it is short."""
        agents = agent_specs(self.out)
        datasets = [parse_dataset(name) for name in DATASETS.values()]
        tasks = [
            task
            for dataset in datasets
            for task in make_tasks(agents, [dataset], self.limits[dataset.name], samples=1, seed=0)
        ]
        folder = self.out / "evaluation"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.console.print(f"Evaluating {len(agents)} agents.")
        began = time.perf_counter()
        with Progress(console=self.console, transient=True) as progress:
            bar = progress.add_task("evaluating")
            rows = run_tasks(
                tasks,
                folder / "episodes.jsonl",
                workers=self.workers,
                progress=lambda done, total, agent: progress.update(
                    bar, completed=done, total=total, description=f"evaluating {agent}"
                ),
            )
        self.count_seconds("evaluation", began)
        return rows, agents, datasets


def agent_specs(out: Path) -> list[AgentSpec]:
    """Scripted agents play in the environment of the two-turn model.

    The model before training is the one that the runs' own resolved configs name.
    """
    base = parse_agent(f"base={out / 'mgpo/config.yaml'}")
    trained = [parse_agent(f"{name}={out / name}") for name in CONFIGS]
    single = parse_agent(f"base_single_turn={out / 'grpo/config.yaml'}")
    scripted = [parse_agent(name, base.env) for name in ("random", "oracle")]
    found = {spec.name: spec for spec in (base, single, *trained, *scripted)}
    return [found[name] for name in AGENTS]


def result_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary under the names of results.json: both hit rates side by side.

    A scripted agent has one behaviour; its sampled hit rate is its only one.
    """
    result = {k: v for k, v in summary.items() if k not in ("hit_rate", "categories")}
    greedy = summary.get("hit_rate", 0.0)
    result["hit_rate_greedy"] = greedy
    result["hit_rate_sampled"] = summary.get("hit_rate_sampled", greedy)
    result.setdefault("box_side", None)  # not one valid box: there is no side to give
    if "categories" in summary:
        parts = summary["categories"].items()
        result["categories"] = {name: result_of(part) for name, part in parts}
    return result


def make_results(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """`{"heldout": {agent: result}, "out_of_distribution": {agent: result}}`."""
    table = summarise_all(rows)
    return {
        part: {agent: result_of(table[agent][dataset]) for agent in AGENTS}
        for part, dataset in DATASETS.items()
    }


def run(quickstart: Quickstart, keep_open: Sequence[int]) -> Path:
    """Everything, in order. Returns the path of the report."""
    from .pages.quickstart_page import write_report

    quickstart.prepare()
    runs = quickstart.train(keep_open)
    rows, agents, datasets = quickstart.evaluate()
    results = make_results(rows)
    manifest = make_manifest(agents, datasets, seed=0)
    began = time.perf_counter()
    page = write_report(quickstart.out, results, rows, runs, agents, manifest, quickstart.seconds)
    quickstart.count_seconds("report", began)
    seconds = {name: round(value, 1) for name, value in quickstart.seconds.items()}
    seconds["total"] = round(sum(quickstart.seconds.values()), 1)
    training = {"steps": quickstart.steps, "questions": quickstart.questions}
    # Last: its presence says that the run is finished.
    write_json(
        quickstart.out / "results.json",
        {**results, "seconds": seconds, "training": training, "manifest": manifest},
    )
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 130 interrupted."""
    options, overrides = _parser().parse_known_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    steps = options.steps or configured_steps()
    out = options.out.resolve()
    quickstart = Quickstart(out, steps, options.questions, options.workers, console, overrides)
    known, unfamiliar = quickstart.limits.values()
    console.print(PLAN.format(steps=steps, questions=known, unfamiliar=unfamiliar, out=shown(out)))
    began = time.perf_counter()
    try:
        with signals_as_interrupts(), only_one(out) as lock:
            page = run(quickstart, [lock.fileno()])
    except KeyboardInterrupt:
        console.print("\nStopped; what is done is kept. The same command goes on from there.")
        return 130
    except (TrainingFailed, RuntimeError, OSError, ValueError) as error:
        console.print(f"error: {error}", markup=False)
        return 1
    print_table(json.loads((out / "results.json").read_text()), console)
    console.print(f"Done in {time.perf_counter() - began:.0f} s. The report: {page}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.quickstart",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="--section.key value changes both training configs.",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs/quickstart")
    parser.add_argument("--steps", type=positive, help="training steps (default: the configs')")
    questions = "held-out questions; half as many unfamiliar ones"
    parser.add_argument("--questions", type=positive, default=512, help=questions)
    parser.add_argument("--workers", type=positive, default=min(2, os.cpu_count() or 1))
    return parser


def configured_steps() -> int:
    """The steps that the configs ask for; both ask for the same."""
    from agents.config import load

    steps = {load(path).optim.steps for path in CONFIGS.values()}
    if len(steps) != 1 or None in steps:
        raise ValueError(f"configs: got optim.steps {steps}, expected one number for both")
    return int(steps.pop() or 0)


def shown(path: Path) -> Path:
    """A path as a person would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def print_table(results: Mapping[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table("agent", "held-out", "95% interval", "out of distribution", "valid boxes")
    for agent in AGENTS:
        held, other = results["heldout"][agent], results["out_of_distribution"][agent]
        low, high = held["interval"]
        shares = (other["accuracy"], held["valid_box_rate"])
        interval = f"{100 * low:.1f} – {100 * high:.1f}"
        cells = [f"{100 * held['accuracy']:.1f}%", interval, *(f"{100 * s:.1f}%" for s in shares)]
        table.add_row(agent, *cells)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
