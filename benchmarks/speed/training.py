"""How fast a training step is, beside TRL's GRPOTrainer.

    python -m benchmarks.speed.training --trl-python PYTHON [--tokens 54 256 1024] [--rounds 5]
        [--threads 2] [--device cpu] [--scaling] [--json]
        [--out benchmarks/results/training_vs_trl.json]

Both sides train the same small random Qwen2.5-VL (fp32, GRPO, AdamW, frozen vision tower) on the
same photographs, prompts and forced replies of 64 tokens, 8 siblings per question, in the
micro-batches that are the fastest for TRL. Each runs its own whole training loop in a process of
its own (`training_ours.py`, `training_trl.py`); between steps it waits for the other. Prompts are
compared in every step, the gradient in the first. Ratios are taken within a round, shown is their
median; the JSON has also the least and the largest.

step     sampling, rewards, update, and what else the loop does; ours also opens the image files,
         plays the environment and gives the engine its weights, with a probe
update   from sampled replies to new weights
memory   the most that a step held beyond what was there before the first one
expected the same ratios by counting floating-point operations (`training_work.count`)

`--scaling` measures our side alone: against the number of questions, and against the resolution of
the images below and above the environment's `max_pixels`. PYTHON is that of an environment with
TRL (`make bench-training` makes one). On a machine that is not idle: `chrt -r 1 python -m
benchmarks.speed.training`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .env import machine, table
from .training_scaling import describe_scaling, measure_scaling
from .training_work import (
    SHAPES,
    TOGETHER,
    Result,
    Side,
    Sizes,
    Work,
    count,
    spread,
    write_model,
    write_questions,
)

ROOT = Path(__file__).resolve().parents[2]
WARM_UP = 2
"""Steps that are not counted."""
NO_CLIP = 1e9
"""A gradient norm that none has: the first gradient is then comparable."""
LR = 1e-5
SAME, SAME_BFLOAT16 = 1e-4, 0.1
"""Relative difference of the two gradients up to which they count as the same."""
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40": 181e12, "4090": 165e12}
"""Of bfloat16 products without sparsity, by a part of the card's name; from the data sheets."""
GPU: dict[str, Any] = {
    "hidden": 2048,
    "layers": 16,
    "heads": 16,
    "kv_heads": 2,
    "vision_hidden": 640,
}
"""A GPU would idle on the small model."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        report = measure(Path(name), options)
    print(json.dumps(report) if options.json else describe(report))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.speed.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--trl-python", type=Path, help="of an environment with TRL")
    parser.add_argument(
        "--tokens", nargs="*", type=int, default=[*SHAPES], choices=SHAPES, help="of an image"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--groups", type=int, default=4, help="questions per step")
    parser.add_argument("--threads", type=int, default=2, help="of torch, for both sides")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--scaling", action="store_true", help="our side alone, other sizes")
    parser.add_argument("--json", action="store_true", help="print one JSON object, no tables")
    parser.add_argument("--out", type=Path, help="write the JSON object to this file")
    return parser


def measure(folder: Path, options: argparse.Namespace) -> Result:
    """Everything that is asked for; the result is JSON-able."""
    report: Result = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "load_at_start": os.getloadavg()[0],
        "threads": options.threads,
        "device": options.device,
    }
    if options.trl_python is None and options.tokens and not options.scaling:
        raise SystemExit("--trl-python: expected the Python of an environment with TRL")
    for tokens in options.tokens if options.trl_python else ():
        columns, rows = SHAPES[tokens]
        together = math.gcd(options.groups, TOGETHER[tokens])
        work = Work(columns, rows, options.groups, together, steps=WARM_UP + options.rounds)
        if options.device == "cuda":
            work = replace(work, **GPU)
        report[str(tokens)] = compare(folder / str(tokens), work, options)
    if options.scaling:
        report["scaling"] = measure_scaling(folder, options, open_ours)
    return report


# -- one size


def open_ours(folder: Path, work: Work, options: argparse.Namespace) -> tuple[Side, Result]:
    """Our side, and the request that it was given."""
    model = write_model(folder / "model", work)
    questions = write_questions(folder / "images", model, work)
    request = {
        "folder": model,
        "images": str(folder / "images"),
        "run_dir": str(folder / "run"),
        "gradient": str(folder / "ours.safetensors"),
        "work": work.to_json(),
        "questions": questions,
        "micro_batch_tokens": _micro_batch_tokens(work),
        "lr": LR,
        "grad_clip": NO_CLIP,
        "dtype": "float32" if options.device == "cpu" else "bfloat16",
        "device": options.device,
        "threads": options.threads,
    }
    path = folder / "ours.json"
    path.write_text(json.dumps(request))
    command = [sys.executable, "-m", "benchmarks.speed.training_ours", str(path)]
    environment = _environment(options.threads) | {"PYTHONPATH": str(ROOT)}
    return Side("our side", command, environment, folder / "ours.log"), request


def _micro_batch_tokens(work: Work) -> int:
    """A budget that `work.together` questions fit, and not one more."""
    prompt = work.columns * work.rows + 32
    return work.together * (prompt + 100 + work.siblings * work.new_tokens)


def _environment(threads: int) -> dict[str, str]:
    """One side's idle threads must not take the other's time."""
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "WANDB_MODE": "disabled"}
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive", **quiet}


def open_trl(
    folder: Path, work: Work, options: argparse.Namespace, request: Result, order: list[list[int]]
) -> Side:
    """TRL's side, with the questions in the order in which ours asks them."""
    ordered = [request["questions"][index] for step in order for index in step]
    theirs = {
        **request,
        "gradient": str(folder / "trl.safetensors"),
        "questions": ordered,
        "groups": work.groups,
        "siblings": work.siblings,
        "new_tokens": work.new_tokens,
        "steps": work.steps,
        "rows": work.together * work.siblings,
    }
    path = folder / "trl.json"
    path.write_text(json.dumps(theirs))
    script = Path(__file__).with_name("training_trl.py")
    command = [str(options.trl_python), "-I", str(script), str(path)]
    return Side("TRL's side", command, _environment(options.threads), folder / "trl.log")


