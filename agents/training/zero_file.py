"""DeepSpeed's JSON file: what of it a run may set, checked without DeepSpeed.

Training and `--plan` read it here, so that a plan is refused where training would be.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OURS = {
    "optimizer": "optim",
    "scheduler": "optim.schedule",
    "gradient_clipping": "optim.grad_clip",
    "train_batch_size": "rollout.groups_per_step",
    "train_micro_batch_size_per_gpu": "optim.micro_batch_tokens",
    "gradient_accumulation_steps": "optim.micro_batch_tokens",
    "bf16": "model.dtype",
    "fp16": "model.dtype",
    "torch_autocast": "model.dtype",
    "activation_checkpointing": "model.gradient_checkpointing",
}
"""Keys of DeepSpeed's file that a config of ours decides, and where."""
FIXED = {"zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False}
"""Keys that must be as they are here: AdamW is torch's, wherever its state lies."""
KEYS = (
    "zero_optimization",
    "data_types",
    "communication_data_type",
    "steps_per_print",
    "wall_clock_breakdown",
    "memory_breakdown",
    "dump_state",
    "comms_logger",
    "flops_profiler",
    *FIXED,
)
"""Keys that a run may set. Others would be ignored, or change what is computed untried here."""
ZERO_KEYS = (
    "stage",
    "contiguous_gradients",
    "overlap_comm",
    "reduce_scatter",
    "reduce_bucket_size",
    "allgather_partitions",
    "allgather_bucket_size",
    "round_robin_gradients",
    "offload_optimizer",
    "offload_param",
    "sub_group_size",
    "stage3_max_live_parameters",
    "stage3_max_reuse_distance",
    "stage3_prefetch_bucket_size",
    "stage3_param_persistence_threshold",
    "stage3_gather_16bit_weights_on_model_save",
    "memory_efficient_linear",
)
"""The same within `zero_optimization`; without quantised weights and gradients, hpZ and MiCS."""
STAGES = (1, 2, 3)
OFFLOADED = ("offload_optimizer", "offload_param")
DEVICES = ("cpu", "none")
NUMBERS = (
    "reduce_bucket_size",
    "allgather_bucket_size",
    "sub_group_size",
    "stage3_max_live_parameters",
    "stage3_max_reuse_distance",
    "stage3_prefetch_bucket_size",
    "stage3_param_persistence_threshold",
)
"""Keys of `zero_optimization` that hold a count, or "auto" for DeepSpeed's default."""
SENT = ("fp32", "bf16")
"""Types that gradients may be sent in."""


def read_settings(path: str | Path, dtype: str = "float32") -> dict[str, Any]:
    """DeepSpeed's JSON file, for weights of type `dtype`.

    Raises ValueError, with file and key, for a file that is none, keys that belong into our config
    or are not known here, a stage that is not 1, 2 or 3, stage 1 with bfloat16, offloading to a
    disk, gradients that add up in another type than float32, and values of another type than
    DeepSpeed takes; FileNotFoundError.
    """
    head = f"scale.deepspeed: {path}"
    if not Path(path).is_file():
        raise FileNotFoundError(f"{head}: no such file")
    try:
        settings = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{head}: not valid JSON: {error}") from error
    settings = _object(settings, head)
    for key, place in OURS.items():
        if key in settings:
            raise ValueError(f"{head}: got {key!r}, which the config decides: set {place} there")
    _check_keys(settings, KEYS, head)
    _check_zero(_object(settings.get("zero_optimization", {}), f"{head}: zero_optimization"), head)
    _check_types(settings, head)
    if settings["zero_optimization"]["stage"] == 1 and dtype == "bfloat16":
        # DeepSpeed takes another optimizer there, whose state cannot be written rank by rank.
        raise ValueError(
            f"{head}: zero_optimization.stage: got 1 with model.dtype bfloat16, expected 2 or 3"
        )
    for key, value in FIXED.items():
        if settings.get(key, value) is not value:
            raise ValueError(f"{head}: {key}: got {_shown(settings[key])}, expected {value}")
    return settings


def _check_keys(found: dict[str, Any], known: Sequence[str], head: str) -> None:
    for key in found:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            meant = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(
                f"{head}: got the key {key!r}{meant}, expected one of {', '.join(known)}"
            )


def _check_types(settings: dict[str, Any], head: str) -> None:
    kinds = _object(settings.get("data_types", {}), f"{head}: data_types")
    _check_keys(kinds, ("grad_accum_dtype",), f"{head}: data_types")
    kind = kinds.get("grad_accum_dtype")
    if kind not in (None, "fp32"):
        raise ValueError(
            f"{head}: data_types.grad_accum_dtype: got {kind!r}, expected 'fp32': micro-batches "
            "add up in float32"
        )
    sent = settings.get("communication_data_type")
    if sent not in (None, *SENT):
        expected = " or ".join(map(repr, SENT))
        raise ValueError(f"{head}: communication_data_type: got {sent!r}, expected {expected}")


def _object(value: Any, head: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{head}: got {_shown(value)}, expected an object")
    return value


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {json.dumps(value)[:40]}"


def _check_zero(zero: dict[str, Any], head: str) -> None:
    head = f"{head}: zero_optimization"
    _check_keys(zero, ZERO_KEYS, head)
    stage = zero.get("stage", 0)
    if isinstance(stage, bool) or stage not in STAGES:
        raise ValueError(f"{head}.stage: got {stage!r}, expected 1, 2 or 3")
    for key in OFFLOADED:
        if zero.get(key) is None:
            continue
        device = _object(zero[key], f"{head}.{key}").get("device", "none")
        if device not in DEVICES:
            raise ValueError(f"{head}.{key}.device: got {device!r}, expected 'cpu' or 'none'")
    for key in NUMBERS:
        if key in zero and zero[key] != "auto" and not _is_count(zero[key]):
            raise ValueError(
                f"{head}.{key}: got {_shown(zero[key])}, expected a whole number from 0 up"
            )
    overlap = zero.get("overlap_comm")
    if overlap not in (None, "auto") and not isinstance(overlap, bool):
        raise ValueError(f"{head}.overlap_comm: got {_shown(overlap)}, expected true or false")


def _is_count(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value >= 0 and value == int(value)
