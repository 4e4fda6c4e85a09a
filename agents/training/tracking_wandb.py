"""wandb: metrics, and the sampled episodes as a table with pictures and as a panel of them.

A run folder is one run in wandb: its id stands in `wandb_id`, so a resumed run goes on in it.
Without a login, or without the server, it writes to `run_dir/wandb`, for `wandb sync` later, which
joins the parts of a run that was resumed.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config_sections import Tracking
from .shown import Shown

COLUMNS = ["step", "question", "asked", "gold", "outcome", "reward", "answer", "replies", "picture"]
"""Of the table `train/episodes`."""


class Wandb:
    """One run in wandb. Raises ImportError when the package is not installed."""

    name = "wandb"

    def __init__(
        self,
        run_dir: Path,
        options: Tracking,
        settings: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        """`settings`: the run's configuration; `say` takes a line for the reader."""
        try:
            import wandb
        except ImportError as error:
            raise ImportError(
                f"tracking.wandb: got {options.wandb!r}, but wandb is not installed; "
                "install it or set tracking.wandb to disabled"
            ) from error
        # It takes our package `agents` for another library of that name and advertises.
        os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")
        # What belongs to a table waits there to be sent; the default is in the user's home.
        os.environ.setdefault("WANDB_DATA_DIR", str(run_dir.resolve() / "wandb"))
        self.wandb: Any = wandb
        self.run_dir, self.project, self.settings = run_dir, options.project, dict(settings)
        self.id = _run_id(run_dir)
        self.run = self._start(options.wandb, say)
        self.run.define_metric("*", step_metric="step")

    def _start(self, mode: str, say: Callable[[str], None]) -> Any:
        sync = f"send it later with `wandb sync {self.run_dir / 'wandb'}/offline-run-*`"
        if mode == "online" and not _has_login(self.wandb):
            say(f"warning: tracking.wandb: no login was found (`wandb login`), offline; {sync}")
            mode = "offline"
        if mode == "offline":
            return self._init(mode)
        try:
            return self._init(mode)
        except self.wandb.Error as error:
            reason = " ".join(str(error).split())[:300]
            say(f"warning: tracking.wandb: cannot go online ({reason}), offline; {sync}")
            self.wandb.teardown()  # its process still holds the run that it could not open
            return self._init("offline")

    def _init(self, mode: str) -> Any:
        return self.wandb.init(
            project=self.project,
            name=self.run_dir.name,
            id=self.id,
            resume="allow" if mode == "online" else None,
            dir=self.run_dir,
            mode=mode,
            config=self.settings,
            settings=self.wandb.Settings(console="off", silent=True),
        )

    def resume(self, step: int) -> None:
        """Nothing to take back: the same step gives the same numbers again."""

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        self.run.log({**{f"{split}/{name}": v for name, v in metrics.items()}, "step": step})

    def episodes(self, step: int, shown: Sequence[Shown]) -> None:
        rows = [[step, *_texts(one), self._picture(one)] for one in shown]
        table = self.wandb.Table(columns=COLUMNS, data=rows)
        pictures = [self._picture(one) for one in shown if one.picture is not None]
        panel = {"train/pictures": pictures} if pictures else {}
        self.run.log({"train/episodes": table, **panel, "step": step})

    def close(self) -> None:
        self.run.finish()

    def _picture(self, one: Shown) -> Any:
        if one.picture is None:
            return None
        episode = one.record.episode
        return self.wandb.Image(one.picture, caption=f"{episode.question_id}: {episode.outcome}")


def _texts(one: Shown) -> list[Any]:
    """The columns between step and picture."""
    record, episode = one.record, one.record.episode
    options = "".join(f"\n{key}. {text}" for key, text in record.options.items())
    replies = "\n---\n".join(turn.reply for turn in episode.turns)
    return [
        episode.question_id,
        record.question + options,
        ", ".join(record.answers),
        episode.outcome.value,
        float(episode.reward),
        episode.answer or episode.error,
        replies,
    ]


def _run_id(run_dir: Path) -> str:
    """The folder's run in wandb, also after it was resumed."""
    file = run_dir / "wandb_id"
    if not file.is_file():
        file.write_text(uuid.uuid4().hex[:12])
    return file.read_text().strip()


def _has_login(wandb: Any) -> bool:
    try:
        return bool(wandb.login(prompt=False, verify=False))
    except TypeError:  # an older wandb, whose `login` always asks
        return bool(wandb.api.api_key)
