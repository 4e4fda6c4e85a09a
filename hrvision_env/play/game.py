"""Several questions in a row: which one is on, what was replied, what was right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..env import HighResVQAEnv
from ..images import ImageError, Numbers
from ..records import Outcome, Sample
from ..replies import INDEXED, write_boxes
from ..running import Running
from ..trace import TraceWriter


@dataclass(frozen=True, slots=True)
class Score:
    """Questions answered so far, each counted once, by its first try."""

    right: int = 0
    done: int = 0

    def __str__(self) -> str:
        return f"{self.right} of {self.done} right" if self.done else "no question finished"


class Game:
    """Plays an environment question by question; `running` is the current episode.

    `question` (index or id) is the first question, otherwise it is drawn by `seed`; those after it
    are drawn. With `trace` every finished episode is appended to that trace.

    Raises ValueError, IndexError or KeyError for a first question that does not exist.
    """

    def __init__(
        self,
        env: HighResVQAEnv,
        *,
        seed: int | None = None,
        question: int | str | None = None,
        trace: TraceWriter | None = None,
    ) -> None:
        self.env, self.trace = env, trace
        self.score = Score()
        self.begun = 0
        """Episodes begun so far."""
        self._scored: set[str] = set()
        self._begin(seed, _option(question))

    @property
    def running(self) -> Running:
        return self.env.running

    def next(self) -> None:
        """Draw another question; the one that is open is left unfinished."""
        self._begin(None, {})

    def again(self) -> None:
        """Begin the same question once more. It counts by its first try."""
        self._begin_sample(self.running.sample)

    def reply(self, text: str) -> None:
        """The person's reply, taken like an agent's. Raises ResetNeeded after the end."""
        self.env.step(text)
        running = self.running
        if running.open:
            return
        name = running.sample.id
        if running.outcome is not Outcome.ERROR and name not in self._scored:
            self._scored.add(name)
            right = running.outcome is Outcome.CORRECT
            self.score = Score(self.score.right + right, self.score.done + 1)
        if self.trace is not None:
            self.trace.write(running, self.env.referee.rules)

    def write_box(self, picture: int, corners: Numbers) -> str:
        """What an agent would reply to point at a part of a shown image.

        `picture` is its place in the conversation, `corners` are in its seen pixels. Raises
        ValueError for a picture that the conversation does not have, or that a box of the
        environment's form cannot name.
        """
        frames, rules = self.running.frames, self.env.referee.rules
        if not 0 <= picture < len(frames):
            raise ValueError(f"picture: got {picture}, expected 0 to {len(frames) - 1}")
        if not all(math.isfinite(corner) for corner in corners):
            raise ValueError(f"corners: got {corners}, expected four finite numbers")
        frame = frames[picture]
        numbers = frame.write(frame.box(corners), rules.dialect)
        implied = 0 if rules.box_frame == "original" else len(frames) - 1
        index = None if picture == implied else picture
        if index is not None and rules.form not in INDEXED:
            raise ValueError(
                f"picture: got {picture}, expected {implied}: the box form {rules.form!r} cannot "
                "say which picture it is about"
            )
        return write_boxes(rules.form, [(numbers, index)])

    def fault(self, text: str) -> str:
        """Why a reply would hold no valid box: a value of `InvalidReason`; empty when it does."""
        reason = self.env.referee.rules.read(text, self.running.frames).reason
        return reason.value if reason else ""

    def _begin(self, seed: int | None, options: dict[str, Any]) -> None:
        self._begin_sample(self.env.choose(seed, options))

    def _begin_sample(self, sample: Sample) -> None:
        self.begun += 1
        referee = self.env.referee
        try:
            running = referee.begin(sample, referee.look(sample))
        except ImageError as error:  # the next question may be fine
            running = referee.failed(sample, f"ImageError: {error}")
        self.env.play(running)


def _option(question: int | str | None) -> dict[str, Any]:
    if question is None:
        return {}
    return {"index" if isinstance(question, int) else "question_id": question}
