"""How fast the environment is with large images, beside three other ways to do it.

    python -m benchmarks.speed.env [--sizes 2k 4k 8k 16k] [--formats jpeg png] [--vips]
        [--json] [--out benchmarks/results/speed_env.json]

Groups of 8 rollouts x 2 turns (a view, a crop of a box of 5 to 15% of the image's sides) on images
made as `photos.py` says. The environment is compared with three baselines (`env_cases.py`):

x (i)         open, decode and resize at every use
x (i) draft   the same, JPEGs decoded at reduced size for their views, as the environment does: what
              is left is the gain from sharing. None for PNG, which has no such decoding.
x (ii)        decode once per rollout
x limit       times as long as one whole decode per group, and nothing else, takes

Every measurement runs in a process of its own, the columns in turn, n rounds (2 for 16k, else 3);
shown is the median of the rounds, the JSON also has the least and the largest of each ratio.
Ratios are taken within a round, and are more trustworthy than milliseconds: other work on the
machine hits all columns alike. On a machine that is not idle: `chrt -r 1 python -m
benchmarks.speed.env`.

Also: peak memory by the number of questions seen, the cost of a step without pixels, and with
`--vips` images larger than the cache and libvips against Pillow (`vips_cases.py`).
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .env_cases import BASELINES, GROUP
from .photos import FORMATS, SIZES, Photos, make_photos

Result = dict[str, Any]

GROUPS = {"2k": 6, "4k": 5, "8k": 4, "16k": 1}
"""Questions per measurement."""
MEMBERS = {"2k": 8, "4k": 4, "8k": 2, "16k": 1}
"""Rollouts that the baselines play of each group; they share nothing, so all cost the same."""
ROUNDS = {"2k": 3, "4k": 3, "8k": 3, "16k": 2}
QUESTIONS = (10, 40, 80)
PACKAGES = ("pillow", "numpy", "gymnasium", "pyvips-binary")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        report = measure(Path(folder), options.sizes, options.formats, options.vips)
    if options.json:
        print(json.dumps(report))
    else:
        print(describe(report))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.speed.env",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--vips", action="store_true", help="also what libvips does; needs pyvips")
    parser.add_argument("--json", action="store_true", help="print one JSON object, no tables")
    parser.add_argument("--out", type=Path, help="write the JSON object to this file")
    return parser


def measure(folder: Path, sizes: Sequence[str], formats: Sequence[str], vips: bool) -> Result:
    """Everything; the result is JSON-able."""
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "groups": [group(folder, size, kind) for size in sizes for kind in formats],
        "memory": [memory(folder, count) for count in QUESTIONS],
        "overhead": overhead(folder),
    }
    if vips:
        from . import vips_cases

        report["large"] = vips_cases.large_images(folder, run_case)
        report["vips"] = vips_cases.compare(folder)
    return report


def run_case(case: str, **request: Any) -> Result:
    """One case in a process of its own."""
    if isinstance(photos := request.get("photos"), Photos):
        request["photos"] = {**photos.__dict__, "root": str(photos.root)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.env_cases", json.dumps({"case": case, **request})],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    result: Result = json.loads(done.stdout)
    return result


def medians(rounds: Sequence[Result]) -> Result:
    return {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}


def play_rounds(photos: Photos) -> dict[str, list[Result]]:
    """The results of each case, by round."""
    groups, members = GROUPS[photos.size], MEMBERS[photos.size]
    baselines = [c for c in BASELINES if c != "per_use_draft" or photos.format == "jpeg"]
    rounds: dict[str, list[Result]] = {case: [] for case in ("ours", *baselines, "decode")}
    for _ in range(ROUNDS[photos.size]):
        for case, results in rounds.items():
            request = {"members": members} if case in baselines else {}
            results.append(run_case(case, photos=photos, groups=groups, **request))
    return rounds


def ratios(rounds: dict[str, list[Result]]) -> dict[str, list[float] | None]:
    """By round: how many times faster than each baseline, how many times the physical limit.

    None for a baseline that was not measured.
    """
    speeds = [r["episodes_per_s"] for r in rounds["ours"]]
    found: dict[str, list[float] | None] = {}
    for case in BASELINES:
        found[f"speedup_{case}"] = [
            ours / other["episodes_per_s"]
            for ours, other in zip(speeds, rounds.get(case, ()), strict=case in rounds)
        ] or None
    limits = [GROUP / (r["decode_ms"] / 1000) for r in rounds["decode"]]
    found["times_the_limit"] = [a / b for a, b in zip(limits, speeds, strict=True)]
    return found


def group(folder: Path, size: str, kind: str) -> Result:
    """One size and format: our environment, the others, and the physical limit."""
    photos = make_photos(folder, size, kind, GROUPS[size])
    rounds = play_rounds(photos)
    by_round = ratios(rounds)
    return {
        "size": size,
        "format": kind,
        "pixels": list(photos.pixels),
        "file_mb": photos.path(1).stat().st_size / 1e6,
        "rounds": ROUNDS[size],
        "questions": GROUPS[size],
        "baseline_rollouts_per_question": MEMBERS[size],
        **{name: medians(results) for name, results in rounds.items()},
        **{name: values and statistics.median(values) for name, values in by_round.items()},
        "min": {name: values and min(values) for name, values in by_round.items()},
        "max": {name: values and max(values) for name, values in by_round.items()},
    }


def memory(folder: Path, questions: int) -> Result:
    """Peak memory after that many different 4K images, with a cache that holds six of them."""
    photos = make_photos(folder, "4k", "jpeg", questions)
    return run_case("memory", photos=photos, cache_mb=256)


def overhead(folder: Path) -> Result:
    return run_case("overhead", photos=make_photos(folder, "2k", "jpeg", 1), episodes=1000)


def machine() -> Result:
    """What it ran on; no names."""
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((ln.partition(":")[2].strip() for ln in lines if "model name" in ln), "")
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory_gb),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# -- tables


def describe(report: Result) -> str:
    parts = [
        "Groups of 8 rollouts x 2 turns, medians of n rounds",
        table(
            ("image", "", "n", "episodes/s", "x (i)", "x (i) draft", "x (ii)", "x limit",
             "reset ms", "first crop ms", "crop ms", "full+view decodes", "peak MB"),
            [row for found in report["groups"] for row in _group_rows(found)],
        ),
        "Peak memory by the number of different 4K images, cache of 256 MB",
        table(
            ("questions", "peak MB"),
            [(m["questions"], f"{m['peak_rss_mb']:.0f}") for m in report["memory"]],
        ),
        f"A step without pixels: {report['overhead']['step_ms']:.3f} ms "
        f"(mean {report['overhead']['step_mean_ms']:.3f}), "
        f"a reset: {report['overhead']['reset_ms']:.3f} ms",
    ]  # fmt: skip
    if "large" in report:
        parts += [
            "Images larger than the cache, opened with libvips (in a worker process) and Pillow;\n"
            "memory: peaks of resident memory in MB, total = Python process + worker",
            table(*_large_rows(report["large"])),
        ]
        rows = [tuple(row.values()) for row in report["vips"]]
        parts += ["libvips and Pillow, ms", table(tuple(report["vips"][0]), rows)]
    return "\n\n".join(parts)


def _group_rows(found: Result) -> list[tuple[Any, ...]]:
    names = {"ours": "ours", "per_use": "(i) per use", "per_use_draft": "(i) draft",
             "per_rollout": "(ii) per rollout"}  # fmt: skip
    ratios = [found[key] for key in (*(f"speedup_{case}" for case in BASELINES), "times_the_limit")]
    rows: list[tuple[Any, ...]] = []
    for case in (case for case in names if case in found):
        r, first = found[case], case == "ours"
        rows.append(
            (
                f"{found['size']} {found['format']}" if first else "",
                names[case],
                found["rounds"],
                f"{r['episodes_per_s']:.2f}",
                *("" if not first else "-" if x is None else f"{x:.1f}" for x in ratios),
                f"{r['reset_ms']:.0f}",
                f"{r['first_crop_ms']:.0f}" if first else "",
                f"{r['crop_ms']:.1f}",
                f"{r['full_decodes_per_group']:g}+{r['view_decodes_per_group']:g}",
                f"{r['peak_rss_mb']:.0f}",
            )
        )
    r = found["decode"]
    cells = ("", "one decode", found["rounds"], *[""] * 5, f"{r['decode_ms']:.0f}")
    rows.append((*cells, "", "", "", f"{r['peak_rss_mb']:.0f}"))
    return rows


def _large_rows(found: Sequence[Result]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    head = ("image", "decoder", "pixels", "cache MB", "view ms", "first crop ms", "crop ms",
            "whole ms", "full decodes", "process at start", "process peak", "worker peak",
            "total peak")  # fmt: skip
    keys = ("view_ms", "first_crop_ms", "crop_ms", "whole_crop_ms", "full_decodes", "start_rss_mb",
            "peak_rss_mb", "worker_peak_rss_mb", "total_peak_rss_mb")  # fmt: skip
    rows = [
        (r["image"], r["decoder"], "x".join(map(str, r["pixels"])), r["cache_mb"],
         *(f"{r[k]:.0f}" for k in keys))
        for r in found
    ]  # fmt: skip
    return head, rows


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns as wide as their widest cell; numbers to the right."""
    cells = [[str(c) for c in head], *([str(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        lines.append(
            "  ".join([first, *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        )
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
