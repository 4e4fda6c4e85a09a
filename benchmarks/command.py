"""The command line of `benchmarks.run`, as data."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

PUBLISHED = "YAML files of published numbers, besides those in benchmarks/published"
ABLATE = "what to change, one thing at a time: crop, max_pixels, turns, options, any rule"


def make_parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.run",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="--env.KEY VALUE sets an argument of the environment for all agents.",
    )
    add = parser.add_argument
    add(
        "--agents", nargs="+", required=True, help="[NAME=]AGENT, or NAME=AGENT,AGENT trained twice"
    )
    add(
        "--datasets", nargs="+", default=["synthetic:test"], help="NAME[:SPLIT or PATH][,KEY=VALUE]"
    )
    add("--limit", type=positive, help="questions per dataset (default: all)")
    add("--out", type=Path, required=True, help="a new or empty folder")
    add("--resume", action="store_true", help="go on with the run in --out")
    add("--samples", type=natural, default=0, help="sampled episodes per question, for avg@k")
    add("--ablate", nargs="+", default=[], metavar="NAME[=VALUE,...]", help=ABLATE)
    add("--sufficiency", default="", metavar="AGENT", help="who is to answer from the crops alone")
    add("--pictures", type=natural, default=50, help="questions with pictures, per dataset (50)")
    add("--published", nargs="+", type=Path, default=[], metavar="FILE", help=PUBLISHED)
    add("--seed", type=int, default=0)
    add("--workers", type=positive, default=1, help="processes (CPU only)")
    return parser


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """What a manifest keeps of the command."""
    words = [word for word in options.command if word != "--resume"]
    return {
        "command": shlex.join(["python", "-m", "benchmarks.run", *words]),
        "seed": options.seed,
        "samples": options.samples,
        "pictures": options.pictures,
        "workers": options.workers,
        "ablations": options.ablate,
        "sufficiency": None,
    }


def positive(text: str) -> int:
    """A number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected 1 or more")
    return value


def natural(text: str) -> int:
    """A number of at least 0, for argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"got {text}, expected 0 or more")
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
