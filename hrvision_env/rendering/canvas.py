"""The picture of an episode: views with boxes, a strip of the crops, the transcript."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from ..actions.rules import BoxRules
from ..images import FILTER, Frame
from ..records import Box, Outcome
from ..running import Running, Shown
from .fonts import Colour, Writer
from .transcript import OUTCOMES, Line, options_of, refused_box, shorten, transcript, visible

HEIGHT, WIDTH = 720, 1280
CANVAS = (HEIGHT, WIDTH, 3)
"""Height, width and channels of every picture."""

HEADER, STRIP, PANEL, GAP = 44, 156, 440, 8
"""Pixels: heights of header and strip of crops, width of the transcript, space between them."""
MAX_ENTRY = 1_500
"""Characters of one text in the transcript."""

GROUND, RAISED, LINE = (13, 17, 23), (22, 27, 34), (61, 68, 77)
INK, SOFT, ACCENT = (230, 237, 243), (145, 152, 161), (88, 166, 255)
GOOD, BAD = (63, 185, 80), (255, 123, 114)
OWN, REFUSED, HALO = (88, 166, 255), (255, 123, 114), (0, 0, 0)
COLOURS = {"turn": ACCENT, "user": SOFT, "agent": INK, "box": GOOD, "note": SOFT, "bad": BAD}
STANDING = {Outcome.OPEN: SOFT, Outcome.CORRECT: GOOD}
SMALL, NORMAL, LARGE = Writer(14), Writer(15), Writer(17)


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle of the canvas, in its pixels."""

    x: int
    y: int
    width: int
    height: int


def draw(running: Running | None, rules: BoxRules | None = None) -> np.ndarray:
    """[720, 1280, 3] uint8. Views with the boxes of the last reply (a nested one at its place on
    the original), the crops so far with the newest marked, and the last turns.

    With the `rules` that read the replies, a refused box is drawn dashed where its numbers put it.
    Before the first reset the canvas is empty.
    """
    canvas = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    if running is not None:
        pen = ImageDraw.Draw(canvas)
        _header(pen, running)
        top = HEADER + GAP
        left = WIDTH - PANEL - 3 * GAP
        height = HEIGHT - top - STRIP - 2 * GAP
        _views(canvas, Area(GAP, top, left, height), running, rules)
        _crops(canvas, Area(GAP, HEIGHT - STRIP - GAP, left, STRIP), running)
        _panel(pen, Area(WIDTH - PANEL - GAP, top, PANEL, HEIGHT - top - GAP), running)
    return np.asarray(canvas).copy()


# -- Header and transcript


def _header(pen: ImageDraw.ImageDraw, running: Running) -> None:
    pen.rectangle((0, 0, WIDTH, HEADER - 1), fill=RAISED)
    standing = OUTCOMES[running.outcome]
    if running.answer:
        standing += f": {visible(running.answer)}"
    standing = NORMAL.clip(standing, 420)
    right = WIDTH - 2 * GAP - NORMAL.width(standing)
    NORMAL.draw(pen, (right, 12), standing, STANDING.get(running.outcome, BAD))
    turn = f"turn {len(running.turns) + running.open} of {running.setting.max_turns}"
    right -= NORMAL.width(turn) + 3 * GAP
    NORMAL.draw(pen, (right, 12), turn, SOFT)
    LARGE.draw(pen, (2 * GAP, 11), LARGE.clip(visible(running.sample.id), int(right) - 60), INK)


def _panel(pen: ImageDraw.ImageDraw, area: Area, running: Running) -> None:
    pen.rounded_rectangle(_corners(area), 6, fill=RAISED)
    x, y, width = area.x + 12, area.y + 10, area.width - 24
    asked = LARGE.wrap(visible(running.sample.question[:MAX_ENTRY]), width)
    for line in asked[:4]:
        LARGE.draw(pen, (x, y), line, INK)
        y += LARGE.line_height
    for option in options_of(running)[:8]:
        SMALL.draw(pen, (x, y), SMALL.clip(option, width), SOFT)
        y += SMALL.line_height
    y += 6
    pen.line((x, y, x + width, y), fill=LINE)
    room = (area.y + area.height - y - 14) // SMALL.line_height
    lines = _wrapped([*transcript(running), *_failure(running)], width)
    if len(lines) > room:
        lines = [(0, "…", SOFT), *lines[len(lines) - room + 1 :]]
    for inset, text, colour in lines:
        SMALL.draw(pen, (x + inset, y + 8), text, colour)
        y += SMALL.line_height


def _failure(running: Running) -> list[Line]:
    return [Line("bad", running.error)] if running.error else []


def _wrapped(lines: Sequence[Line], width: int) -> list[tuple[int, str, Colour]]:
    """Inset in pixels, text and colour of every line, in order."""
    wrapped: list[tuple[int, str, Colour]] = []
    for line in lines:
        if line.kind == "turn" and wrapped:
            wrapped.append((0, "", SOFT))
        inset = 0 if line.kind == "turn" else 12
        for part in SMALL.wrap(visible(shorten(line.text, MAX_ENTRY)), width - inset):
            wrapped.append((inset, part, COLOURS[line.kind]))
    return wrapped


# -- Views


def _views(canvas: Image.Image, area: Area, running: Running, rules: BoxRules | None) -> None:
    pen = ImageDraw.Draw(canvas)
    if not running.views:
        NORMAL.draw(pen, (area.x + 8, area.y + 8), "no image", SOFT)
        return
    boxes, refused = _last_boxes(running, rules)
    for index, (view, cell) in enumerate(
        zip(running.views, _grid(area, running.views), strict=True)
    ):
        place = _paste(canvas, view.image, cell)
        for number, box in enumerate(boxes, start=1):
            if box.image_index == index:
                label = str(number) if len(boxes) > 1 else ""
                _outline(pen, _on(place, view.frame, box), label)
        if refused is not None and refused.image_index == index:
            _dashes(pen, _on(place, view.frame, refused))


