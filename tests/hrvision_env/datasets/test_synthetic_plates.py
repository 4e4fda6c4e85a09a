"""Prints on plates: zero-mean dots, characters that differ, crosses that can be counted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from hrvision_env.datasets.synthetic.plates import (
    DIGITS,
    GRID,
    LETTERS,
    MOST_CROSSES,
    PATTERN_NAMES,
    Detail,
    dots,
    draw_plate,
    glyph,
)

DETAILS = [
    Detail("code", "K7R"),
    *(Detail("pattern", number, seed) for number in range(len(PATTERN_NAMES)) for seed in (0, 6)),
    *(Detail("crosses", count, 5) for count in range(1, MOST_CROSSES + 1)),
]


def plate(detail: Detail, unit: int = 1, radius: int = 40) -> np.ndarray:
    """The red channel of a plate in the middle of a black image, [2 radius + 1] squared."""
    image = Image.new("RGB", (2 * radius + 1, 2 * radius + 1))
    draw_plate(image, radius, radius, radius, detail, unit)
    pixels = np.asarray(image).astype(int)
    assert (pixels == pixels[:, :, :1]).all(), "grey"
    return pixels[:, :, 0]


def test_a_dot_is_made_of_these_levels():
    # The first character's upper left dot lies 8 dots left and 3 above of the middle.
    pixels = plate(Detail("code", "E7R"))
    centre_x, centre_y = 40 - 3 * 8, 40 - 3 * 3
    found = pixels[centre_y - 1 : centre_y + 2, centre_x - 1 : centre_x + 2]
    assert found.tolist() == [[152, 80, 152], [80, 224, 80], [152, 80, 152]]


@pytest.mark.parametrize("unit", [1, 2, 5])
@pytest.mark.parametrize("detail", DETAILS, ids=str)
def test_a_print_leaves_mean_and_first_moments_of_the_plain_plate(detail, unit):
    radius = 30 * unit + 10
    pixels = plate(detail, unit, radius)
    plain = np.where(pixels > 0, 128, 0)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    difference = pixels - plain
    assert np.abs(difference).max() == 96
    for weight in (np.ones_like(x), x, y, x * y):
        assert (difference * weight).sum() == 0


@pytest.mark.parametrize("detail", DETAILS, ids=str)
def test_dots_stay_within_the_plate(detail):
    rows, columns = np.nonzero(dots(detail))
    assert len(rows) > 0
    assert np.hypot(rows - 9, columns - 9).max() <= GRID / 2


def test_a_plate_is_round_and_its_print_in_the_middle():
    pixels = plate(Detail("pattern", 4), unit=2, radius=70)
    y, x = np.mgrid[-70:71, -70:71]
    assert ((pixels > 0) == (x * x + y * y <= 70 * 70)).all()
    assert (pixels[np.hypot(x, y) > 2 * 3 * GRID / 2 + 3] % 128 == 0).all()


def test_every_two_characters_differ_in_three_dots_or_more():
    glyphs = {c: glyph(c) for c in LETTERS + DIGITS}
    assert {g.shape for g in glyphs.values()} == {(7, 5)}
    for (a, first), (b, second) in itertools.combinations(glyphs.items(), 2):
        assert (first != second).sum() >= 3, (a, b)


def test_the_letter_f_looks_like_an_f():
    rows = ["".join("#" if dot else "." for dot in row) for row in glyph("F")]
    assert rows == ["#####", "#....", "#....", "####.", "#....", "#....", "#...."]


def test_patterns_are_what_they_are_called():
    def shifted(grid: np.ndarray, right: int, down: int) -> bool:
        """Is the middle of the plate the same after a shift?"""
        middle = slice(5, 14)
        moved = grid[5 - down : 14 - down, 5 - right : 14 - right]
        return bool((grid[middle, middle] == moved).all())

    steps = [(1, 0), (0, 1), (1, -1), (1, 1), (2, 2), (4, 0)]
    found = [
        [shifted(dots(Detail("pattern", number, seed=9)), *step) for step in steps]
        for number in range(len(PATTERN_NAMES))
    ]
    assert found == [
        [True, False, False, False, False, True],  # horizontal: the same one to the right
        [False, True, False, False, False, True],  # vertical: the same one further down
        [False, False, True, False, True, True],  # rising: one to the right and one up
        [False, False, False, True, True, True],  # falling: one to the right and one down
        [False, False, False, False, True, True],  # checkerboard: two to the right and two down
        [False, False, False, False, False, True],  # grid: its period alone
    ]


def islands(grid: np.ndarray) -> list[int]:
    """Sizes of the groups of dots that touch, corners included; by flood fill."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(grid), strict=True)}
    sizes = []
    while left:
        todo, size = [left.pop()], 0
        while todo:
            y, x = todo.pop()
            size += 1
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            todo.extend(near)
        sizes.append(size)
    return sizes


@pytest.mark.parametrize("count", range(1, MOST_CROSSES + 1))
def test_crosses_lie_apart_and_are_as_many_as_said(count):
    for seed in range(20):
        assert islands(dots(Detail("crosses", count, seed))) == [5] * count


def test_the_seed_moves_crosses_and_patterns():
    for kind, value in (("crosses", 4), ("pattern", 2)):
        grids = {dots(Detail(kind, value, seed)).tobytes() for seed in range(16)}
        assert len(grids) >= 4
