"""How our training step grows: with the number of questions, and with the images' resolution.

Our side of `benchmarks.speed.training` alone. A step must cost in proportion to its questions, and
as much for a large image as for a middling one once the environment shrinks both to `max_pixels`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .env import table
from .training_work import Result, Side, Work

QUESTIONS = (1, 2, 4, 8)
SIDES = (8, 12, 16, 24, 32, 64)
"""Image tokens along a side of the original."""
CAP = 16
"""Of them, what `max_pixels` lets through."""
WARM_UP, STEPS = 1, 4

Open = Callable[[Path, Work, argparse.Namespace], tuple[Side, Result]]


def measure_scaling(folder: Path, options: argparse.Namespace, opening: Open) -> Result:
    """Medians of steps; sizes take turns at the innermost, so that noise hits all alike."""
    base = Work(CAP, CAP, steps=WARM_UP + STEPS)
    many = [replace(base, groups=n, together=n) for n in QUESTIONS]
    cap = CAP**2 * base.factor**2
    wide = [replace(base, columns=n, rows=n, max_pixels=cap) for n in SIDES]
    questions = _steps(folder / "questions", many, options, opening)
    resolution = _steps(folder / "resolution", wide, options, opening)
    fit = {
        part: line(QUESTIONS, [found[part] for found in questions]) for part in ("step", "update")
    }
    return {
        "questions": {str(n): found for n, found in zip(QUESTIONS, questions, strict=True)},
        "fit": fit,
        "resolution": {
            str(work.size[0]): {"image_tokens": min(side, CAP) ** 2, **found}
            for side, work, found in zip(SIDES, wide, resolution, strict=True)
        },
        "max_pixels": cap,
    }


def _steps(
    folder: Path, works: Sequence[Work], options: argparse.Namespace, opening: Open
) -> list[Result]:
    """Seconds of a step and its parts for each work, the works in turn."""
    sides = []
    try:
        for n, work in enumerate(works):
            own = folder / str(n)
            own.mkdir(parents=True)
            side, _ = opening(own, work, options)
            sides.append(side)
            side.hear()
        rounds = [[side.go() for side in sides] for _ in range(WARM_UP + STEPS)]
    finally:
        for side in sides:
            side.close()
    counted = rounds[WARM_UP:]
    parts = ("step", "rollout", "update")
    return [
        {part: statistics.median(r[n][part] for r in counted) for part in parts}
        for n in range(len(works))
    ]


def line(x: Sequence[float], y: Sequence[float]) -> Result:
    """The straight line that fits best: seconds per unit, seconds at none, and R²."""
    slope, start = np.polyfit(x, y, 1)
    left = np.asarray(y) - (slope * np.asarray(x) + start)
    total = np.asarray(y) - np.mean(y)
    return {
        "per_question": float(slope),
        "fixed": float(start),
        "r_squared": float(1 - (left**2).sum() / (total**2).sum()),
    }


def describe_scaling(found: Result) -> str:
    """Two tables."""
    fit = found["fit"]["step"]

    def cells(values: Result) -> tuple[str, ...]:
        return tuple(f"{values[part]:.2f}" for part in ("step", "rollout", "update"))

    many: list[tuple[Any, ...]] = [(n, *cells(v)) for n, v in found["questions"].items()]
    wide: list[tuple[Any, ...]] = [
        (f"{n} x {n}", v["image_tokens"], *cells(v)) for n, v in found["resolution"].items()
    ]
    return "\n\n".join(
        [
            f"Questions per step: {fit['per_question']:.3f} s each and {fit['fixed']:.3f} s, "
            f"R² {fit['r_squared']:.4f}",
            table(("questions", "step s", "rollout s", "update s"), many),
            f"Images of other sizes, max_pixels {found['max_pixels']:,}",
            table(("pixels", "image tokens", "step s", "rollout s", "update s"), wide),
        ]
    )
