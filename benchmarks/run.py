"""Evaluate agents on datasets.

    python -m benchmarks.run --agents random oracle base=configs/mgpo_tiny.yaml \\
        --datasets synthetic:test synthetic:ood --limit 256 --out runs/benchmark

writes to the folder `--out`
    episodes.jsonl   a line per episode, as soon as it is played; of a run that went on and isn't
                     finished it may have two for a question: the later one counts
    summary.json     {agent: {dataset: {"accuracy", "n", "interval", ...}}}
    manifest.json    versions, seed, and each agent's environment: pixel budget, prompt, protocol
    report.html      the same for people
    replies/         what servers replied: a run that goes on pays for nothing twice

A run that was interrupted goes on with the same command and `--resume`; episodes that failed are
played again, and what they cost is counted. A server's address may be another one then, its prices
not. One run at a time works in a folder.

The exit code is 1 when episodes failed and 2 when the command, an agent or its server is wrong.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import inspect
import json
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from rich.console import Console
from rich.progress import Progress

from hrvision_env.curation.facts import facts
from hrvision_env.curation.wrapping import Subset
from hrvision_env.datasets import Dataset
from hrvision_env.env import HighResVQAEnv

from .evaluate import AgentError, Task, make_tasks, run_tasks
from .metrics import Row, summarise_all
from .processes import only_one
from .report import write_page
from .resume import EPISODES, check_same, in_order, is_failed, read_rows, remaining, write_rows
from .run_page import make_page
from .specs import AgentSpec, DatasetSpec, parse_agent, parse_dataset
from .workers import WorkerDied

PACKAGES = ("gymnasium", "numpy", "pillow", "torch", "transformers", "scipy")
PRICES = {"price_prompt", "price_completion"}
NOT_PROTOCOL = ("self", "dataset", "split", "dataset_options", "render_mode", "expose_target")


@dataclass(frozen=True)
class Plan:
    """What is to be played, and what is there already."""

    tasks: list[Task]
    manifest: dict[str, Any]
    rows: list[Row]
    """Of the run that goes on, failed ones included."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 when episodes failed; 2 for what is wrong with the command, an agent or its
    server, told in one line; 130 after Ctrl-C."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    with ExitStack() as stack:
        try:
            plan = make_plan(options, rest, stack)
        except (ValueError, OSError) as error:
            parser.exit(2, f"{parser.prog}: {error}\n")
        return carry_out(plan, options.out, options.workers)


def make_plan(options: argparse.Namespace, rest: Sequence[str], stack: ExitStack) -> Plan:
    """Check everything that can be checked beforehand; the folder is held until the stack closes.
    Raises ValueError and OSError."""
    overrides = environment_overrides(rest)
    agents = [parse_agent(text, overrides) for text in options.agents]
    datasets = [parse_dataset(text) for text in options.datasets]
    check_names(agents, datasets)
    tasks = make_tasks(
        [with_replies(agent, options.out) for agent in agents],
        datasets,
        options.limit,
        sampled=options.sampled,
        seed=options.seed,
    )
    manifest = make_manifest(agents, datasets, options.seed, options.limit)
    manifest["sampled"] = options.sampled
    try:
        stack.enter_context(only_one(options.out))
    except RuntimeError as error:
        raise ValueError(f"--out {error}; expected another folder, or wait until it ends") from None
    if not options.resume:
        check_empty(options.out)
        return Plan(tasks, manifest, [])
    rows = read_rows(options.out)
    free = {agent.name: free_options(agent) for agent in agents}
    if earlier := check_same(options.out, manifest, free, rows):
        manifest["earlier"] = earlier
    write_rows(options.out, rows)
    return Plan(tasks, manifest, rows)


def carry_out(plan: Plan, out: Path, workers: int) -> int:
    """Play and report. Returns the exit code."""
    write_json(out / "manifest.json", plan.manifest)
    console = Console()
    try:
        rows = play(plan.tasks, plan.rows, out, workers, console)
    except (AgentError, WorkerDied) as error:
        text = " ".join(str(error).split())
        print(f"benchmarks.run: {text}", file=sys.stderr)
        console.print("Stopped. With --resume the command goes on.")
        return 2
    except BaseException as error:
        console.print("Stopped. The same command with --resume goes on.")
        if isinstance(error, KeyboardInterrupt):
            return 130
        raise
    if plan.rows:  # new rows beside those of failed episodes
        write_rows(out, read_rows(out))
    summaries = summarise_all(rows)
    write_json(out / "summary.json", summaries)
    page = write_page(make_page(summaries, plan.manifest), out / "report.html")
    console.print(f"summary: {out / 'summary.json'}\nreport:  {page}", highlight=False)
    return report_errors(rows, console)


def play(
    tasks: Sequence[Task], rows: Sequence[Row], out: Path, workers: int, console: Console
) -> list[Row]:
    """Play what has no answer yet. The rows of all tasks, in their order."""
    kept = [row for row in rows if not is_failed(row)]
    left = remaining(tasks, kept)
    if kept:
        missing = sum(len(task.questions) for task in left)
        console.print(f"{len(kept)} episodes are there, {missing} are missing.", highlight=False)
    with Progress(console=console) as progress:
        bar = progress.add_task("episodes")
        new = run_tasks(
            left,
            out / EPISODES,
            workers=workers,
            progress=lambda done, total, agent: progress.update(
                bar, completed=done, total=total, description=agent
            ),
        )
    return in_order(tasks, [*rows, *new])


