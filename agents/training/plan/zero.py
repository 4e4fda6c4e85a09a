"""What a DeepSpeed file means for memory and traffic. Read without DeepSpeed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..zero_file import read_settings


@dataclass(frozen=True)
class Zero:
    """How weights, gradients and moments are spread over the GPUs."""

    stage: int = 0
    """0: not at all; 1: moments, 2: gradients too, 3: weights too."""
    optimizer_on_host: bool = False
    weights_on_host: bool = False
    bucket: int = 500_000_000
    """Gradients that are sent together, in numbers."""
    overlap: bool = False
    """Two such buckets, one on its way while the other fills."""
    live: int = 1_000_000_000
    """Stage 3: weights that are whole on a GPU at a time, in numbers."""
    group: int = 1_000_000_000
    """Stage 3: weights that are updated together, in numbers."""
    accumulate: int = 4
    """Bytes of a gradient that micro-batches add up in."""
    deepspeed: bool = False


def zero_of(path: str, dtype: str = "float32") -> Zero:
    """The settings of a DeepSpeed file; those of one process without, for an empty path.

    Raises ValueError or FileNotFoundError for a file that training refuses, see `read_settings`.
    """
    if not path:
        return Zero()
    settings = read_settings(path, dtype)
    zero = settings["zero_optimization"]
    stage = int(zero["stage"])
    overlap = zero.get("overlap_comm")
    return Zero(
        stage=stage,
        optimizer_on_host=_offloads(zero, "offload_optimizer"),
        weights_on_host=stage == 3 and _offloads(zero, "offload_param"),
        bucket=_number(zero, "reduce_bucket_size", 5e8),
        overlap=overlap if isinstance(overlap, bool) else stage == 3,
        live=_number(zero, "stage3_max_live_parameters", 1e9),
        group=_number(zero, "sub_group_size", 1e9),
        deepspeed=True,
    )


def _offloads(zero: dict[str, Any], key: str) -> bool:
    return (zero.get(key) or {}).get("device", "none") != "none"


def _number(zero: dict[str, Any], key: str, default: float) -> int:
    value = zero.get(key, default)
    return int(default if value == "auto" else value)
