"""Which model it was: a hash of all that decides what a model folder says."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

BLOCK = 2**22
"""Bytes read at once."""
KINDS = (".safetensors", ".bin", ".json", ".jinja", ".txt", ".model")
"""Weights, configuration, tokenizer and image processor."""


def fingerprint(model: str) -> str:
    """BLAKE2b of every weight, tokenizer and configuration file of a model folder, whole: a tuned
    model may differ from its base in the middle of a file alone. Of the name where there is no
    folder, as for a model behind a server.

    Reads 1 to 2 GB a second; files that did not change are read once per process.
    """
    state = hashlib.blake2b(digest_size=16)
    folder = Path(model)
    if not folder.is_dir():
        state.update(model.encode())
        return state.hexdigest()
    for path in sorted(folder.iterdir()):
        if path.suffix in KINDS and path.is_file():
            facts = path.stat()
            digest = _digest(path.resolve(), facts.st_size, facts.st_mtime_ns)
            state.update(f"{path.name}:{digest}:".encode())
    return state.hexdigest()


@lru_cache(maxsize=1024)
def _digest(path: Path, size: int, changed: int) -> str:
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            state.update(block)
    return state.hexdigest()
