"""Difficulty holds what it says: the answer's pixels are gone in the view and there in the crop.

Two kinds of evidence. Sharp: the same scene painted with every other answer gives the same view,
byte by byte. Blunt: a reader that knows place, scale and alphabet of every print reads all of it
in crops and in easy views, and guesses in hard ones.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from hrvision_env.datasets.synthetic.knobs import Knobs
from hrvision_env.datasets.synthetic.layout import Item, Picture, paint
from hrvision_env.datasets.synthetic.plates import (
    DIGITS,
    GRID,
    LETTERS,
    MOST_CROSSES,
    PATTERN_NAMES,
    Detail,
    dots,
    glyph,
)
from hrvision_env.datasets.synthetic.questions import Question, draw_question
from hrvision_env.images import crop, fit_size, resize

BUDGET = (28, 256 * 28 * 28, 1280 * 28 * 28)
"""Factor, least and most pixels: the environment's defaults."""


def view_of(picture: Picture) -> Image.Image:
    image = paint(picture)
    return resize(image, fit_size(*image.size, *BUDGET))


def crop_of(picture: Picture, item: Item) -> Image.Image:
    return crop(paint(picture), item.box(), *BUDGET)


# -- The same scene with another answer


def with_detail(question: Question, image: int, item: int, value: str | int) -> Question:
    """The question's pictures with another print on one object."""
    picture = question.pictures[image]
    old = picture.items[item]
    new = replace(old, detail=replace(old.detail, value=value))
    items = (*picture.items[:item], new, *picture.items[item + 1 :])
    pictures = list(question.pictures)
    pictures[image] = replace(picture, items=items)
    return replace(question, pictures=tuple(pictures))


def alternatives(kind: str, question: Question) -> Iterator[Question]:
    """The same question with other right answers (which answer that is does not matter here)."""
    image, item = question.gold[0]
    value = question.pictures[image].items[item].detail.value
    if kind == "pattern":
        yield from (with_detail(question, image, item, p) for p in range(6) if p != value)
    elif kind == "count":
        yield from (with_detail(question, image, item, n) for n in range(1, 10) if n != value)
    elif kind == "text":
        near = str(value)[:2] + ("T" if str(value)[2] != "T" else "L")
        yield from (with_detail(question, image, item, code) for code in (near, "E4X", "J7P"))
    elif kind == "relation":
        other = question.pictures[0].items[1].detail.value
        yield with_detail(with_detail(question, 0, 0, other), 0, 1, value)
    else:
        for n, picture in enumerate(question.pictures):
            if n != image:
                swapped = with_detail(question, n, 0, value)
                yield with_detail(swapped, image, 0, picture.items[0].detail.value)


def views(question: Question) -> list[np.ndarray]:
    return [np.asarray(view_of(picture)).astype(int) for picture in question.pictures]


def difference(question: Question, other: Question) -> int:
    """By how many grey levels the views of two sets of pictures differ at most."""
    pairs = zip(views(question), views(other), strict=True)
    return max(int(np.abs(a - b).max()) for a, b in pairs)


KINDS = ("pattern", "text", "relation", "count", "which")


@pytest.mark.parametrize(
    ("kind", "side", "aspect"),
    [
        *((kind, 4096, 1.0) for kind in KINDS),
        ("pattern", 3920, 1.0),
        ("text", 5800, 2.0),
        ("relation", 6000, 0.6),
        ("count", 8192, 1.0),
    ],
)
def test_hard_views_of_all_answers_are_equal_to_the_last_bit(kind, side, aspect):
    question = draw_question(Knobs(kind, side, aspect), 0, "test", side % 7)
    others = list(alternatives(kind, question))
    assert others
    for other in others if side == 4096 else others[:2]:
        assert other.pictures != question.pictures
        assert difference(question, other) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_easy_views_of_other_answers_differ_by_much_and_medium_ones_by_traces(kind):
    for difficulty, least, most in (("easy", 60, 200), ("medium", 1, 10)):
        question = draw_question(Knobs(kind, difficulty=difficulty), 0, "test", 1)
        assert least <= difference(question, next(alternatives(kind, question))) <= most


def test_a_smaller_view_and_another_factor_hide_hard_details_as_well():
    question = draw_question(Knobs("text"), 0, "test", 3)
    other = next(alternatives("text", question))
    for factor, most in ((32, 1280 * 28 * 28), (16, 640 * 28 * 28), (14, 1024)):
        size = fit_size(4096, 4096, factor, min(1024, most), most)
        first, second = (resize(paint(q.pictures[0]), size) for q in (question, other))
        assert first.tobytes() == second.tobytes()


# -- A reader of prints, without the module's painting: it knows that a dot is bright in the middle


