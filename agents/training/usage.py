"""What a step took: memory of the process, tokens computed, rates."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ..config_sections import Form
from .tree import MicroBatch, padded_tokens

VOLUME = ("tokens_computed", "tokens_rows")
"""What `volume` counts; it adds up over micro-batches and processes."""
GIB = 2**30
PAGE = resource.getpagesize()


def volume(batch: MicroBatch, form: Form) -> dict[str, float]:
    """Tokens that a micro-batch's forward pass computes, and those of its trajectories alone.

    Two groups of 8, prefix 101 tokens (100 of them computed once), 150 tokens each, as cache: 1000
    and 2400.
    """
    rows = sum(len(member.trajectory) for member in batch.members)
    computed = padded_tokens([batch.members], form)
    return dict(zip(VOLUME, (float(computed), float(rows)), strict=True))


def memory() -> dict[str, float]:
    """This process's memory in GiB under the names of `metrics`; GPU peaks begin anew.

    `memory_resident` is left out where the system does not tell it (it has no /proc).
    """
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    found = {"memory_resident_peak": peak / GIB}
    statm = Path("/proc/self/statm")
    if statm.is_file():
        now = int(statm.read_text().split()[1]) * PAGE
        # The kernel counts the peak in batches, some pages late.
        found = {"memory_resident": now / GIB, "memory_resident_peak": max(now, peak) / GIB}
    if torch.cuda.is_available():
        found["memory_gpu_peak"] = torch.cuda.max_memory_allocated() / GIB
        found["memory_gpu_reserved"] = torch.cuda.memory_reserved() / GIB
        torch.cuda.reset_peak_memory_stats()
    return found


def largest(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By name the largest value of several processes."""
    names = dict.fromkeys(name for one in measured for name in one)
    return {name: max(one[name] for one in measured if name in one) for name in names}


def rates(metrics: Mapping[str, float]) -> dict[str, float]:
    """What follows from a step's sums: saving by shared prefixes, tokens per second.

    >>> rates({"tokens_computed": 250.0, "tokens_rows": 1000.0, "seconds_update": 0.5,
    ...        "tokens_trained": 100.0})
    {'prefix_saving': 0.75, 'tokens_trained_per_second': 200.0, 'tokens_computed_per_second': 500.0}
    """
    found = {}
    if rows := metrics.get("tokens_rows"):
        found["prefix_saving"] = 1 - metrics["tokens_computed"] / rows
    if seconds := metrics.get("seconds_update"):
        for name in ("tokens_trained", "tokens_computed"):
            if name in metrics:
                found[f"{name}_per_second"] = metrics[name] / seconds
    return found
