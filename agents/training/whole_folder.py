"""Folders that are on the disk complete, with a list of what is in them, or not at all.

`seal` lists every file with its size and hash and hands all to the disk, `appear` gives the folder
its name by one rename. Power may fail at any moment: what has its name is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
BLOCK = 2**22
"""Bytes read at once."""
THREADS = 4
"""Files read at once; a hash runs at about 1 GB a second."""
GONE = ".gone_"
"""Before the name of a folder that is being removed."""


def seal(folder: Path, about: dict[str, Any]) -> None:
    """Write the manifest, `about` and every file's size and hash, and hand all to the disk."""
    names = list(_files(folder))
    with ThreadPoolExecutor(THREADS) as pool:
        digests = pool.map(lambda name: digest(folder / name), names)
        files = {
            name: {"bytes": (folder / name).stat().st_size, "blake2b": found}
            for name, found in zip(names, digests, strict=True)
        }
    (folder / MANIFEST).write_text(json.dumps({**about, "files": files}, indent=1) + "\n")
    for name in (*names, MANIFEST):
        _to_disk(folder / name)
    for inner in sorted({(folder / name).parent for name in names} | {folder}):
        _to_disk(inner)


def appear(unfinished: Path, target: Path) -> None:
    """Give a sealed folder its name; whoever loses power finds it, whole, or nothing."""
    os.replace(unfinished, target)
    _to_disk(target.parent)


def remove(folder: Path) -> None:
    """Remove a folder in a way that never leaves half of it under its name; of a link the link."""
    if folder.is_symlink():
        folder.unlink()
        return
    gone = folder.with_name(f"{GONE}{folder.name}")
    shutil.rmtree(gone, ignore_errors=True)
    os.replace(folder, gone)
    shutil.rmtree(gone)


def faults(folder: Path, *needed: str) -> list[str]:
    """What is wrong with a sealed folder's files, one line each; reads all of them.

    `needed`: names that have to be among them.
    """
    try:
        listed = json.loads((folder / MANIFEST).read_text())["files"]
        wanted = {name: (entry["bytes"], entry["blake2b"]) for name, entry in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{MANIFEST} cannot be read ({type(error).__name__}: {error})"]
    if lacking := [name for name in needed if name not in wanted]:
        return [f"{MANIFEST} does not list {', '.join(lacking)}"]
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda name: _fault(folder / name, *wanted[name]), wanted)
        return [f"{name} {fault}" for name, fault in zip(wanted, found, strict=True) if fault]


def _fault(path: Path, n_bytes: int, wanted: str) -> str:
    try:
        if path.stat().st_size != n_bytes:
            return f"has {path.stat().st_size} bytes, expected {n_bytes}"
        return "" if digest(path) == wanted else "has other bytes than were written"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def digest(path: Path) -> str:
    """BLAKE2b of a file's bytes."""
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            state.update(block)
    return state.hexdigest()


def _files(folder: Path) -> Iterator[str]:
    """Paths of the files in a folder and those inside it, relative to it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
