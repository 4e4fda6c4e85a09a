"""What can go wrong outside of our code, and how a command says it in one line."""

from __future__ import annotations

from safetensors import SafetensorError

FAILURES = (ValueError, OSError, RuntimeError, MemoryError, ImportError, SafetensorError)
"""Bad input, full disks, engines and devices that break down. Others are faults of ours and keep
their traceback."""
OURS = "agents."


def told(error: BaseException) -> str:
    """The error's text, after its type where the text may not speak for itself."""
    kind = type(error)
    speaks = kind.__module__.startswith(OURS) or kind in (ValueError, FileNotFoundError)
    return str(error) if speaks and str(error) else f"{kind.__name__}: {error}"
