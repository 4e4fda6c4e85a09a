"""Where the rollouts of training steps lie: folders `step-000012` beside each other.

They are numbered as in metrics.jsonl: the first update learns from step-000001.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..rollout.archive import Archive, ArchiveError
from ..rollout.loop import Group

ROLLOUTS = "rollouts"
"""In the run's folder."""


def step_folder(root: Path, step: int) -> Path:
    return root / f"step-{step:06d}"


def steps_in(root: Path) -> list[int]:
    """Numbers of the steps whose rollouts lie in a folder, ascending."""
    names = (path.name.removeprefix("step-") for path in root.glob("step-*") if path.is_dir())
    return sorted(int(name) for name in names if name.isdigit())


def read_step(
    root: Path, step: int, share: Callable[[list[int]], list[int]] | None = None
) -> list[Group]:
    """All groups of a step, in the order of their questions; or of these places those in `share`.

    Raises ArchiveError for a step that is missing or was not finished, and for a broken file.
    """
    archive = Archive(step_folder(root, step))
    archive.check()
    if share is None:
        return list(archive)
    return list(archive.at(share(list(range(len(archive))))))


def source_steps(root: Path, steps: int | None) -> tuple[list[int], list[Archive]]:
    """Numbers of the steps in a folder, and the archives of the first `steps` (None: of all).

    Raises ArchiveError for a step that is missing, was not finished or has a file cut short.
    """
    there = steps_in(root)
    wanted = steps or len(there)
    if not there or set(range(1, wanted + 1)) - set(there):
        found = f"{there[0]} to {there[-1]}" if there else "no step"
        raise ArchiveError(
            f"{root}: holds {found}, expected step-000001 to step-{wanted:06d}; make them with "
            "agents.collect, or set optim.steps"
        )
    archives = [Archive(step_folder(root, number)) for number in range(1, wanted + 1)]
    for archive in archives:
        archive.check()
    return there, archives
