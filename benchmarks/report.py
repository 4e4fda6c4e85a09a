"""Make the report of a folder again from what lies in it, without playing anything.

    python -m benchmarks.report runs/benchmark
    python -m benchmarks.report runs/grpo runs/mgpo

Of a benchmark's folder (`episodes.jsonl`, `manifest.json` and, where they are, `sufficiency.jsonl`
and the numbers in `published`) it writes
    summary.json       {agent: {dataset: {"accuracy", "n", "interval", ...}}}
    comparisons.json   every pair of agents, and every ablation with its agent
    report.html        the same for people
    episodes.html      the episodes themselves
and of a training run's folder (`config.yaml`, `metrics.jsonl`) report.html and, where episodes
were kept, episodes.html. Several training runs are drawn into one figure each: every page then
shows them all side by side.

The exit code is 2 when a folder holds neither.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrvision_env.trace import Trace
from hrvision_env.viewer import write_viewer

from .metrics import summarise_all
from .pages.cells import VIEWER
from .pages.parts import write_page
from .pages.run_page import make_page
from .pages.runs import names_of, read_run
from .pages.training_page import make_training_page
from .published import beside, kept
from .resume import EPISODES, read_rows
from .statistics.families import compare_all
from .sufficiency import attach

REPORT = "report.html"
SUFFICIENCY = "sufficiency.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for a folder that nothing can be made of, told in one line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        trained = [folder for folder in options.folders if is_training(folder)]
        for folder in options.folders:
            print(write_report(folder, beside_it=trained))
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


def write_report(folder: Path, *, beside_it: Sequence[Path] = ()) -> Path:
    """Write all that people and scripts read of a finished folder; returns the page's path.

    `beside_it`: the folders of other training runs, for the page of a training run. Raises
    ValueError for a folder of neither kind and for files that cannot be read.
    """
    if is_benchmark(folder):
        return _benchmark(folder)
    if is_training(folder):
        others = [path for path in beside_it if path.resolve() != folder.resolve()]
        return _training(folder, others)
    raise ValueError(
        f"{folder}: holds no run; expected manifest.json and {EPISODES} of a benchmark, or "
        "config.yaml and metrics.jsonl of a training run"
    )


def is_benchmark(folder: Path) -> bool:
    """Whether a benchmark was played into a folder."""
    return (folder / "manifest.json").is_file() and (folder / EPISODES).is_file()


def is_training(folder: Path) -> bool:
    """Whether something was trained in a folder."""
    return (folder / "config.yaml").is_file() and (folder / "metrics.jsonl").is_file()


def _benchmark(folder: Path) -> Path:
    rows = read_rows(folder)
    manifest = _read_manifest(folder / "manifest.json")
    summaries = summarise_all(rows)
    if (folder / SUFFICIENCY).is_file():
        attach(summaries, rows, read_rows(folder, SUFFICIENCY))
    comparisons = compare_all(rows, manifest["agents"])
    published = beside(summaries, manifest, kept(folder))
    write_json(folder / "summary.json", summaries)
    write_json(folder / "comparisons.json", comparisons)
    page = make_page(summaries, comparisons, published, manifest)
    write_viewer(Trace(folder), folder / VIEWER)
    return write_page(page, folder / REPORT)


def _training(folder: Path, others: Sequence[Path]) -> Path:
    folders = [folder, *others]
    runs = [read_run(path, name) for path, name in zip(folders, names_of(folders), strict=True)]
    if runs[0].episodes:
        write_viewer(Trace(folder), folder / VIEWER)
    return write_page(make_training_page(runs[0], runs[1:]), folder / REPORT)


def _read_manifest(path: Path) -> dict[str, Any]:
    """Raises ValueError for what is no manifest of ours."""
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    missing = [
        key
        for key in ("agents", "datasets", "seed", "versions")
        if not isinstance(manifest, dict) or key not in manifest
    ]
    if missing:
        raise ValueError(f"{path}: misses {', '.join(missing)}; expected a benchmark's manifest")
    return dict(manifest)


def write_json(path: Path, value: Any) -> None:
    """Write JSON by one rename: whole or not at all."""
    unfinished = path.with_name(f".{path.name}.part")
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    unfinished.write_text(text, "utf-8", "backslashreplace")
    unfinished.replace(path)


if __name__ == "__main__":
    sys.exit(main())
