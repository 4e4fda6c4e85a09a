"""Episodes to a folder while they are played."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from ..checks import check_int
from ..trace import TraceWriter
from .numeric import core


class RecordTrace(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Append finished episodes to a trace: the first one, and then every `every`-th.

    `folder` gets `episodes.jsonl` and `images/`; one that exists is added to, and several
    environments may share it. An episode that is left unfinished after a reply is recorded as it
    stands, by the next `reset` or by `close`. Observations, rewards and infos stay as they are.

    >>> env = RecordTrace(gymnasium.make("HighResVQA-v0"), "runs/look", every=10)

    `python -m hrvision_env view runs/look` shows them. A vector environment's episodes are written
    with `TraceWriter.write_member`. Raises ValueError for `every` below 1, TypeError for
    an environment of another kind, OSError when the folder cannot be written.
    """

    def __init__(self, env: gym.Env[Any, Any], folder: str, every: int = 1) -> None:
        check_int("every", every)
        core(env)
        RecordConstructorArgs.__init__(self, folder=str(folder), every=every)
        gym.Wrapper.__init__(self, env)
        self.writer = TraceWriter(folder)
        self.every = every
        self._count = 0
        """Episodes begun so far."""
        self._waits = False
        """Has the current episode replies that are not recorded yet?"""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self._record()
        observation, info = self.env.reset(seed=seed, options=options)
        self._count += 1
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._waits = True
        if terminated or truncated:
            self._record()
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        self._record()
        super().close()

    def _record(self) -> None:
        """Write the current episode if it is one to keep; once."""
        if self._waits and (self._count - 1) % self.every == 0:
            env = core(self.env)
            self.writer.write(env.running, env.referee.rules)
        self._waits = False
