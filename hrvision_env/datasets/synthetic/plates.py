"""Details that are read from close by and leave nothing behind from afar.

Every object carries a plate: a disc of mid grey with a grid of `GRID` x `GRID` places, some of
which hold a dot. Codes, patterns and crosses are sets of dots. A dot covers 3 x 3 units, brighter
in the middle and darker around:

     1 -2  1
    -2  4 -2   times `STEP` grey levels
     1 -2  1

It is the product of two second differences: its sum is zero, so are its first and second moments
along both axes, and its levels are whole numbers, so nothing is lost to rounding. A filter that is
wide against a unit therefore sees mid grey wherever dots are or are not. From a quarter of a view
pixel per unit on (`knobs.DIFFICULTIES`), the bicubic filter of the views gives the same bytes for
every plate: what a plate says is not in the view at all, whatever looks at it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

GREY, STEP = 128, 24
"""Level of the plate, and of a dot's corners above it (its middle: 4 times), of 255."""
DOT = np.outer((-1, 2, -1), (-1, 2, -1))
"""One dot on a plate, [3, 3], in steps."""
GRID = 19
"""Places for dots along a plate's diameter."""

PATTERN_NAMES = (
    "horizontal stripes",
    "vertical stripes",
    "rising stripes",
    "falling stripes",
    "a checkerboard",
    "a grid of lines",
)
LETTERS = "ACEFHJKLNPRTUX"
DIGITS = "234679"
"""Codes are letter, digit, letter. Left out: characters that are taken for one another."""
MOST_CROSSES = 9

_FONT = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "C": "01111 10000 10000 10000 10000 10000 01111",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "F": "11111 10000 10000 11110 10000 10000 10000",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "J": "00111 00010 00010 00010 00010 10010 01100",
    "K": "10001 10010 10100 11000 10100 10010 10001",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "N": "10001 11001 11001 10101 10011 10011 10001",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "U": "10001 10001 10001 10001 10001 10001 01110",
    "X": "10001 10001 01010 00100 01010 10001 10001",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00010 00100 00100 00100",
    "9": "01110 10001 10001 01111 00001 00010 01100",
}
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)


@dataclass(frozen=True)
class Detail:
    """What a plate says.

    `kind` "code" with a text of three characters, "pattern" with a number of `PATTERN_NAMES`, or
    "crosses" with a number up to `MOST_CROSSES`. `seed` decides what the answer leaves open: the
    phase of a pattern, the places of the crosses.
    """

    kind: str
    value: str | int
    seed: int = 0


def glyph(character: str) -> np.ndarray:
    """[7, 5] bool, the dots of one character."""
    return np.array([[dot == "1" for dot in row] for row in _FONT[character].split()])


def dots(detail: Detail) -> np.ndarray:
    """[GRID, GRID] bool: which places of the plate hold a dot. Only places inside the disc."""
    if detail.kind == "code":
        return _code_dots(str(detail.value))
    if detail.kind == "pattern":
        return _pattern_dots(int(detail.value), detail.seed)
    return _cross_dots(int(detail.value), detail.seed)


def _code_dots(code: str) -> np.ndarray:
    grid = np.zeros((GRID, GRID), dtype=bool)
    top, left = (GRID - 7) // 2, (GRID - 6 * len(code) + 1) // 2
    for n, character in enumerate(code):
        grid[top : top + 7, left + 6 * n : left + 6 * n + 5] = glyph(character)
    return grid


def _pattern_dots(index: int, seed: int) -> np.ndarray:
    y, x = np.mgrid[:GRID, :GRID]
    inside = np.hypot(y - GRID // 2, x - GRID // 2) <= GRID // 2
    x, y = x + seed % 4, y + seed // 4 % 4
    cells = (
        y % 4 < 2,
        x % 4 < 2,
        (x + y) % 4 < 2,
        (x - y) % 4 < 2,
        (x // 2 + y // 2) % 2 == 0,
        (x % 4 == 0) | (y % 4 == 0),
    )
    return np.asarray(cells[index] & inside)


def _cross_dots(count: int, seed: int) -> np.ndarray:
    grid = np.zeros((GRID, GRID), dtype=bool)
    rng = np.random.default_rng(seed)
    # Twelve slots of 4 x 4 places: a square of four by four without its corners, shifted at random.
    slots = [(i, j) for i in range(4) for j in range(4) if (i % 3, j % 3) != (0, 0)]
    shift_y, shift_x = rng.integers(0, 2, size=2)
    for slot in rng.permutation(len(slots))[:count]:
        top, left = 2 + shift_y + 4 * slots[slot][0], 2 + shift_x + 4 * slots[slot][1]
        grid[top : top + 3, left : left + 3] |= _CROSS
    return grid


def draw_plate(image: Image.Image, x: int, y: int, radius: int, detail: Detail, unit: int) -> None:
    """Draw a plate with its centre at (x, y) into an RGB image. `radius` and `unit` in pixels."""
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = rows**2 + columns**2 <= radius**2
    levels = np.full(disc.shape, GREY, dtype=np.uint8)
    drawn = GREY + STEP * np.kron(np.kron(dots(detail), DOT), np.ones((unit, unit), dtype=int))
    edge = radius - len(drawn) // 2
    levels[edge : edge + len(drawn), edge : edge + len(drawn)] = drawn
    mask = Image.fromarray(disc.astype(np.uint8) * 255)
    image.paste(Image.fromarray(levels).convert("RGB"), (x - radius, y - radius), mask)
