"""What a run says about itself while it goes on: `Tracker`.

The run folder holds `config.yaml` and `versions.json` (what made it), `metrics.jsonl` (one row per
step and split, see `metrics`), `log.txt` (what was said), `episodes.jsonl` with `images/` and
`originals/` (some training episodes, token by token; `python -m hrvision_env view RUN` shows them,
`python -m benchmarks.report RUN` the curves as well), `episodes/` (text records of evaluation),
`checkpoints/` and, at the end, `model/`; `wandb/` and `tensorboard/` where asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from hrvision_env.records import Episode
from hrvision_env.vector import HighResVQAVectorEnv

from ..config_sections import Tracking
from ..rollout.loop import Group
from .health import Health
from .metrics import unknown
from .metrics_file import MetricsFile
from .metrics_file import read_metrics as read_metrics
from .progress import Progress
from .shown import Pieces, Shown, choose, forget_after, keep, nothing
from .tracking_tensorboard import TensorBoard
from .tracking_wandb import Wandb


class Service(Protocol):
    """Where metrics and episodes go besides the run's folder."""

    name: str

    def resume(self, step: int) -> None:
        """The run goes on after `step`; -1: it begins."""
        ...

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None: ...

    def episodes(self, step: int, shown: Sequence[Shown]) -> None: ...

    def close(self) -> None: ...


class Tracker:
    """Writes metrics and episodes, shows progress, warns of a run that is not well.

    Nothing that fails here ends a run: a service that fails is told once and left, what a full disk
    refuses is told once and tried again with the next row. Raises ImportError for a service that is
    not installed.
    """

    def __init__(
        self,
        run_dir: Path,
        options: Tracking,
        settings: Mapping[str, Any],
        health: Health | None = None,
    ) -> None:
        """`settings`: the run's configuration, for wandb."""
        run_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir, self.options = run_dir, options
        self.health = health or Health()
        self.rows = MetricsFile(run_dir / "metrics.jsonl")
        self.progress = Progress(run_dir / "log.txt")
        self.troubles: set[str] = set()
        """What has failed, told once."""
        self.services: list[Service] = []
        self._open_services(settings)

    def _open_services(self, settings: Mapping[str, Any]) -> None:
        if self.options.tensorboard:
            self.services.append(TensorBoard(self.run_dir))
        if self.options.wandb != "disabled":
            try:
                self.services.append(Wandb(self.run_dir, self.options, settings, self.message))
            except ImportError:
                raise
            except Exception as error:
                self._trouble("wandb", error, "the run goes on without it")

    @property
    def path(self) -> Path:
        """`metrics.jsonl`."""
        return self.rows.path

    def start(self, step: int, steps: int) -> None:
        """Show progress from `step` (done so far) to `steps`."""
        self.progress.start(step, steps)

    def resume(self, step: int) -> set[tuple[int, str]]:
        """Drop what was written of steps after `step`; returns the (step, split) that stay.

        Raises OSError: a run that cannot write at its start should not begin.
        """
        rows = self.rows.resume(step)
        if self.rows.broken:
            self.message(
                f"warning: metrics.jsonl: left out what is no row, lines: {self.rows.broken}; "
                "a run that was killed may leave one"
            )
        forget_after(self.run_dir, step)
        for row in rows:
            if row["split"] == "train":
                self.health.look(row["step"], row)
        self._serve(lambda service: service.resume(step))
        return {(row["step"], row["split"]) for row in rows}

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Append one row. A value that is not finite is written as null.

        Raises ValueError for a name that METRICS does not explain.
        """
        if names := unknown(metrics):
            raise ValueError(f"metrics: got {', '.join(names)}, expected names in METRICS")
        try:
            self.rows.append(step, split, metrics)
        except OSError as error:
            self._trouble("metrics.jsonl", error, "rows are kept and written when it can be")
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self._serve(lambda service: service.log(step, split, finite))
        self.progress.show(step, split, metrics)
        if split == "train":
            for line in self.health.look(step, finite):
                self.message(line)

    def message(self, text: str) -> None:
        """A line for the reader, above the progress bar; log.txt keeps it."""
        self.progress.message(text)

    def episodes(self, step: int, kind: str, episodes: Iterable[Episode]) -> None:
        """Save text records to episodes/step_000050_greedy.jsonl."""
        folder = self.run_dir / "episodes"
        lines = [json.dumps(episode.to_dict(), ensure_ascii=False) + "\n" for episode in episodes]
        text = "".join(lines).encode("utf-8", "backslashreplace")  # half a surrogate pair
        try:
            folder.mkdir(exist_ok=True)
            (folder / f"step_{step:06d}_{kind}.jsonl").write_bytes(text)
        except OSError as error:
            self._trouble("episodes", error, "they are left out")

    def played(
        self,
        step: int,
        groups: Sequence[Group],
        env: HighResVQAVectorEnv | None,
        pieces: Pieces = nothing,
    ) -> None:
        """Keep some training episodes with pictures and tokens, when it is time for it: of the
        first step, and every `tracking.episodes_every` steps.

        `env` still holds what was played; None when the groups come from an archive. `pieces`: the
        tokens of an episode by its group and number.
        """
        every, count = self.options.episodes_every, self.options.episodes
        if not every or not count or (step != 1 and step % every):
            return
        try:
            chosen = choose(groups, count)
            shown = keep(self.run_dir, step, chosen, env, pieces, drawn=bool(self.services))
        except Exception as error:  # a picture must not end a run
            self._trouble("episodes.jsonl", error, "training episodes may be missing in it")
        else:
            self._serve(lambda service: service.episodes(step, shown))

    def close(self) -> None:
        """Write what waits and end the services; what cannot be written is told."""
        self.progress.close()
        try:
            self.rows.flush()
        except OSError as error:
            self.message(f"warning: {len(self.rows.waiting)} rows of metrics are lost: {error}")
        self._serve(lambda service: service.close())

    def _serve(self, call: Callable[[Service], object]) -> None:
        for service in list(self.services):
            try:
                call(service)
            except Exception as error:
                self.services.remove(service)
                self._trouble(service.name, error, "the run goes on without it")
                with suppress(Exception):
                    service.close()

    def _trouble(self, what: str, error: Exception, then: str) -> None:
        if what not in self.troubles:
            self.troubles.add(what)
            reason = " ".join(str(error).split())[:300]
            self.message(f"warning: tracking: {what}: {type(error).__name__}: {reason}; {then}")
