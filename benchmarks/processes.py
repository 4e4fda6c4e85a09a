"""Training runs as child processes: start, watch, stop. Nothing of the trainer is imported.

Every run is `python -m agents.train` on one thread in a process group of its own, so that an
interrupt reaches the parent alone, which then asks each run to stop and waits for its checkpoint.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

ROOT = Path(__file__).resolve().parents[1]
GRACE_SECONDS = 30
"""What a run gets to write its checkpoint after it was asked to stop."""


class TrainingFailed(RuntimeError):
    """A training process ended with an error; the text holds the end of its log."""


@dataclass
class TrainingRun:
    """One `python -m agents.train` in its own folder; its output goes to `run_dir/train.log`."""

    name: str
    config: Path
    run_dir: Path
    steps: int
    overrides: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self, keep_open: Sequence[int] = ()) -> None:
        """Start, or go on where an interrupted run stopped. `keep_open` are inherited files."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "agents.train", str(self.config)]
        command += ["--run_dir", str(self.run_dir), "--optim.steps", str(self.steps)]
        command += ["--resume", "auto", *self.overrides]
        threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **threads, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=keep_open,
            )

    @property
    def log_file(self) -> Path:
        return self.run_dir / "train.log"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def check(self) -> None:
        """Raise TrainingFailed when the process ended with an error."""
        if self.process is None or self.process.poll() in (None, 0):
            return
        tail = self.log_file.read_text("utf-8", errors="replace").splitlines()[-25:]
        raise TrainingFailed(
            f"{self.name}: training ended with exit code {self.process.returncode}. "
            f"The end of {self.log_file}:\n" + "\n".join(tail)
        )

    def rows(self, split: str) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl` of one split, `train` or `eval`."""
        return read_metrics(self.run_dir / "metrics.jsonl", split)


def read_metrics(path: Path, split: str) -> list[dict[str, Any]]:
    """Rows by ascending step; a step that was done again after a resume counts once, the last.

    A last line that is still being written is left out. No file, no rows.
    """
    if not path.is_file():
        return []
    rows: dict[int, dict[str, Any]] = {}
    for line in path.read_text("utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        row = json.loads(line)
        if row["split"] == split:
            rows[row["step"]] = row
    return [rows[step] for step in sorted(rows)]


def train(runs: Sequence[TrainingRun], console: Console, keep_open: Sequence[int] = ()) -> None:
    """Run all of them side by side to their end, with one live progress.

    Raises TrainingFailed when one fails and KeyboardInterrupt when interrupted; in both cases all
    runs have stopped by then.
    """
    try:
        for run in runs:
            run.start(keep_open)
        with _progress(runs, console) as show:
            while any(run.running for run in runs):
                show()
                for run in runs:
                    run.check()
                time.sleep(0.5)
            show()
        for run in runs:
            run.check()
            if not (run.run_dir / "model").is_dir():  # somebody else asked it to stop
                raise TrainingFailed(f"{run.name}: training stopped early, see {run.log_file}")
    finally:
        stop(runs)


def stop(runs: Sequence[TrainingRun]) -> None:
    """Ask whatever still runs to stop, wait for its checkpoint, then insist.

    An interrupt during the wait cuts it short.
    """
    for run in runs:
        _signal(run, signal.SIGINT)
    end = time.monotonic() + GRACE_SECONDS
    with contextlib.suppress(KeyboardInterrupt):
        while any(run.running for run in runs) and time.monotonic() < end:
            time.sleep(0.1)
    for run in runs:
        _signal(run, signal.SIGKILL)
        if run.process is not None:
            run.process.wait()


def _signal(run: TrainingRun, sign: signal.Signals) -> None:
    if run.running and run.process is not None:
        with contextlib.suppress(ProcessLookupError):
            run.process.send_signal(sign)


@contextlib.contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """`kill` and a terminal that is closed end a run as Ctrl-C does: no training is left behind.

    What was ignored (by nohup) stays ignored. At the end the handlers are those from before: one
    left behind would be inherited by forked processes, which then could not be told to end.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    before = {n: handler for n, handler in found.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _progress(runs: Sequence[TrainingRun], console: Console) -> Iterator[Any]:
    """Yields a function that shows the newest numbers: as bars, or as lines for a log."""
    if not console.is_terminal:
        yield _Lines(runs, console)
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks = {r.name: progress.add_task(r.name, total=r.steps, numbers="starting") for r in runs}

        def show() -> None:
            for run in runs:
                done, numbers = _state(run)
                progress.update(tasks[run.name], completed=done, numbers=numbers)

        yield show


class _Lines:
    """For logs: one line per run and tenth of its steps."""

    def __init__(self, runs: Sequence[TrainingRun], console: Console) -> None:
        self.runs, self.console = runs, console
        self.shown = dict.fromkeys((run.name for run in runs), -1)

    def __call__(self) -> None:
        for run in self.runs:
            done, numbers = _state(run)
            mark = 10 * done // run.steps
            if done and mark > self.shown[run.name]:
                self.shown[run.name] = mark
                self.console.print(f"{run.name}  step {done} of {run.steps}  {numbers}")


def _state(run: TrainingRun) -> tuple[int, str]:
    """Steps done, and the newest figures in words."""
    rows, evaluations = run.rows("train"), run.rows("eval")
    if not rows:
        return 0, "starting"
    recent = [row["reward_mean"] for row in rows[-10:]]
    text = f"reward {sum(recent) / len(recent):.2f}"
    if evaluations:
        text += f"  accuracy {100 * evaluations[-1]['accuracy']:.0f}%"
    return len(rows), text


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[IO[str]]:
    """Hold a folder against a second process. Children that inherit the file keep holding it.

    Raises RuntimeError when somebody else holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"{folder}: another run is at work in this folder") from None
        yield lock
