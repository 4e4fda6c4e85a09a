"""Commands that make the environments of other projects."""

from __future__ import annotations

import subprocess


def run(*command: str) -> None:
    """Run a command to its end. Raises RuntimeError with its last words when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        words = (done.stdout + done.stderr)[-2_000:]
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{words}")
