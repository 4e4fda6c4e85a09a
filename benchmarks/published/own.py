"""Numbers that a person brings along: a run keeps copies, so that its report can be made again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .numbers import Published, load

FOLDER = "published"
"""In a run's folder."""


def keep(files: Sequence[Path], out: Path) -> None:
    """Copy files of numbers into a run's folder, in place of those that are there.

    Raises ValueError for a bad number and for two files of one name, OSError for a missing file;
    nothing was changed then.
    """
    names = [file.with_suffix(".yaml").name for file in files]
    for file, name in zip(files, names, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"--published {file}: expected files of different names")
        load(file)
    texts = [file.read_bytes() for file in files]
    folder = out / FOLDER
    for old in folder.glob("*.yaml"):
        old.unlink()
    if files:
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(names, texts, strict=True):
        (folder / name).write_bytes(text)


def kept(out: Path) -> list[Published]:
    """The numbers that were brought along. Raises ValueError for a bad one."""
    folder = out / FOLDER
    return load(folder) if folder.is_dir() else []
