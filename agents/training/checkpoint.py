"""Checkpoints: the policy in Hugging Face's layout and everything else that a run needs to go on.

`checkpoints/step_000050/` holds the model folder (`from_pretrained` and vLLM load it), or with LoRA
the adapters (`PeftModel.from_pretrained` puts them on the base), and in `trainer/` the optimizer's
moments (one entry per weight, whatever the number of processes) and `state.json`: step, counters,
random number generators of every process. `manifest.json` lists all files with sizes and hashes. A
checkpoint appears by one rename, complete and on the disk, or not at all. `checkpoints/best` is a
link to the best one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from .. import config_sections as sections
from ..failures import FAILURES, told
from ..vlm import VLM
from .moments import Moments, entries, write_moments
from .optimizer import AnyOptimizer
from .ranks import ALONE, Ranks
from .saved_policy import (
    Shard,
    exhaust,
    has_adapters,
    policy_tensors,
    shards,
    write_settings,
    write_tensors,
)
from .whole_folder import GONE, MANIFEST, appear, faults, remove, seal

FORMAT = 2
"""Version of the files; another one is refused."""
TRAINER = "trainer"
"""Folder of what only training needs; loaders of models take every tensor file beside the model."""
STATE = f"{TRAINER}/state.json"
OLD_STATE = "trainer.pt"
"""What version 0.1.0 wrote."""
UNFINISHED = ".unfinished_"
BEST = "best"
STEP = re.compile(r"step_[0-9]+")


@dataclass(frozen=True)
class Writing:
    """One checkpoint on its way to the disk."""

    unfinished: Path
    target: Path
    weights: Iterable[Shard]
    moments: Iterable[Shard]
    state: Mapping[str, Any]
    adapters: bool

    def run(self) -> None:
        """Write and seal the files, then give the folder its name. Raises OSError."""
        try:
            write_tensors(self.weights, self.unfinished, adapters=self.adapters)
            write_moments(self.moments, self.unfinished / TRAINER)
            (self.unfinished / STATE).write_text(json.dumps(self.state) + "\n")
            seal(self.unfinished, {"format": FORMAT, "step": self.state["step"]})
            appear(self.unfinished, self.target)
        except BaseException as error:
            shutil.rmtree(self.unfinished, ignore_errors=True)
            if isinstance(error, (OSError, SafetensorError)):
                raise OSError(f"{self.target} could not be written: {told(error)}") from error
            raise


class Checkpoints:
    """The checkpoints of one run: the newest `options.keep` stay, and the best one.

    All processes call every method alike; the main one writes. With `options.background` a thread
    of it does, from copies in main memory; what that raises, the next call raises.
    """

    def __init__(self, run_dir: Path, options: sections.Checkpoint, ranks: Ranks = ALONE) -> None:
        self.folder = run_dir / "checkpoints"
        self.options, self.ranks = options, ranks
        self.warnings: list[str] = []
        """What went wrong without stopping the run; `said` takes it."""
        self._best: str | None = None
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def clear_up(self) -> None:
        """Take over the folder: remove what a run that was killed while saving has left."""
        if not self.ranks.main:
            return
        link = self.folder / BEST
        if link.is_symlink() and not self.options.best:
            link.unlink()
        self._best = os.readlink(link) if link.is_symlink() else None
        for start in (UNFINISHED, GONE):
            for leftover in self.folder.glob(f"{start}*"):
                if leftover.is_symlink():
                    leftover.unlink()
                else:
                    shutil.rmtree(leftover)

    def save(
        self,
        step: int,
        policy: VLM,
        optimizer: AnyOptimizer,
        state: Mapping[str, Any],
        *,
        best: bool = False,
    ) -> Path:
        """Write the checkpoint of `step`, mark it if it is the `best`, then remove the oldest.

        `state` goes into state.json; its "rng" is this process's own. One that exists is left as
        it is. Returns where it will be: it is there after `wait`.
        """
        self.wait()
        target = self.folder / _name(step)
        unfinished = self.folder / f"{UNFINISHED}{step:06d}"
        adapters = has_adapters(policy)
        state = {
            **state,
            "step": step,
            "counters": list(optimizer.counters),
            "trained": [name for name, _ in policy.trainable()],
            "rng": self.ranks.gather(state["rng"]),
        }
        there = self.ranks.told(lambda: self._begin(unfinished, target))
        if there:
            self.mark_best(step if best else None)
            return target
        weights, moments = policy_tensors(policy), entries(optimizer)
        with self.ranks.together():
            try:
                if self.ranks.main:
                    write_settings(policy, unfinished, adapters=adapters)
                    parts = (shards(weights), shards(moments))
                    self._write(Writing(unfinished, target, *parts, state, adapters), best)
            finally:  # all processes gather each tensor together
                exhaust(weights)
                exhaust(moments)
        return target

    def _begin(self, unfinished: Path, target: Path) -> bool:
        """Whether the checkpoint is there; otherwise its folder is made."""
        if target.is_dir():
            return True
        shutil.rmtree(unfinished, ignore_errors=True)  # of an attempt that failed
        (unfinished / TRAINER).mkdir(parents=True)
        return False

    def _write(self, writing: Writing, best: bool) -> None:
        def work(writing: Writing) -> None:
            writing.run()
            if best and self.options.best:
                self._link(writing.target.name)
            self._rotate()

        if not self.options.background:
            work(writing)
            return
        copied = (list(writing.weights), list(writing.moments))
        writing = Writing(
            writing.unfinished, writing.target, *copied, writing.state, writing.adapters
        )
        self._pending = self._pool.submit(work, writing)

    def wait(self) -> None:
        """Until the last checkpoint is on the disk. Raises what writing it raised, once."""
        with self.ranks.together():
            pending, self._pending = self._pending, None
            if pending is not None:
                pending.result()

    def settle(self) -> None:
        """`wait`, but what writing the last checkpoint raised is only noted in `warnings`."""
        try:
            self.wait()
        except FAILURES as error:
            self.warnings.append(f"warning: {told(error)}")

    def said(self) -> list[str]:
        """Take the warnings."""
        found, self.warnings = self.warnings, []
        return found

    def close(self) -> None:
        """Wait for what this process is writing. Raises what that raised."""
        pending, self._pending = self._pending, None
        try:
            if pending is not None:
                pending.result()
        finally:
            self._pool.shutdown()

    def check(self) -> None:
        """Raise what writing the last checkpoint raised, without waiting for it."""
        with self.ranks.together():
            if self._pending is not None and self._pending.done():
                pending, self._pending = self._pending, None
                pending.result()

    def mark_best(self, step: int | None) -> None:
        """Say that the checkpoint of `step` is the best one, where there is one.

        Then remove the oldest: not before, at the start of a run the link to it may be missing.
        """
        if not self.ranks.main:
            return
        if step is not None and self.options.best and (self.folder / _name(step)).is_dir():
            self._link(_name(step))
        self._rotate()

    @property
    def best(self) -> Path | None:
        """The best checkpoint, by its link; None without one."""
        link = self.folder / BEST
        return link if link.is_dir() else None

    def best_at(self, step: int | None) -> Path | None:
        """`best`, if it is that of `step`."""
        best = self.best
        return best if best and step is not None and best.resolve().name == _name(step) else None

    def _link(self, name: str) -> None:
        self._best = name
        link, fresh = self.folder / BEST, self.folder / f"{UNFINISHED}{BEST}"
        if link.is_symlink() and os.readlink(link) == name:
            return
        with suppress(OSError):  # a file system without links: the checkpoint is kept all the same
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(name)
            os.replace(fresh, link)

    def _rotate(self) -> None:
        for old in self.all()[: -self.options.keep]:
            if old.name == self._best:
                continue
            try:
                remove(old)
            except OSError as error:  # the new one is written
                self.warnings.append(f"warning: {old} could not be removed: {told(error)}")

    def all(self) -> list[Path]:
        """Oldest first."""
        return checkpoints_in(self.folder.parent)

    def newest(self) -> Path | None:
        """The newest checkpoint whose files are as they were written; None without any.

        Every file is read. Those that are broken are put aside as `broken_...` and named in
        `warnings`. Raises ValueError when none is whole, or for those of version 0.1.0.
        """
        return self.ranks.told(self._newest)

    def _newest(self) -> Path | None:
        found = self.all()
        broken = []
        for path in reversed(found):
            wrong = faults(path, STATE)
            if not wrong:
                check_format(path)
                break
            broken.append((path, f"{path}: {'; '.join(wrong)}"))
        texts = [text for _, text in broken]
        if found and len(broken) == len(found):
            raise ValueError(
                "no checkpoint is whole; remove them to start the run anew, or another --run_dir:\n"
                + "\n".join(_explained(path, text) for path, text in broken)
            )
        for path, text in broken:
            aside = path.with_name(f"broken_{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            self.warnings.append(f"warning: a checkpoint is broken and put aside: {text}")
        return found[-1 - len(texts)] if found else None


def _explained(path: Path, text: str) -> str:
    if (path / OLD_STATE).is_file():
        return f"{path}: was written by version 0.1.0, which this one cannot read"
    return text


def _name(step: int) -> str:
    return f"step_{step:06d}"


def checkpoints_in(run_dir: Path) -> list[Path]:
    """A run's checkpoints, oldest first; whether their files are whole is not looked at."""
    found = (run_dir / "checkpoints").glob("step_*")
    own = (path for path in found if STEP.fullmatch(path.name) and path.is_dir())
    return sorted(own, key=step_of)


