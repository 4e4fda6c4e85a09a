"""Evaluate agents on datasets.

    python -m benchmarks.run --agents random oracle base=configs/mgpo_tiny.yaml \\
        --datasets synthetic:test synthetic:ood --limit 256 --out runs/benchmark

writes to the folder `--out`
    episodes.jsonl     a line per episode, as soon as it is played; when all are, in the order of
                       agents, datasets and questions
    sufficiency.jsonl  the same of the agent that answers from the crops alone, see --sufficiency
    manifest.json      versions, commit, seed, data, and each agent's rules: pixel budget, prompt
    summary.json       {agent: {dataset: {"accuracy", "n", "interval", ...}}}
    comparisons.json   every pair of agents, and every ablation with its agent
    report.html        the same for people, and episodes.html, to look at episodes
    images/            what the agents were shown, and originals/, as far as --pictures goes
    replies/           what servers replied: a run that goes on pays for nothing twice
    published/         copies of the files of --published; they stay when a run goes on without it

A run that was interrupted goes on with the same command and `--resume`, and ends with the files of
a run that was not. Episodes that failed are played again, and what they cost is counted. A server's
address may be another one then, its prices not; agents and datasets may be
added. One run at a time works in a folder.

The exit code is 1 when episodes failed and 2 when the command, an agent, its server or the disk is
wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from . import sufficiency
from .ablations import expand, notes
from .command import environment_overrides, make_parser, settings_of
from .evaluate import AgentError, Pictures, Task, make_tasks, run_tasks
from .manifest import make_manifest, protocol_of
from .processes import only_one
from .published import beside, copies, fingerprints, keep, kept, read
from .report import SUFFICIENCY, write_json, write_report
from .resume import EPISODES, check_same, in_order, is_failed, read_rows, remaining, write_rows
from .rows import Row
from .specs import AgentSpec, DatasetSpec, parse_agents, parse_dataset
from .tasks import left_out
from .terminal import print_results, progress_bar
from .workers import WorkerDied

PRICES = {"price_prompt", "price_completion"}


@dataclass(frozen=True)
class Plan:
    """What is to be played."""

    agents: list[AgentSpec]
    datasets: list[DatasetSpec]
    tasks: list[Task]
    manifest: dict[str, Any]
    reference: AgentSpec | None
    """Who answers from the crops alone."""
    seed: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 when episodes failed; 2 for what is wrong with the command, an agent, its
    server or the disk, told in one line; 130 after Ctrl-C."""
    parser = make_parser(__doc__)
    options, rest = parser.parse_known_args(arguments)
    options.command = sys.argv[1:] if arguments is None else list(arguments)
    with ExitStack() as stack:
        try:
            plan = make_plan(options, rest, stack)
        except (ValueError, OSError) as error:
            parser.exit(2, f"{parser.prog}: {error}\n")
        return carry_out(plan, options.out, options.workers)


def make_plan(options: argparse.Namespace, rest: Sequence[str], stack: ExitStack) -> Plan:
    """Check everything that can be checked beforehand; the folder is held until the stack closes.
    Raises ValueError and OSError."""
    numbers = read(options.published)
    overrides = environment_overrides(rest)
    given = parse_agents(options.agents, overrides)
    agents = expand(given, options.ablate)
    datasets = [parse_dataset(text) for text in options.datasets]
    check_names([dataset.name for dataset in datasets])
    reference = find_reference(options.sufficiency, agents, overrides)
    if reference:
        sufficiency.check_reference(reference)
    tasks = make_tasks(
        [with_replies(agent, options.out) for agent in agents],
        datasets,
        options.limit,
        samples=options.samples,
        seed=options.seed,
        pictures=Pictures(options.out, options.pictures) if options.pictures else None,
    )
    manifest = make_manifest(agents, datasets, options.limit, **settings_of(options))
    manifest["notes"] = [*notes(given, options.ablate), *left_out(tasks, agents)]
    if reference:
        manifest |= {"sufficiency": reference.name, "reference": protocol_of(reference)}
    hold(options.out, stack)
    if options.resume and not numbers:
        numbers = copies(options.out)
    if numbers:
        manifest["published"] = fingerprints(numbers)
    if options.resume:
        go_on(options.out, agents, manifest)
    else:
        check_empty(options.out)
    keep(numbers, options.out)
    player = with_replies(reference, options.out) if reference else None
    return Plan(agents, datasets, tasks, manifest, player, options.seed)


def hold(out: Path, stack: ExitStack) -> None:
    """Make the folder and hold it until the stack closes. Raises ValueError."""
    if out.is_file():
        raise ValueError(f"--out {out}: got a file, expected a new or empty folder")
    try:
        stack.enter_context(only_one(out))
    except RuntimeError as error:
        raise ValueError(f"--out {error}; expected another folder, or wait until it ends") from None
    except OSError as error:
        why = error.strerror or error
        raise ValueError(f"--out {out}: {why}; expected a folder that can be written") from None


def go_on(out: Path, agents: Sequence[AgentSpec], manifest: dict[str, Any]) -> None:
    """Compare with the run that is in the folder already, and note what is different in the
    manifest. Raises ValueError."""
    rows = read_rows(out)
    read_rows(out, SUFFICIENCY)
    if not rows:
        said = f"--resume: nothing to go on with in {out}; this is a new run."
        Console().print(said, markup=False, highlight=False, soft_wrap=True)
    free = {agent.name: free_options(agent) for agent in agents}
    if earlier := check_same(out, manifest, free, rows):
        manifest["earlier"] = earlier
        manifest["notes"] += pictures_note(manifest["pictures"], earlier)