def compare(folder: Path, work: Work, options: argparse.Namespace) -> Result:
    """Both sides in turn. Raises RuntimeError where they did not do the same work."""
    folder.mkdir()
    ours, request = open_ours(folder, work, options)
    sides = {"ours": ours}
    try:
        ready = {"ours": ours.hear()}
        sides["trl"] = open_trl(folder, work, options, request, ready["ours"]["order"])
        ready["trl"] = sides["trl"].hear()
        rounds = [play_round(sides, n) for n in range(work.steps)]
    finally:
        for side in sides.values():
            side.close()
    gpu = options.device == "cuda"
    difference = gradient_difference(folder, same=SAME_BFLOAT16 if gpu else SAME)
    prompt = len(rounds[0]["ours"].pop("prompts")[0])
    result = summary(rounds[WARM_UP:], ready)
    sizes = Sizes(**ready["ours"].pop("sizes"))
    return {
        **result,
        **expectation(work, sizes, prompt, result),
        "gradient_difference": difference,
        "prompt_tokens": prompt,
        "parameters": ready["ours"]["parameters"],
        "work": work.to_json(),
        "versions": ready["trl"]["versions"],
        "settings_of_trl": ready["trl"]["settings"],
        **(utilisation(result, ready["trl"]["card"], work, sizes, prompt) if gpu else {}),
    }


def play_round(sides: dict[str, Side], n: int) -> dict[str, Result]:
    """A step of each side, the first one first in every second round."""
    names = sorted(sides, reverse=bool(n % 2))
    found = {name: sides[name].go() for name in names}
    ours, theirs = (found[name]["prompts"] for name in ("ours", "trl"))
    if sorted(ours) != sorted(theirs):
        raise RuntimeError(
            f"step {n}: the two sides have different prompts: {ours[0]}, {theirs[0]}"
        )
    return found


def gradient_difference(folder: Path, same: float) -> float:
    """|ours - TRL's| / |TRL's| over all weights, of the first update."""
    from safetensors.torch import load_file

    ours, theirs = (load_file(folder / f"{name}.safetensors") for name in ("ours", "trl"))
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())
        raise RuntimeError(f"gradients: only one side has one of {', '.join(odd[:5])}")
    gap = sum(float((ours[n].double() - g.double()).square().sum()) for n, g in theirs.items())
    size = sum(float(g.double().square().sum()) for g in theirs.values())
    difference = (gap / size) ** 0.5
    if not difference < same:
        raise RuntimeError(
            f"gradients differ by {difference:.2g} relative to their size, expected less than "
            f"{same:g}: the sides do not do the same work"
        )
    return float(difference)


