"""Does reinforcement learning make the model look? Trainings over seeds, then one benchmark.

    python -m benchmarks.evidence          (`make evidence` installs first; 15 minutes on two cores)

trains GRPO and MGPO once per seed from the embedded warm start, and then plays everybody with one
`benchmarks.run`: random, centre crop, oracle, the model before training (with one look and with
two), GRPO and MGPO, each of the latter with all of its trainings as one agent. Every model that
sees a crop is played again with what it sees replaced (`--ablate crop`), with options in another
order, another pixel budget and another number of turns; and the model before training is asked
whether the crops of the others are enough (`--sufficiency base`).

    OUT/trainings/    a folder per warm start and seed; what is finished is not trained again
    OUT/benchmark/    episodes, summary, comparisons, report.html, episodes.html
    OUT/evidence.json the numbers that matter, see `evidence_result.condense`
    OUT/evidence.png  the same as a picture
    OUT/evidence.md   the same as tables

`--keep` puts the numbers and the picture into the checkout as well, where the README shows them;
from another warm start (`--weights`) the numbers alone, in a file of their own. Ctrl-C stops; the
same command goes on. The exit code is that of `benchmarks.run`.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from . import run as benchmark
from .command import positive
from .evidence_result import condense, tables
from .processes import ROOT, TrainingFailed, TrainingRun, only_one, signals_as_interrupts, train
from .quickstart import CONFIGS, configured_steps, shown
from .resume import EPISODES
from .run import write_json

EMBEDDED = ROOT / "agents/tiny/weights"
RESULTS, PICTURE = ROOT / "benchmarks/results", ROOT / "docs/evidence.png"
"""Where `--keep` puts numbers and picture."""

ABLATIONS = ("crop", "options=1", "max_pixels=2304,20736", "turns=1")
"""36 image tokens are what the embedded model was made for, these budgets are 9 and 81 of them."""


@dataclass(frozen=True)
class Study:
    """Which trainings, and how they are measured."""

    weights: Path
    seeds: tuple[int, ...]
    out: Path
    trainings: Path
    """A folder for each warm start and seed, with a run of each algorithm in it."""
    steps: int
    questions: int
    """Held-out ones; half as many unfamiliar ones."""
    samples: int
    workers: int
    overrides: tuple[str, ...] = ()
    """On top of the training configs, `--section.key value`."""

    def folder(self, algorithm: str, seed: int) -> Path:
        return self.trainings / f"{digest(self.weights)[:8]}_seed{seed}" / algorithm

    def runs(self) -> list[TrainingRun]:
        """All of them; the longest first, so that none is alone at the end."""
        return [
            TrainingRun(
                f"{algorithm} {seed}",
                CONFIGS[algorithm],
                self.folder(algorithm, seed),
                self.steps,
                ("--seed", str(seed), "--model.path", told(self.weights), *self.overrides),
            )
            for algorithm in ("mgpo", "grpo")
            for seed in self.seeds
        ]

    def agents(self) -> list[str]:
        """As the command line of `benchmarks.run` names them.

        The model before training is the one that the runs' own resolved configs name.
        """
        found = [f"{name}={self._first(algorithm)}/config.yaml" for name, algorithm in BASES]
        for algorithm in ("grpo", "mgpo"):
            folders = (told(self.folder(algorithm, seed)) for seed in self.seeds)
            found.append(f"{algorithm}={','.join(folders)}")
        return ["random", "centre", "oracle", *found]

    def datasets(self) -> dict[str, str]:
        """What each is in results -> its name on the command line."""
        half = (self.questions + 1) // 2
        return {
            "heldout": f"synthetic:test,size={self.questions}",
            "out_of_distribution": f"synthetic:ood,size={half}",
        }

    def _first(self, algorithm: str) -> str:
        return told(self.folder(algorithm, self.seeds[0]))

    def command(self) -> list[str]:
        """The arguments of the one `benchmarks.run`."""
        return [
            *("--agents", *self.agents()),
            *("--datasets", *self.datasets().values()),
            *("--ablate", *ABLATIONS),
            *("--sufficiency", "base"),
            *("--samples", str(self.samples)),
            *("--workers", str(self.workers)),
            *("--out", told(self.out / "benchmark")),
        ]


BASES = (("base", "mgpo"), ("base_one_look", "grpo"))
"""The model before training by the rules of each algorithm."""


def digest(weights: Path) -> str:
    """SHA-256 of a model's weights. Raises FileNotFoundError."""
    return hashlib.sha256((weights / "model.safetensors").read_bytes()).hexdigest()


