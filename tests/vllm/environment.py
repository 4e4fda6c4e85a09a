"""The vLLM tests' environment: `python -m tests.vllm.environment` builds it, prints its Python.

It lies in `.venv/vllm`. What it was built from is noted there when it is complete: after a change
of the requirements, or an installation that was interrupted, it is built anew.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from ..installing import run

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".venv" / "vllm"
REQUIREMENTS, CONSTRAINTS = HERE / "requirements.txt", HERE / "constraints.txt"

UNWANTED = ("torchaudio", "torchcodec")
"""Dependencies of vLLM's that do not load beside torch for the CPU; nothing here needs them."""


def digest() -> str:
    """Of everything that the environment is made from."""
    parts = (REQUIREMENTS.read_bytes(), CONSTRAINTS.read_bytes(), " ".join(UNWANTED).encode())
    return hashlib.sha256(b"\0".join(parts) + sys.version.encode()).hexdigest()


def build() -> Path:
    """The environment's Python, installed if need be. Raises RuntimeError with pip's words."""
    python, done = FOLDER / "bin" / "python", FOLDER / "installed"
    if done.is_file() and done.read_text() == digest():
        return python
    print(f"Installing vLLM into {FOLDER}: 3 to 10 minutes.", file=sys.stderr, flush=True)
    run(sys.executable, "-m", "venv", "--clear", str(FOLDER))
    pip = (str(python), "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "-c", str(CONSTRAINTS), "setuptools")
    run(*pip, "install", "-c", str(CONSTRAINTS), "-r", str(REQUIREMENTS))
    run(*pip, "uninstall", "-y", *UNWANTED)
    done.write_text(digest())
    return python


if __name__ == "__main__":
    print(build())
