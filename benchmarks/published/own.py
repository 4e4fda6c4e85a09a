"""Numbers that a person brings along: a run keeps copies, so that its report can be made again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from .numbers import Published, load

FOLDER = "published"
"""In a run's folder."""


def read(files: Sequence[Path]) -> dict[str, bytes]:
    """Files of numbers, by the names of their copies.

    Raises ValueError for a file that is not there, for a bad number, and for two files of one name.
    """
    names = [file.with_suffix(".yaml").name for file in files]
    for file, name in zip(files, names, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"--published {file}: expected files of different names")
        if not file.is_file():
            raise ValueError(
                f"--published {file}: no such file, expected a YAML file of published numbers"
            )
        load(file)
    return {name: file.read_bytes() for file, name in zip(files, names, strict=True)}


def copies(out: Path) -> dict[str, bytes]:
    """What a run's folder keeps already. Raises ValueError for a bad number."""
    return read(sorted((out / FOLDER).glob("*.yaml")))


def fingerprints(texts: Mapping[str, bytes]) -> dict[str, str]:
    """A hash of each file, for the manifest.

    >>> fingerprints({"own.yaml": b""})
    {'own.yaml': 'sha256:e3b0c44298fc1c14'}
    """
    return {name: f"sha256:{hashlib.sha256(text).hexdigest()[:16]}" for name, text in texts.items()}


def keep(texts: Mapping[str, bytes], out: Path) -> None:
    """Put files of numbers, as `read`, into a run's folder, in place of those that are there.

    Raises OSError.
    """
    folder = out / FOLDER
    if texts:
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_bytes(text)
    for old in folder.glob("*.yaml"):
        if old.name not in texts:
            old.unlink()


def kept(out: Path) -> list[Published]:
    """The numbers that were brought along. Raises ValueError for a bad one."""
    folder = out / FOLDER
    return load(folder) if folder.is_dir() else []
