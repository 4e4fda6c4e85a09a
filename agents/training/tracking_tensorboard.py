"""TensorBoard: metrics as scalars, the sampled episodes as pictures; `run_dir/tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .shown import Shown


class TensorBoard:
    """Event files in `run_dir/tensorboard`. Raises ImportError when it is not installed."""

    name = "tensorboard"

    def __init__(self, run_dir: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "tracking.tensorboard: got true, but tensorboard is not installed; "
                "install it or set tracking.tensorboard to false"
            ) from error
        self._open = SummaryWriter
        self.folder = run_dir / "tensorboard"
        self._purge: int | None = None
        self._writer: Any = None

    @property
    def writer(self) -> Any:
        """Opened by what is written first: by then it is known where a resumed run goes on."""
        if self._writer is None:
            self._writer = self._open(self.folder, purge_step=self._purge)
        return self._writer

    def resume(self, step: int) -> None:
        """Have TensorBoard drop what earlier files say of steps after `step`."""
        if step >= 0:
            self._purge = step + 1

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(f"{split}/{name}", value, step)
        self.writer.flush()

    def episodes(self, step: int, shown: Sequence[Shown]) -> None:
        for number, one in enumerate(shown):
            name = f"train/episode_{number}"
            if one.picture is not None:
                self.writer.add_image(name, one.picture, step, dataformats="HWC")
            self.writer.add_text(name, _markdown(one), step)
        self.writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _markdown(one: Shown) -> str:
    """The episode in words; texts are indented, which Markdown shows as they are."""
    episode = one.record.episode
    parts = [f"{episode.question_id}: {episode.outcome.value}, reward {episode.reward:g}"]
    for turn in episode.turns:
        parts += [_block(turn.text), _block(turn.reply)]
    return "\n\n".join(parts)


def _block(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()) or "    (empty)"
