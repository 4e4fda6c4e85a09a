"""One look: the agent gives a box and its answer in one reply, and no crop comes back.

The baseline of the MGPO paper (arXiv 2507.05920, section 4): grounding is asked for, is recorded,
and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..records import Box, Sample
from . import FRAMES, UserTurn, fill, pick


@dataclass(frozen=True, slots=True)
class Texts:
    """One prompt."""

    system: str
    ask: str


PROMPTS = {
    "paper": Texts(
        system=(
            "You are a helpful assistant. Find the area of the image that matters most for the "
            "question and give its coordinates in JSON, {frame}:\n"
            '```json\n[{"bbox_2d": [x1, y1, x2, y2], "label": "what is there"}]\n```\n'
            "Then reason step by step and put the final answer into \\boxed{}: for a question "
            "with options, only the letter."
        ),
        ask=(
            "{images}\n{question}\n{options}\n"
            "Give the coordinates of the image area that the question is about in JSON, then put "
            "{answer} into \\boxed{}."
        ),
    ),
    "brief": Texts(
        system="",
        ask="{images}\n{question}\n{options}\nGive the box, then answer in \\boxed{}.",
    ),
}


class Dialogue:
    """One user turn, one reply. `max_turns` is a budget that is never used up."""

    max_turns = 1

    def __init__(self, prompt: str, max_turns: int | None, dialect: str) -> None:
        self._texts = PROMPTS[pick(PROMPTS, prompt)]
        self.system = self._texts.system.replace("{frame}", FRAMES[dialect])

    def first(self, sample: Sample) -> UserTurn:
        return UserTurn(fill(self._texts.ask, sample, len(sample.images)))

    def wants_box(self, turn: int) -> bool:
        return True

    def next(self, sample: Sample, turn: int, reply: str, box: Box | None) -> UserTurn | None:
        return None
