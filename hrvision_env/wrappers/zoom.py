"""Looking closer as a discrete choice: a cell of a grid, or an answer."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from ..checks import check_int
from ..images import Numbers
from .numeric import box_text, option_text


class ZoomGrid(gym.Wrapper[dict[str, Any], Any, dict[str, Any], Any], RecordConstructorArgs):
    """Zoom into a cell of an n x n grid, or answer: `Discrete(n * n + n_answers)`.

    | action | meaning |
    |---|---|
    | 0 .. n*n - 1 | look at that cell, row by row from the top left |
    | n*n + k | answer with the question's k-th option, counted from 0 |

    The grid lies on the image that a box without index refers to. With `dialogue="free"` and
    `box_frame="last_image"` that is the newest image, so that every zoom goes deeper into the
    last one: d zooms show a region of 1/n**d of the side. With `box_frame="original"` every zoom
    starts again from the whole (first) image. A step is a turn; what a turn does not read (an
    answer where a box is asked for, or the reverse) counts as it would in text.

    `overlap` widens every cell by that share of its side on each inner edge, so that what lies
    on the border of two cells is whole in one of them.

    Raises ValueError for n below 2 or an overlap outside of 0 to 1, and for an answer to a
    question without options.
    """

    def __init__(
        self,
        env: gym.Env[dict[str, Any], str],
        n: int = 3,
        n_answers: int = 6,
        overlap: float = 0.0,
    ) -> None:
        check_int("n", n, least=2)
        check_int("n_answers", n_answers)
        if not 0 <= overlap <= 1:
            raise ValueError(f"overlap: got {overlap!r}, expected a share from 0 to 1")
        RecordConstructorArgs.__init__(self, n=n, n_answers=n_answers, overlap=overlap)
        gym.Wrapper.__init__(self, env)
        self._n, self._overlap = n, overlap
        self.action_space = spaces.Discrete(n * n + n_answers)

    def step(self, action: Any) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        if action not in self.action_space:
            raise ValueError(f"action: got {action!r}, expected a member of {self.action_space}")
        k = int(action) - self._n**2
        reply = option_text(self.env, k) if k >= 0 else box_text(self.env, self.cell(int(action)))
        return self.env.step(reply)

    def cell(self, index: int) -> Numbers:
        """Left, top, right, bottom of a cell in shares of the image.

        >>> ZoomGrid(env, n=2).cell(1)  # the right upper quarter
        (0.5, 0.0, 1.0, 0.5)
        """
        row, column = divmod(index, self._n)
        side, more = 1 / self._n, self._overlap / self._n
        return (
            max(column * side - more, 0.0),
            max(row * side - more, 0.0),
            min((column + 1) * side + more, 1.0),
            min((row + 1) * side + more, 1.0),
        )
