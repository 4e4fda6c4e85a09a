"""The environment of lmms-eval, built once: `python -m tests.peers.environment`.

    .venv/peers/lmms-eval-<digest>/         a virtual environment with `requirements.txt`
    .venv/peers/lmms-eval-<digest>/older/   the wheel of an older version, unpacked

lmms-eval needs torch and a hundred other packages to run models. The functions that read answers
need five; so everything is installed with --no-deps, and `lmms_eval_side.py` puts empty modules in
the place of the heavy ones.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from ..installing import run

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REQUIREMENTS = HERE / "requirements.txt"
OLDER = "lmms-eval==0.6.1"
"""The version of `official:blink_lmms`."""


def build() -> Path:
    """The environment's folder, built if it is missing. Raises RuntimeError with pip's words."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + OLDER.encode()).hexdigest()[:12]
    folder = ROOT / ".venv" / "peers" / f"lmms-eval-{digest}"
    done = folder / "installed"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "venv", str(folder))
    install = (str(python(folder)), "-m", "pip", "install", "--disable-pip-version-check")
    run(*install, "--no-deps", "--requirement", str(REQUIREMENTS))
    run(*install, "--no-deps", "--target", str(folder / "older"), OLDER)
    done.touch()
    return folder


def python(folder: Path) -> Path:
    return folder / "bin" / "python"


if __name__ == "__main__":
    print(build())
