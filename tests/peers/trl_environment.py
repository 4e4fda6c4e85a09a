"""The environment of TRL, built once: `python -m tests.peers.trl_environment` prints its Python.

It lies in `.venv/peers/trl-<digest>`: `trl_requirements.txt`, and for the rest the versions of the
project's own `constraints.txt`, so that both sides of a comparison run on the same torch and the
same transformers. Where torchvision does not fit this torch it is made importable as for vLLM.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from ..installing import run

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("trl_requirements.txt")
CONSTRAINTS = ROOT / "constraints.txt"
CUSTOMISE = ROOT / "tests" / "vllm" / "site" / "sitecustomize.py"
"""Python runs it at every start."""


def build() -> Path:
    """The environment's Python, installed if need be. Raises RuntimeError with pip's words."""
    parts = [path.read_bytes() for path in (REQUIREMENTS, CONSTRAINTS, CUSTOMISE)]
    digest = hashlib.sha256(b"\0".join([*parts, sys.version.encode()])).hexdigest()[:12]
    folder = ROOT / ".venv" / "peers" / f"trl-{digest}"
    python, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return python
    print(f"Installing TRL into {folder}: 1 to 5 minutes.", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "venv", str(folder))
    pip = (str(python), "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "-c", str(CONSTRAINTS), "-r", str(REQUIREMENTS))
    (packages,) = folder.glob("lib/python*/site-packages")
    shutil.copy(CUSTOMISE, packages)
    done.touch()
    return python


if __name__ == "__main__":
    print(build())