def with_replies(agent: AgentSpec, out: Path) -> AgentSpec:
    """An agent whose engine can keep replies and isn't told where keeps them with this run; a
    folder each, as two servers may call different models by one name."""
    if agent.options.get("cache") != "":
        return agent
    folder = out / "replies" / quote(f"agent {agent.name}", safe="")
    return replace(agent, options={**agent.options, "cache": str(folder)})


def free_options(agent: AgentSpec) -> set[str]:
    """Options of the agent's engine that change neither replies nor what a row says they cost."""
    if agent.scripted:
        return set()
    from agents.rollout.engines import engine_options

    return set(getattr(engine_options(agent.engine), "FREE", ())) - PRICES


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="--env.KEY VALUE sets an argument of the environment for all agents.",
    )
    parser.add_argument("--agents", nargs="+", required=True, help="[NAME=]AGENT ...")
    parser.add_argument("--datasets", nargs="+", default=["synthetic:test"])
    parser.add_argument("--limit", type=positive, help="questions per dataset (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--sampled", action="store_true", help="also one sampled episode each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=positive, default=1, help="processes (CPU only)")
    return parser


def positive(text: str) -> int:
    """A number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected 1 or more")
    return value


def environment_overrides(words: Sequence[str]) -> dict[str, Any]:
    """`["--env.min_box", "2"]` -> `{"min_box": 2}`. Raises ValueError for anything else."""
    overrides: dict[str, Any] = {}
    if len(words) % 2:
        raise ValueError(f"got {words[-1]!r} without a value, expected --env.KEY VALUE")
    for key, value in zip(words[::2], words[1::2], strict=True):
        if not key.startswith("--env."):
            raise ValueError(f"got the unknown argument {key!r}, expected --env.KEY VALUE")
        overrides[key.removeprefix("--env.")] = yaml.safe_load(value)
    return overrides


def check_names(agents: Sequence[AgentSpec], datasets: Sequence[DatasetSpec]) -> None:
    """Two columns of the same name would be added up. Raises ValueError."""
    for what, names in (
        ("agent", [a.name for a in agents]),
        ("dataset", [d.name for d in datasets]),
    ):
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"{what} {name!r}: given twice, expected different names: NAME={name}"
                )


def check_empty(out: Path) -> None:
    """Raises ValueError when a folder already holds episodes: they are not mixed or lost."""
    if (out / EPISODES).is_file() and (out / EPISODES).stat().st_size:
        raise ValueError(
            f"--out {out}: holds episodes already, expected a new folder, or --resume to go on"
        )


def make_manifest(
    agents: Sequence[AgentSpec],
    datasets: Sequence[DatasetSpec],
    seed: int,
    limit: int | None = None,
) -> dict[str, Any]:
    """Everything that a number depends on. Pixel budget and prompt differ between agents."""
    protocols = {agent.name: protocol_of(agent) for agent in agents}
    return {
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "seed": seed,
        "limit": limit,
        "datasets": {spec.name: {**spec.env, **facts(asked(spec, limit))} for spec in datasets},
        "agents": protocols,
    }


def asked(spec: DatasetSpec, limit: int | None) -> Dataset:
    """The questions that are played: the data hash is of these."""
    dataset = spec.load()
    if limit is None or limit >= len(dataset):
        return dataset
    return Subset(dataset, range(limit), (f"the first {limit} of {len(dataset)} questions",))


def protocol_of(agent: AgentSpec) -> dict[str, Any]:
    """What an agent is and the rules that it plays by: its environment, defaults included."""
    rules = inspect.signature(HighResVQAEnv.__init__).bind(None, **agent.env)
    rules.apply_defaults()
    env = {**rules.arguments, **rules.arguments.get("dataset_options", {})}
    kept = {key: value for key, value in env.items() if key not in NOT_PROTOCOL}
    if agent.scripted:
        return {"agent": agent.scripted, "env": kept}
    from agents.devices import dtype_of
    from agents.rollout.engines import can_train

    drawn = {name: getattr(agent, name) for name in ("temperature", "top_p", "top_k", "min_p")}
    sampling = {f"sampled_{name}": value for name, value in drawn.items()}
    sampling["max_tokens"] = agent.max_tokens
    engine = {"name": agent.engine, **agent.options}
    # A server's arithmetic is its own; here "auto" must not mean another thing on another machine.
    dtype = dtype_of(agent.dtype, agent.device) if can_train(agent.engine) else agent.dtype
    return {"agent": agent.model, "env": kept, **sampling, "dtype": dtype, "engine": engine}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def report_errors(rows: Sequence[Row], console: Console) -> int:
    """Say how many episodes failed and how the first one did. Returns the exit code, 0 or 1."""
    failed = [row for row in rows if row["episode"]["outcome"] == "error"]
    if failed:
        first = failed[0]
        where = f"{first['agent']}, question {first['question_id']}"
        text = f"{len(failed)} of {len(rows)} episodes failed; {where}: {first['episode']['error']}"
        console.print(text, markup=False, highlight=False)
    return 1 if failed else 0


def write_json(path: Path, value: Any) -> None:
    """Write JSON by one rename: whole or not at all."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
    unfinished.replace(path)


if __name__ == "__main__":
    sys.exit(main())
