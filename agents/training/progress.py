"""How far a run is: a bar on a terminal, plain lines elsewhere, and a log of what was said."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SHOWN = ("accuracy", "reward_mean", "valid_box_rate", "hit_rate_sampled", "seconds_step")
"""Metrics in a line, where a row has them."""


class Progress:
    """Speaks on standard output; `log` is a file that keeps every message, or None.

    A terminal that is gone or a disk that is full silences it, the run goes on.
    """

    PLAIN_SECONDS = 5.0
    """At most one plain line in this time, evaluations aside."""

    def __init__(self, log: Path | None = None) -> None:
        self.console = Console()
        self.log = log
        self._bar: Bar | None = None
        self._last_line = -math.inf
        self._started = (time.monotonic(), 0)
        self._steps = 0

    def start(self, step: int, steps: int) -> None:
        """Show progress from `step` (done so far) to `steps`."""
        self._started = (time.monotonic(), step)
        self._steps = steps
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._bar = Bar(*columns, TimeRemainingColumn(), console=self.console)
            self._task = self._bar.add_task("training", total=steps, completed=step)
            self._bar.start()

    def message(self, text: str) -> None:
        """A line for the reader, above the bar."""
        self._print(text)
        if self.log is None:
            return
        with suppress(OSError), self.log.open("a") as file:  # it was printed in any case
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")

    def show(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """What a row of metrics comes to, if it is time for it."""
        text = "  ".join(f"{n} {metrics[n]:.3g}" for n in SHOWN if n in metrics)
        if self._bar is not None and split == "train":
            self._bar.update(self._task, completed=step, description=text)
            return
        now = time.monotonic()
        if split == "train" and step < self._steps and now - self._last_line < self.PLAIN_SECONDS:
            return
        self._last_line = now
        self._print(f"{split:5} {step}/{self._steps}{self._remaining(step, now)}  {text}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _print(self, text: str) -> None:
        with suppress(OSError):  # such as a log file on a full disk, or a reader that went away
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _remaining(self, step: int, now: float) -> str:
        began, first = self._started
        if step <= first or step >= self._steps:
            return ""
        seconds = (now - began) / (step - first) * (self._steps - step)
        return f"  {seconds / 60:.0f} min left" if seconds >= 90 else f"  {seconds:.0f} s left"
