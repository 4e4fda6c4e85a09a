"""How fast rollouts are, beside what one would write without this project.

    python -m benchmarks.speed.rollout [--tokens 256 1024] [--replies 32] [--rounds 3]
        [--threads 1] [--vllm-python .venv/vllm/bin/python] [--json]
        [--out benchmarks/results/speed_rollout.json]

8 groups of 8 siblings play MGPO's two turns with a crop as second image, on a small random model
of a real class (`rollout_work.py`). Sides run in turn, n rounds; ratios are taken within a round,
shown is their median, the JSON also has the least and the largest.

(a) our whole loop over transformers against the model's own `generate` on the same prompts, which
    is given its tokens and patches; `x` is against the fastest of three ways (`rollout_generate`)
(b) our whole loop over vLLM against two calls of `LLM.generate` on the same prompts and with the
    same settings, in the same engine, with empty caches: share of its tokens per second
(c) continuous against lock-step over vLLM, with replies of uneven length and more questions than
    places: how many times faster. On a CPU a step costs nearly as much as its rows one by one, so
    that fuller batches gain little; the number of steps says what a GPU would gain
(d) what is done to the source image of each group, in both engines. Anything but one decode, one
    tokenisation and one run of the vision tower is an error, and the exit code 1

(b) and (c) need vLLM and run with the Python of its environment (`rollout_vllm.py`); without one
they are reported as not run. On a machine that is not idle: `chrt -r 1 python -m
benchmarks.speed.rollout`.
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
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .env import machine, table
from .rollout_work import Result, Work, spread, write_images, write_model

ROOT = Path(__file__).resolve().parents[2]
VLLM_PYTHON = ROOT / ".venv/vllm/bin/python"
"""Of the environment that `make test-vllm` makes."""
VLLM_SITE = ROOT / "tests/vllm/site"
"""What that environment needs at every start."""
PACKAGES = ("torch", "transformers", "numpy", "pillow")
LONGER = 4
"""Replies of (b) are so many times longer: vLLM is fast, and the environment's work per reply is
the same."""
PARTS = ("vision", "prefill", "decode", "rest")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        report = measure(
            Path(folder),
            [Work(image_tokens=n, new_tokens=options.replies) for n in options.tokens],
            rounds=options.rounds,
            threads=options.threads,
            vllm_python=options.vllm_python,
        )
    print(json.dumps(report) if options.json else describe(report))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if report["image_work"]["once"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.speed.rollout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--tokens", nargs="+", type=int, default=[256, 1024], help="of a view: square numbers"
    )
    parser.add_argument("--replies", type=int, default=32, help="tokens of each of the two")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch, for all sides")
    parser.add_argument(
        "--vllm-python", type=Path, default=VLLM_PYTHON, help="of an environment with vLLM"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, no tables")
    parser.add_argument("--out", type=Path, help="write the JSON object to this file")
    return parser


def measure(
    folder: Path, works: Sequence[Work], *, rounds: int, threads: int, vllm_python: Path
) -> Result:
    """Everything; the result is JSON-able. `works` differ in the size of their images."""
    load = os.getloadavg()[0]
    found = {}
    for work in works:
        request = prepare(folder, work, rounds, threads)
        result = run_case("rollout_generate", sys.executable, {**request, "sizes": list(PLAIN)})
        found[str(work.image_tokens)] = summary(result)
    longer = replace(works[0], new_tokens=LONGER * works[0].new_tokens)
    vllm = with_vllm(vllm_python, prepare(folder, longer, 2 * rounds - 1, threads))
    costs = {f"transformers, {n}": result["costs"] for n, result in found.items()}
    once = [result["once"] for result in found.values()]
    if "not_run" in vllm:
        costs["vllm"] = vllm
    else:
        costs["vllm"] = vllm["costs"]
        once.append(vllm["once"])
    return {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "load_at_start": load,
        "threads": threads,
        "versions": versions(),
        "speedup_vs_generate": {n: result["speedup"] for n, result in found.items()},
        "generate": found,
        "vllm": vllm,
        "image_work": {"once": all(once), **costs},
    }


PLAIN = ("plain_all", "plain_8", "plain_1")
"""Ways to call `generate`, see `rollout_generate`."""


def prepare(folder: Path, work: Work, rounds: int, threads: int) -> Result:
    """Write model and images; what a case is asked for."""
    write_images(folder / "images", work, work.groups)
    return {
        "folder": write_model(folder / "model", work),
        "images": str(folder / "images"),
        "work": work.to_json(),
        "rounds": rounds,
        "threads": threads,
    }


def summary(result: Result) -> Result:
    """Medians of the rounds, and the ratio to the best plain way by round."""
    rounds = result["rounds"]
    middle = {
        name: {key: statistics.median(r[key] for r in found) for key in ("seconds", *PARTS)}
        for name, found in rounds.items()
    }
    best = min((name for name in middle if name != "ours"), key=lambda n: middle[n]["seconds"])
    ratios = {
        name: spread(
            [o["seconds"] / r["seconds"] for o, r in zip(found, rounds["ours"], strict=True)]
        )
        for name, found in rounds.items()
        if name != "ours"
    }
    return {**result, "median": middle, "best": best, "ratios": ratios,
            "speedup": ratios[best]["median"]}  # fmt: skip


def with_vllm(python: Path, request: Result) -> Result:
    """What `rollout_vllm` finds, or `{"not_run": why}`."""
    if not python.exists():
        return {"not_run": f"there is no {python.name} of an environment with vLLM (--vllm-python)"}
    threads = str(request["threads"])
    environment = {**os.environ, "VLLM_LOGGING_LEVEL": "ERROR", "OMP_NUM_THREADS": threads}
    if python == VLLM_PYTHON:
        paths = [str(VLLM_SITE), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    try:
        return run_case("rollout_vllm", str(python), request, environment)
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()
        return {"not_run": f"exit code {error.returncode}: {last[-1] if last else 'no message'}"}


def run_case(
    case: str, python: str, request: Result, environment: Mapping[str, str] | None = None
) -> Result:
    """One case in a process of its own."""
    done = subprocess.run(
        [python, "-m", f"benchmarks.speed.{case}", json.dumps(request)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if environment else None,
        text=True,
        check=True,
        cwd=ROOT,
        env=None if environment is None else dict(environment),
    )
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    return {**found, **{name: importlib.metadata.version(name) for name in PACKAGES}}


# -- tables


def describe(report: Result) -> str:
    head = ("view tokens", "", "x", "least", "most", "seconds", *PARTS)
    rows = [row for n, found in report["generate"].items() for row in _rows(n, found)]
    return "\n\n".join(
        [
            f"(a) Two turns of 64 chats with transformers, medians; load of the machine before: "
            f"{report['load_at_start']:.1f}",
            table(head, rows),
            *_vllm_parts(report["vllm"]),
            "(d) What was done to the source images, [least, most] per group",
            table(*_image_rows(report["image_work"])),
        ]
    )


def _rows(tokens: str, found: Result) -> list[tuple[Any, ...]]:
    rows = []
    for name, middle in found["median"].items():
        ratio = found["ratios"].get(name)
        cells = ("", "", "") if ratio is None else tuple(f"{x:.2f}" for x in ratio.values())
        mark = " (best)" if name == found["best"] else ""
        times = tuple(f"{middle[key]:.1f}" for key in ("seconds", *PARTS))
        rows.append((tokens if name == "ours" else "", name + mark, *cells, *times))
    return rows


def _vllm_parts(found: Result) -> list[str]:
    if "not_run" in found:
        return [f"(b), (c) not run: {found['not_run']}"]
    names = ("share_of_raw", "share_of_raw_without_environment", "continuous_vs_lock_step")
    rows = [(name, *(f"{x:.3f}" for x in found[name].values())) for name in names]
    steps = found["against_lock_step"]["steps"]
    return [
        f"(b), (c) With {found['version']}; engine steps of (c): {steps['continuous']} "
        f"continuously, {steps['lock_step']} in lock-step",
        table(("", "median", "least", "most"), rows),
    ]


def _image_rows(found: Result) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    keys = ("source_decodes", "source_decodes_reduced", "source_tokenisations", "source_encodes",
            "crop_encodes")  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for name, costs in found.items():
        if name == "once":
            continue
        if "not_run" in costs:
            rows.append((name, "not run", *[""] * (len(keys) - 1)))
        else:
            rows.append((name, *(costs[key] for key in keys)))
    return ("", *keys), rows


if __name__ == "__main__":
    sys.exit(main())
