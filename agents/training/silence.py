"""What stands for the tracker on processes that do not write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hrvision_env.records import Episode

from ..rollout.loop import Group


class Silence:
    """As `tracking.Tracker`, but writes, shows and says nothing."""

    def start(self, step: int, steps: int) -> None:
        """Nothing to show."""

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """The main process logs."""

    def message(self, text: str) -> None:
        """The main process speaks."""

    def episodes(self, step: int, kind: str, episodes: Iterable[Episode]) -> None:
        """The main process keeps them."""

    def played(self, step: int, groups: Sequence[Group], env: Any, pieces: Any) -> None:
        """The main process shows some of its own."""

    def close(self) -> None:
        """Nothing is open."""
