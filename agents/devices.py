"""What `auto` means: where a model runs, and in which arithmetic."""

from __future__ import annotations

DTYPES = ("auto", "float32", "bfloat16")
"""Names of `model.dtype`."""


def device_of(device: str) -> str:
    """`device`; for "auto" "cuda" where there is one, else "cpu"."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype_of(dtype: str, device: str) -> str:
    """`dtype`; for "auto" "bfloat16" on a GPU and "float32" on a CPU. `device` may be "auto".

    Raises ValueError for another name than those of `DTYPES`.
    """
    if dtype not in DTYPES:
        expected = ", ".join(map(repr, DTYPES[:-1]))
        raise ValueError(f"dtype: got {dtype!r}, expected {expected} or {DTYPES[-1]!r}")
    if dtype != "auto":
        return dtype
    return "float32" if device_of(device).startswith("cpu") else "bfloat16"