def step_of(checkpoint: Path) -> int:
    """How many steps were finished when it was made."""
    return int(checkpoint.name.removeprefix("step_"))


def check_format(checkpoint: Path) -> None:
    """Raises ValueError for a checkpoint of another version, or without a readable manifest."""
    try:
        got = json.loads((checkpoint / MANIFEST).read_text()).get("format")
    except (OSError, ValueError, AttributeError) as error:
        text = f"{checkpoint / MANIFEST}: cannot be read ({type(error).__name__}: {error})"
        raise ValueError(_explained(checkpoint, text)) from error
    if got != FORMAT:
        raise ValueError(f"{checkpoint}: got format {got!r}, expected {FORMAT}")


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What state.json says. Raises ValueError for a broken file and for another version."""
    check_format(checkpoint)
    path = checkpoint / STATE
    try:
        state: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    return state


def load_optimizer(checkpoint: Path, policy: VLM, optimizer: AnyOptimizer) -> None:
    """Counters, moments and masters from a checkpoint.

    Raises ValueError when other weights were trained than the policy trains now.
    """
    state = read_state(checkpoint)
    own = [name for name, _ in policy.trainable()]
    if wrong := sorted({*state["trained"]} ^ {*own}):
        raise ValueError(
            f"{checkpoint}: the checkpoint is of another model: it trained "
            f"{len(state['trained'])} tensors, this config trains {len(own)}; only one of them has "
            f"{wrong[0]}; resume with the model section that the run was started with"
        )
    updates, skipped, in_a_row = state["counters"]
    optimizer.counters = (updates, skipped, in_a_row)
    optimizer.load_states(Moments(checkpoint / TRAINER).read)