def _last_boxes(running: Running, rules: BoxRules | None) -> tuple[tuple[Box, ...], Box | None]:
    """The valid boxes of the last reply that pointed somewhere, and its refused one."""
    turns = tuple(running.turns)
    pointing = [n for n, turn in enumerate(turns) if turn.boxes or turn.box_raw]
    if not pointing:
        return (), None
    last = pointing[-1]
    refused = refused_box(turns, running.shown, last, rules) if rules else None
    return turns[last].boxes, refused


def _grid(area: Area, views: Sequence[Shown]) -> list[Area]:
    """A cell per view, in the number of columns that shows the first one largest."""

    def side(columns: int) -> float:
        rows = math.ceil(len(views) / columns)
        wide, high = views[0].image.size
        return min(area.width / columns / wide, area.height / rows / high)

    columns = max(range(1, len(views) + 1), key=side)
    rows = math.ceil(len(views) / columns)
    wide, high = area.width // columns, area.height // rows
    return [
        Area(area.x + n % columns * wide, area.y + n // columns * high, wide - 4, high - 4)
        for n in range(len(views))
    ]


# -- Crops


def _crops(canvas: Image.Image, area: Area, running: Running) -> None:
    """The newest crops that fit side by side; those of the last reply are marked."""
    pen = ImageDraw.Draw(canvas)
    pen.rounded_rectangle(_corners(area), 6, fill=RAISED)
    crops = [(shown, n) for n, shown in enumerate(running.shown) if shown.is_crop]
    if not crops:
        SMALL.draw(pen, (area.x + 12, area.y + area.height // 2 - 10), "no crop yet", SOFT)
        return
    high = area.height - 2 * GAP - SMALL.line_height
    newest = crops[-1][0].turn
    x = area.x + GAP
    for shown, _ in _fitting(crops, area.width - 2 * GAP, high):
        place = _paste(canvas, shown.image, Area(x, area.y + GAP, _wide(shown, high), high))
        new = shown.turn == newest
        if new:
            frame = (
                place.x - 2,
                place.y - 2,
                place.x + place.width + 1,
                place.y + place.height + 1,
            )
            pen.rectangle(frame, outline=ACCENT, width=2)
        caption = SMALL.clip(f"turn {shown.turn}", place.width + GAP)
        SMALL.draw(pen, (x, area.y + GAP + high + 2), caption, ACCENT if new else SOFT)
        x += _wide(shown, high) + 2 * GAP


def _fitting(crops: list[tuple[Shown, int]], width: int, high: int) -> list[tuple[Shown, int]]:
    """The last crops that fit into a width, in order; at least one."""
    kept: list[tuple[Shown, int]] = []
    used = 0
    for crop in reversed(crops):
        used += _wide(crop[0], high) + 2 * GAP
        if kept and used > width:
            break
        kept.insert(0, crop)
    return kept


def _wide(shown: Shown, high: int) -> int:
    """Width of a crop that is shown at most so high, and at most three times as wide."""
    wide, tall = shown.image.size
    return max(24, min(3 * high, round(wide * high / tall)))


# -- Pixels


def _paste(canvas: Image.Image, image: Image.Image, cell: Area) -> Area:
    """Put an image into a cell, as large as it fits. Returns where it lies."""
    fitted = ImageOps.contain(image, (max(cell.width, 1), max(cell.height, 1)), FILTER)
    x = cell.x + (cell.width - fitted.width) // 2
    y = cell.y + (cell.height - fitted.height) // 2
    canvas.paste(fitted, (x, y))
    return Area(x, y, fitted.width, fitted.height)


def _on(place: Area, frame: Frame, box: Box) -> tuple[int, int, int, int]:
    """Corners of a box on the canvas, in order and inside the picture that lies there."""
    points = frame.to_seen(box.x1, box.y1), frame.to_seen(box.x2, box.y2)
    xs = sorted(place.x + _share(x, frame.seen[0]) * (place.width - 1) for x, _ in points)
    ys = sorted(place.y + _share(y, frame.seen[1]) * (place.height - 1) for _, y in points)
    return round(xs[0]), round(ys[0]), round(xs[1]), round(ys[1])


def _share(value: float, side: int) -> float:
    return min(max(value / side, 0.0), 1.0)


def _outline(pen: ImageDraw.ImageDraw, at: tuple[int, int, int, int], label: str) -> None:
    x1, y1, x2, y2 = at
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=HALO, width=5)
    pen.rectangle(at, outline=OWN, width=3)
    if label:
        pen.rectangle((x1, y1, x1 + 8 + SMALL.width(label), y1 + 20), fill=OWN)
        SMALL.draw(pen, (x1 + 4, y1 + 2), label, HALO)


def _dashes(pen: ImageDraw.ImageDraw, at: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = at
    x2, y2 = max(x2, x1 + 10), max(y2, y1 + 10)  # a box is often refused for being too small
    for start in range(x1, x2 + 1, 14):
        for y in (y1, y2):
            pen.line((start, y, min(start + 8, x2), y), fill=REFUSED, width=3)
    for start in range(y1, y2 + 1, 14):
        for x in (x1, x2):
            pen.line((x, start, x, min(start + 8, y2)), fill=REFUSED, width=3)


def _corners(area: Area) -> tuple[int, int, int, int]:
    return area.x, area.y, area.x + area.width - 1, area.y + area.height - 1
