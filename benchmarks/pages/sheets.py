"""A question as one PNG: per agent the view with its boxes, the crop and what was said."""

from __future__ import annotations

import base64
import io
import textwrap

from PIL import Image, ImageDraw, ImageFont

from .drawings import SIDE
from .parts import EpisodeView, Picture, Question

GAP, LINE = 16, 19
"""Between things, and of a line of text; pixels."""
COLUMN = 2 * SIDE + 3 * GAP
"""Width of one agent's column: two pictures."""
LETTERS = 96
"""In a line of one column."""
INK, SOFT, GOOD, BAD = "#1f2328", "#57606a", "#1a7f37", "#cf222e"

Text = tuple[str, str]
"""A line and its colour."""


def question_png(question: Question) -> bytes:
    """Draw a question with the episodes of its agents side by side."""
    head = _wrapped(f"{question.text}   {question.options}", INK, max(1, len(question.views)))
    head += _wrapped(f"expected: {question.gold}   {question.id}", SOFT, 1)
    texts = [_spoken(view) for view in question.views]
    top = GAP + LINE * len(head) + GAP
    height = top + LINE + SIDE + LINE * (1 + max(map(len, texts), default=0)) + 2 * GAP
    sheet = Image.new("RGB", (COLUMN * max(1, len(texts)), height), "white")
    canvas = ImageDraw.Draw(sheet)
    _write(canvas, GAP, GAP, head)
    for n, (view, lines) in enumerate(zip(question.views, texts, strict=True)):
        left = n * COLUMN + GAP
        _write(
            canvas, left, top, [(f"{view.agent}: {view.outcome}", GOOD if view.correct else BAD)]
        )
        for place, picture in enumerate(view.pictures):
            sheet.paste(_image(picture), (left + place * (SIDE + GAP), top + LINE + GAP // 2))
        _write(canvas, left, top + LINE + SIDE + GAP, lines)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _spoken(view: EpisodeView) -> list[Text]:
    lines: list[Text] = []
    for turn in view.turns:
        lines += _wrapped(turn.text, SOFT, 1) + _wrapped(turn.reply, INK, 1)
        lines += [*_wrapped(turn.note, SOFT, 1), ("", INK)]
    return lines


def _wrapped(text: str, colour: str, columns: int) -> list[Text]:
    width = columns * LETTERS
    return [
        (line, colour) for part in text.splitlines() for line in textwrap.wrap(part, width) or [""]
    ]


def _write(canvas: ImageDraw.ImageDraw, left: int, top: int, lines: list[Text]) -> None:
    font = ImageFont.load_default(size=14)
    for n, (line, colour) in enumerate(lines):
        canvas.text((left, top + n * LINE), line, fill=colour, font=font)


def _image(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture.light.split(",", 1)[1])))