def summary(rounds: Sequence[dict[str, Result]], ready: dict[str, Result]) -> Result:
    """Medians and ratios of the rounds that count."""
    parts = ("step", "update", "rollout", "peak")
    middle = {
        name: {part: statistics.median(r[name][part] for r in rounds) for part in parts}
        for name in ready
    }
    for name, found in middle.items():
        found["resident"] = ready[name]["resident"]
        found["working"] = max(r[name]["peak"] for r in rounds) - ready[name]["resident"]
    ratios = {part: [r["trl"][part] / r["ours"][part] for r in rounds] for part in parts[:3]}
    return {
        "step_speedup": statistics.median(ratios["step"]),
        "update_speedup": statistics.median(ratios["update"]),
        "rollout_speedup": statistics.median(ratios["rollout"]),
        "memory_ratio": middle["trl"]["working"] / middle["ours"]["working"],
        "peak_ratio": middle["trl"]["peak"] / middle["ours"]["peak"],
        "spread": {part: spread(values) for part, values in ratios.items()},
        "seconds": {
            name: {part: values[part] for part in parts[:3]} for name, values in middle.items()
        },
        "bytes": {
            name: {part: values[part] for part in ("resident", "peak", "working")}
            for name, values in middle.items()
        },
    }


def expectation(work: Work, sizes: Sizes, prompt: int, result: Result) -> Result:
    """What counting says, beside what was measured."""
    ours, theirs = (count(work, sizes, prompt, ours=side) for side in (True, False))
    return {
        "counted": {"ours": asdict(ours), "trl": asdict(theirs)},
        "expected": {
            "update_tokens": theirs.update / ours.update,
            "update": theirs.flops_update / ours.flops_update,
            "rollout": theirs.flops_rollout / ours.flops_rollout,
            "step": theirs.flops / ours.flops,
        },
        "measured": {part: result[f"{part}_speedup"] for part in ("update", "rollout", "step")},
    }


def utilisation(result: Result, card: str, work: Work, sizes: Sizes, prompt: int) -> Result:
    """Share of the card's peak in the update: useful operations, the same for both sides' clocks.

    Useful are those that we do; what the other side does twice is no use.
    """
    peak = next((value for name, value in PEAK_FLOPS.items() if name in card), None)
    if peak is None:
        return {"card": card}
    useful = count(work, sizes, prompt, ours=True).flops_update
    seconds = result["seconds"]
    return {
        "card": card,
        "share_of_peak": {name: useful / seconds[name]["update"] / peak for name in seconds},
    }


# -- tables


def describe(report: Result) -> str:
    parts = []
    sizes = [report[str(tokens)] for tokens in SHAPES if str(tokens) in report]
    if sizes:
        parts += [
            f"Against TRL {sizes[0]['versions']['trl']}, medians; load of the machine before: "
            f"{report['load_at_start']:.1f}",
            table(HEAD, [_row(found) for found in sizes]),
        ]
    if "scaling" in report:
        parts.append(describe_scaling(report["scaling"]))
    return "\n\n".join(parts)


HEAD = ("prompt", "step x", "expected", "update x", "expected", "rollout x", "memory x",
        "ours s", "TRL s", "ours MB", "TRL MB", "gradient gap")  # fmt: skip


def _row(found: Result) -> tuple[Any, ...]:
    seconds, held, expected = found["seconds"], found["bytes"], found["expected"]
    return (
        found["prompt_tokens"],
        *(f"{x:.2f}" for x in (found["step_speedup"], expected["step"])),
        *(f"{x:.2f}" for x in (found["update_speedup"], expected["update"])),
        *(f"{x:.2f}" for x in (found["rollout_speedup"], found["memory_ratio"])),
        *(f"{seconds[name]['step']:.2f}" for name in ("ours", "trl")),
        *(f"{held[name]['working'] / 1e6:.0f}" for name in ("ours", "trl")),
        f"{found['gradient_difference']:.1g}",
    )


if __name__ == "__main__":
    sys.exit(main())