def told(path: Path) -> str:
    """A path as a command in the checkout names it: results speak of no machine."""
    path = path.resolve()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def train_all(study: Study, console: Console, keep_open: Sequence[int] = ()) -> None:
    """Make the trainings that are not there, as many at once as there are workers.

    Raises ValueError for one that was made with something else, and what `processes.train` does.
    """
    runs = study.runs()
    for run in runs:
        check(run)
    missing = [run for run in runs if not (run.run_dir / "model").is_dir()]
    console.print(f"{len(runs) - len(missing)} of {len(runs)} trainings are there.")
    for n in range(0, len(missing), study.workers):
        train(missing[n : n + study.workers], console, keep_open)


def check(run: TrainingRun) -> None:
    """Raises ValueError when the folder holds a training of other settings, naming them."""
    from agents.config import changed, load

    steps = ("--optim.steps", str(run.steps))
    differences = changed(run.run_dir / "config.yaml", load(run.config, [*steps, *run.overrides]))
    found = len(run.rows("train")) if (run.run_dir / "model").is_dir() else run.steps
    if found != run.steps:
        differences.append(f"optim.steps = {found}, now {run.steps}")
    if differences:
        raise ValueError(
            f"{run.run_dir}: holds a training of other settings: {'; '.join(differences)}; "
            "expected the same, or another folder (--trainings)"
        )


def measure(study: Study) -> int:
    """The one benchmark; goes on with one that is there. The exit code is that of the command."""
    words = study.command()
    episodes = study.out / "benchmark" / EPISODES
    return benchmark.main([*words, "--resume"] if episodes.is_file() else words)


def conclude(study: Study, keep: bool) -> dict[str, Any]:
    """Write the numbers, tables and picture of a finished benchmark; returns the numbers."""
    from .pages.evidence_figure import picture

    evidence = condense(study.out / "benchmark", study.datasets())
    evidence = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["python -m benchmarks.run", *study.command()]),
        "weights": {"path": told(study.weights), "sha256": digest(study.weights)},
        "training": {
            "seeds": list(study.seeds),
            "steps": study.steps,
            "overrides": list(study.overrides),
            "seconds": {run.name: round(seconds(run), 1) for run in study.runs()},
        },
        **evidence,
    }
    drawn = picture(evidence)
    write_json(study.out / "evidence.json", evidence)
    (study.out / "evidence.png").write_bytes(drawn)
    (study.out / "evidence.md").write_text(tables(evidence), "utf-8")
    if keep and study.weights == EMBEDDED:
        write_json(RESULTS / "evidence.json", evidence)
        PICTURE.write_bytes(drawn)
    elif keep:
        write_json(RESULTS / f"evidence_{digest(study.weights)[:8]}.json", evidence)
    return evidence


def seconds(run: TrainingRun) -> float:
    """What a training took, by its own rows: steps and evaluations."""
    steps = sum(row["seconds_step"] for row in run.rows("train"))
    return steps + sum(row.get("seconds_eval") or 0.0 for row in run.rows("eval"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: that of the benchmark; 1 when a training failed, 2 for what is wrong with the
    command, 130 after Ctrl-C."""
    options, overrides = _parser().parse_known_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    out = options.out.resolve()
    study = Study(
        weights=options.weights.resolve(),
        seeds=tuple(dict.fromkeys(options.seeds)),
        out=out,
        trainings=(options.trainings or out / "trainings").resolve(),
        steps=options.steps or configured_steps(),
        questions=options.questions,
        samples=options.samples,
        workers=options.workers,
        overrides=tuple(overrides),
    )
    here = contextlib.chdir(ROOT)  # configs, and the paths in results, are those of the checkout
    try:
        with signals_as_interrupts(), here, only_one(out) as lock:
            train_all(study, console, [lock.fileno()])
            code = measure(study)
            if code in (0, 1):
                conclude(study, options.keep)
    except KeyboardInterrupt:
        console.print("\nStopped; what is done is kept. The same command goes on from there.")
        return 130
    except TrainingFailed as error:
        console.print(f"error: {error}", markup=False)
        return 1
    except (RuntimeError, OSError, ValueError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    if code in (0, 1):
        console.print((out / "evidence.md").read_text("utf-8"), markup=False)
        console.print(f"numbers: {shown(out / 'evidence.json')}, picture: evidence.png beside it")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.evidence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="--section.key value changes all training configs.",
    )
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="a training of each algorithm each")
    add("--weights", type=Path, default=EMBEDDED, help="the model to start from")
    add("--out", type=Path, default=ROOT / "runs/evidence")
    add("--trainings", type=Path, help="where trainings are, or will be (default: OUT/trainings)")
    add("--steps", type=positive, help="training steps (default: the configs')")
    add("--questions", type=positive, default=512, help="held-out questions; half as many others")
    add("--samples", type=positive, default=4, help="sampled episodes per question, besides greedy")
    add("--workers", type=positive, default=min(2, os.cpu_count() or 1), help="processes at once")
    add("--keep", action="store_true", help="put numbers and picture into the checkout")
    return parser


if __name__ == "__main__":
    sys.exit(main())