def pictures_note(now: int, earlier: Sequence[dict[str, Any]]) -> list[str]:
    """That what was played before keeps pictures of other questions; empty where it does not."""
    others = {before["pictures"] for before in earlier if "pictures" in before} - {now}
    if not others:
        return []
    before = " or ".join(map(str, sorted(others)))
    return [
        f"--pictures {now}, {before} before: episodes that were there already have theirs of the "
        f"first {before} questions."
    ]


def carry_out(plan: Plan, out: Path, workers: int) -> int:
    """Play and report. Returns the exit code."""
    console = Console()
    for note in plan.manifest["notes"]:
        console.print(note, markup=False, highlight=False)
    try:
        write_json(out / "manifest.json", plan.manifest)
        rows = play(plan.tasks, out, EPISODES, workers, console)
        if plan.reference:
            tasks = sufficiency.tasks(
                rows, plan.reference, plan.datasets, out, agents=plan.agents, seed=plan.seed
            )
            rows += play(tasks, out, SUFFICIENCY, workers, console)
        page = write_report(out)
    except (AgentError, WorkerDied, OSError) as error:  # the last: a disk that is full
        where = f"{out}: " if isinstance(error, OSError) and not error.filename else ""
        text = where + " ".join(str(error).split())
        print(f"benchmarks.run: {text}", file=sys.stderr)
        console.print("Stopped. With --resume the command goes on.")
        return 2
    except BaseException as error:
        console.print("Stopped. The same command with --resume goes on.")
        if isinstance(error, KeyboardInterrupt):
            return 130
        raise
    tell(out, plan.manifest, console)
    console.print(f"episodes: {out / EPISODES}\nreport:   {page}", highlight=False, soft_wrap=True)
    return report_errors(rows, console)


def play(tasks: Sequence[Task], out: Path, name: str, workers: int, console: Console) -> list[Row]:
    """Play what has no answer yet in the file `name`, and put it in order. Returns its rows."""
    rows = read_rows(out, name)
    write_rows(out, rows, name)  # without what a kill has cut off
    kept = [row for row in rows if not is_failed(row)]
    left = remaining(tasks, kept)
    if kept:
        missing = sum(task.episodes for task in left)
        console.print(f"{name}: {len(kept)} are there, {missing} are missing.", highlight=False)
    with progress_bar(console, hidden=not left) as progress:
        bar = progress.add_task("episodes", total=sum(task.episodes for task in left))
        run_tasks(
            left,
            out / name,
            workers=workers,
            progress=lambda done, total, agent: progress.update(
                bar, completed=done, total=total, description=agent
            ),
        )
    rows = in_order(tasks, read_rows(out, name))
    write_rows(out, rows, name)
    return rows


def tell(out: Path, manifest: dict[str, Any], console: Console) -> None:
    """Print what the report says, in short."""
    summaries = json.loads((out / "summary.json").read_text("utf-8"))
    comparisons = json.loads((out / "comparisons.json").read_text("utf-8"))
    published = beside(summaries, manifest, kept(out))
    print_results(console, summaries, comparisons, published)


def find_reference(
    text: str, agents: Sequence[AgentSpec], overrides: dict[str, Any]
) -> AgentSpec | None:
    """Who answers from the crops alone: one of the agents, or another one. Raises ValueError."""
    if not text:
        return None
    for agent in agents:
        if agent.name == text and not agent.variant_of:
            return agent
    (found,) = parse_agents([text], overrides)
    check_names([*{agent.name for agent in agents}, found.name], "agent")
    return found


def with_replies(agent: AgentSpec, out: Path) -> AgentSpec:
    """An agent whose engine can keep replies and isn't told where keeps them with this run; a
    folder each, as two servers may call different models by one name. An ablation shares the one of
    its agent: what both are asked is asked once."""
    if agent.options.get("cache") != "":
        return agent
    name = agent.variant_of or agent.name
    number = f" {agent.training}" if agent.training else ""
    folder = out / "replies" / quote(f"agent {name}{number}", safe="")
    return replace(agent, options={**agent.options, "cache": str(folder)})


def free_options(agent: AgentSpec) -> set[str]:
    """Options of the agent's engine that change neither replies nor what a row says they cost."""
    if agent.scripted:
        return set()
    from agents.rollout.engines import engine_options

    return set(getattr(engine_options(agent.engine), "FREE", ())) - PRICES


def check_names(names: Sequence[str], what: str = "dataset") -> None:
    """Two columns of the same name would be added up. Raises ValueError."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r}: given twice, expected different names: NAME={name}")


def check_empty(out: Path) -> None:
    """Raises ValueError when a folder already holds episodes: they are not mixed or lost."""
    if (out / EPISODES).is_file() and (out / EPISODES).stat().st_size:
        raise ValueError(
            f"--out {out}: holds episodes already, expected a new folder, or --resume to go on"
        )


def report_errors(rows: Sequence[Row], console: Console) -> int:
    """Say how many episodes failed and how the first one did. Returns the exit code, 0 or 1."""
    failed = [row for row in rows if row["episode"]["outcome"] == "error"]
    if failed:
        first = failed[0]
        where = f"{first['agent']}, question {first['question_id']}"
        text = f"{len(failed)} of {len(rows)} episodes failed; {where}: {first['episode']['error']}"
        console.print(text, markup=False, highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
