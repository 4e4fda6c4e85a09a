"""Dialogues: who may do what in which turn, and what comes back. One file per dialogue.

A dialogue holds no state of an episode. The environment asks it for the next user turn and takes
care of images, boxes and grading. Prompts are data: each file has a table from prompt id to
texts, with the placeholders `{images}`, `{question}`, `{options}`, `{frame}` and `{answer}`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ..records import Box, Sample

IMAGE_MARKER = "<image>"
"""Stands in a text where an image goes; the images follow in the same order."""

FRAMES = {
    "absolute": "in pixels of the image as you see it, from its top left corner",
    "relative_1000": "as whole numbers from 0 to 1000, in thousandths of its width and height",
    "relative_1": "as decimals from 0 to 1, in shares of its width and height",
}
"""How prompts name the dialects."""


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What the environment says next."""

    text: str
    crop: bool = False
    """Shows the crop of the last box; otherwise the views of all images of the sample."""
    stop: tuple[str, ...] = ()
    """Strings that end the reply to it."""


class Dialogue(Protocol):
    """The rules of one kind of conversation; `Dialogue(prompt, max_turns, dialect)`.

    Raises ValueError for an unknown prompt id, with the closest one.
    """

    system: str
    """System text; may be empty."""
    max_turns: int
    """Replies after which the episode is over at the latest."""

    def __init__(self, prompt: str, max_turns: int | None, dialect: str) -> None: ...

    def first(self, sample: Sample) -> UserTurn:
        """The opening user turn."""
        ...

    def wants_box(self, turn: int) -> bool:
        """Is the reply of this turn (counted from 0) read for a box?"""
        ...

    def next(self, sample: Sample, turn: int, reply: str, box: Box | None) -> UserTurn | None:
        """The user turn after a reply; None when the reply was the final one, to be graded."""
        ...


def pick(prompts: Iterable[str], prompt: str) -> str:
    """Check a prompt id. Raises ValueError with the closest one."""
    names = list(prompts)
    if prompt in names:
        return prompt
    close = difflib.get_close_matches(str(prompt), names, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"prompt: got {prompt!r}, expected one of {', '.join(names)}{hint}")


def fill(template: str, sample: Sample, n_images: int) -> str:
    """Put a sample into a template; the line `{options}` goes when there are none.

    Image markers inside the question or the options are taken out: a text has exactly as many
    markers as images.
    """
    options = "\n".join(f"{key}. {_plain(text)}" for key, text in (sample.options or {}).items())
    if not options:
        template = template.replace("{options}\n", "")
    values = {
        "{images}": "\n".join([IMAGE_MARKER] * n_images),
        "{question}": _plain(sample.question),
        "{options}": options,
        "{answer}": "the letter of the right option" if options else "the answer, nothing else",
    }
    # One pass, so that a question that holds a placeholder stays as it is.
    return re.sub(r"\{(?:images|question|options|answer)\}", lambda m: values[m[0]], template)


def _plain(text: str) -> str:
    while IMAGE_MARKER in text:  # taking one out may put the next one together
        text = text.replace(IMAGE_MARKER, "")
    return text.strip()
