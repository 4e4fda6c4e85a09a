"""Two forced turns: a box, then an answer (MGPO, arXiv 2507.05920, section 3).

1. The agent sees the whole image and the question, *without the options*, and is asked for the
   area that matters. An answer given here does not end the episode.
2. It gets the crop of that area, cut out of the original, with the question and the options, and
   answers. Without a valid box it gets a sentence that says so and the same view again: no
   penalty, no early end.

With `max_turns=K` the first K-1 turns ask for a box (always on the original image) and the last
one for the answer; the paper evaluates K=3 without training for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..records import Box, Sample
from . import FRAMES, UserTurn, fill, pick


@dataclass(frozen=True, slots=True)
class Texts:
    """One prompt."""

    system: str
    find: str
    """Asks for a box on the whole image."""
    several: str
    """Added to `find` when the sample has several images."""
    find_again: str
    """Shows a crop and asks for another box."""
    answer: str
    """Asks for the answer; the whole image is shown."""
    answer_crop: str
    """Asks for the answer; the crop is shown."""
    refusal: str
    """Goes in front when the reply before held no valid box."""
    stop: tuple[str, ...]
    """End a reply that is asked for a box."""


PROMPTS = {
    "paper": Texts(
        system=(
            "You are a helpful assistant. You answer questions about images in steps.\n"
            "First find the area of the image that matters most for the question. End your reply "
            "with its coordinates in JSON, {frame}, and stop there:\n"
            '```json\n[{"bbox_2d": [x1, y1, x2, y2], "label": "what is there"}]\n```\n'
            "That area is then cut out of the original image, enlarged and shown to you.\n"
            "Then put the final answer into \\boxed{}: for a question with options, only the "
            "letter."
        ),
        find=(
            "{images}\n{question}\n"
            "Give the coordinates of the image area that the question is about in JSON."
        ),
        several='\nSay which image it is on with "image_index", counted from 0.',
        find_again=(
            "{images}\nThis is the area you chose, enlarged.\n{question}\n"
            "Give the coordinates of the area of the original image that matters most now in JSON."
        ),
        answer=(
            "{images}\n{question}\n{options}\n"
            "Reason step by step, then put {answer} into \\boxed{}."
        ),
        answer_crop=(
            "{images}\nThis is the area you chose, enlarged.\n{question}\n{options}\n"
            "Look at the original image and at this area and reason step by step. If the area is "
            "not enough, go by the original image. Then put {answer} into \\boxed{}."
        ),
        refusal="Your reply holds no valid box, so here is the same image again.",
        stop=("]\n```",),
    ),
    "brief": Texts(
        system="",
        find="{images}\n{question} Give the box.",
        several="",
        find_again="{images}\n{question} Give the box.",
        answer="{images}\n{question}\n{options}\nAnswer in \\boxed{}.",
        answer_crop="{images}\n{question}\n{options}\nAnswer in \\boxed{}.",
        refusal="No valid box.",
        stop=("}]",),
    ),
}


class Dialogue:
    """`max_turns` turns, 2 by default: boxes first, the answer in the last one."""

    def __init__(self, prompt: str, max_turns: int | None, dialect: str) -> None:
        self._texts = PROMPTS[pick(PROMPTS, prompt)]
        self.system = self._texts.system.replace("{frame}", FRAMES[dialect])
        self.max_turns = 2 if max_turns is None else max_turns

    def first(self, sample: Sample) -> UserTurn:
        return self._whole(sample, last=not self.wants_box(0))

    def wants_box(self, turn: int) -> bool:
        return turn < self.max_turns - 1

    def next(self, sample: Sample, turn: int, reply: str, box: Box | None) -> UserTurn | None:
        if not self.wants_box(turn):
            return None
        last = not self.wants_box(turn + 1)
        if box is None:
            again = self._whole(sample, last)
            return UserTurn(f"{self._texts.refusal}\n{again.text}", stop=again.stop)
        template = self._texts.answer_crop if last else self._texts.find_again
        text = fill(template, sample, n_images=1)
        return UserTurn(text, crop=True, stop=() if last else self._texts.stop)

    def _whole(self, sample: Sample, last: bool) -> UserTurn:
        count = len(sample.images)
        if last:
            return UserTurn(fill(self._texts.answer, sample, count))
        template = self._texts.find + (self._texts.several if count > 1 else "")
        return UserTurn(fill(template, sample, count), stop=self._texts.stop)