@dataclass(frozen=True)
class Print:
    """Where a print lies in some image: its middle and the size of a unit, in pixels there."""

    image: Image.Image
    x: float
    y: float
    unit: float

    @functools.cached_property
    def grid(self) -> np.ndarray:
        """[GRID, GRID]: how much brighter each place is in the middle than around it."""
        half = GRID * 1.5 * self.unit
        box = (self.x - half, self.y - half, self.x + half, self.y + half)
        fine = self.image.convert("L").resize(
            (GRID * 12, GRID * 12), Image.Resampling.BICUBIC, box=box
        )
        cells = np.asarray(fine).astype(float).reshape(GRID, 3, 4, GRID, 3, 4).mean(axis=(2, 5))
        across = 2 * cells[:, 1] - cells[:, 0] - cells[:, 2]  # [GRID, GRID, 3]
        return 2 * across[:, :, 1] - across[:, :, 0] - across[:, :, 2]

    def read(self, kind: str) -> str:
        if kind == "code":
            places = enumerate((LETTERS, DIGITS, LETTERS))
            return "".join(self._character(n, alphabet) for n, alphabet in places)
        return self._pattern() if kind == "pattern" else self._count()

    def _character(self, place: int, alphabet: str) -> str:
        left = 1 + 6 * place
        part = self.grid[6:13, left : left + 5]
        return max(alphabet, key=lambda c: correlation(part, glyph(c)))

    def _pattern(self) -> str:
        def best(number: int) -> float:
            phases = (dots(Detail("pattern", number, seed)) for seed in range(16))
            return max(correlation(self.grid, phase) for phase in phases)

        return str(max(range(len(PATTERN_NAMES)), key=best))

    def _count(self) -> str:
        """Crosses at the places where one can be, brighter than half of the brightest."""
        arms = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
        sums = np.sum([np.roll(self.grid, arm, axis=(0, 1)) for arm in arms], axis=0)
        best: tuple[float, int] = (-1.0, 0)
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            slots = [sums[y, x] for y, x in SLOTS + (down, right)]
            best = max(best, (max(slots), sum(s > max(slots) / 2 for s in slots)))
        return str(best[1])


SLOTS = np.array([(y, x) for y in range(3, 16, 4) for x in range(3, 16, 4)])
SLOTS = SLOTS[np.abs(SLOTS - 9).sum(axis=1) < 12]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm else 0.0


@dataclass(frozen=True)
class Score:
    """Right readings and all of them; of codes every character counts."""

    view: int
    crop: int
    count: int


def matches(read: str, gold: str) -> int:
    """Characters in common; none when the lengths differ."""
    return sum(a == b for a, b in zip(read, gold, strict=True)) if len(read) == len(gold) else 0


@functools.cache
def score(kind: str, difficulty: str, pictures: int = 8) -> Score:
    """Every print of some pictures, read in the view and in the crop of its object."""
    view = cropped = count = 0
    for index in range(pictures):
        (picture,) = draw_question(Knobs(kind, difficulty=difficulty), 1, "test", index).pictures
        image = paint(picture)
        seen = resize(image, fit_size(*image.size, *BUDGET))
        shrink = seen.width / image.width
        for item in picture.items:
            there = Print(
                seen, (item.x + 0.5) * shrink, (item.y + 0.5) * shrink, picture.unit * shrink
            )
            close = crop(image, item.box(), *BUDGET)
            grow = close.width / (2 * item.radius)
            middle = (item.radius + 0.5) * grow
            here = Print(close, middle, middle, picture.unit * grow)
            gold = str(item.detail.value)
            count += len(gold)
            view += matches(there.read(item.detail.kind), gold)
            cropped += matches(here.read(item.detail.kind), gold)
    return Score(view, cropped, count)


@pytest.mark.parametrize("kind", ["pattern", "text", "count"])
@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_crops_are_read_at_every_difficulty(kind, difficulty):
    found = score(kind, difficulty)
    assert found.count >= 32
    assert found.crop == found.count


@pytest.mark.parametrize("kind", ["pattern", "text", "count"])
def test_easy_views_are_read(kind):
    found = score(kind, "easy")
    assert found.view == found.count


def test_medium_views_are_read_in_part():
    found = score("text", "medium")
    assert 0.6 < found.view / found.count < 0.95


@pytest.mark.parametrize(
    ("kind", "chance"),
    [
        ("pattern", 1 / 6),
        ("text", (1 / len(LETTERS) + 1 / len(DIGITS) + 1 / len(LETTERS)) / 3),
        ("count", 1 / MOST_CROSSES),
    ],
)
def test_hard_views_leave_guessing(kind, chance):
    found = score(kind, "hard")
    spread = (chance * (1 - chance) / found.count) ** 0.5
    assert found.view / found.count < chance + 3 * spread


@pytest.mark.parametrize(("difficulty", "least", "most"), [("easy", 60, 100), ("hard", 0, 0)])
def test_what_is_left_of_a_plate_in_the_view(difficulty, least, most):
    """Grey levels by which a plate departs from plain grey, away from its rim."""
    (picture,) = draw_question(Knobs("text", difficulty=difficulty), 1, "test", 0).pictures
    seen = np.asarray(view_of(picture)).astype(int)
    shrink = seen.shape[1] / picture.size[0]
    for item in picture.items:
        x, y, r = (round(v * shrink) for v in (item.x, item.y, 19 * 1.5 * picture.unit))
        inside = seen[y - r // 2 : y + r // 2, x - r // 2 : x + r // 2]
        assert least <= np.abs(inside - 128).max() <= most


def test_a_crop_that_holds_both_objects_of_a_relation_reads_both_codes():
    question = draw_question(Knobs("relation"), 0, "test", 0)
    (picture,) = question.pictures
    left, right = picture.items[:2]
    a, b = left.box(), right.box()
    both = replace(a, y1=min(a.y1, b.y1), x2=b.x2, y2=max(a.y2, b.y2))
    close = crop(paint(picture), both, *BUDGET)
    grow = close.width / both.width, close.height / both.height
    for item in (left, right):
        x, y = (item.x + 0.5 - both.x1) * grow[0], (item.y + 0.5 - both.y1) * grow[1]
        read = Print(close, x, y, picture.unit * grow[0]).read("code")
        assert read == item.detail.value
