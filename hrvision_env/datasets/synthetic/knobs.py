"""The knobs of the family, and the numbers in pixels that follow from them."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
from dataclasses import dataclass
from typing import NoReturn

from ...images import fit_size
from .plates import GRID

KINDS = ("pattern", "text", "relation", "count", "which", "colour")
DIFFICULTIES = {"easy": 1.15, "medium": 0.5, "hard": 0.25}
"""View pixels per unit of a detail; a dot takes three units."""
CATEGORIES = ("big", "crowded", "large_image")
"""How the questions of the split `ood` differ, in turn: objects half as large again, twice as many,
an image of twice the side."""

COARSE = 0.75
"""View pixels per unit from which on a detail is to be read in the view."""
VIEW_PIXELS = 1280 * 28 * 28
LONGEST = 16384
"""Pixels of the longer side of an image, at most."""
FEW, MANY = 4, 6
"""Objects of a scene when the number is not given."""
JITTER = 0.1
"""Radii lie within this share of their mean."""
SPACING = 1.25
"""Centres of two objects are further apart than this times the sum of their radii."""
PLATE_RADIUS = 0.47
"""Of the object's radius, at most: a triangle's inner circle has one half."""
MARGIN = 4
"""View pixels of bare plate around a detail. The filter of the view reaches two pixels far, so no
pixel of the view sees both a detail and the plate's rim, where the last bit would give it away."""
DENSEST = 0.4
"""Share of the image that objects and the space around them may take. Discs that are placed one
after the other come to rest at 0.55."""


@dataclass(frozen=True)
class Plan:
    """What one question is drawn from; lengths in pixels of the image."""

    kind: str
    size: tuple[int, int]
    """Width and height."""
    unit: int
    """Side of the smallest square of a detail."""
    plate: int
    """Radius of every plate."""
    radius: float
    """Mean radius of an object."""
    objects: tuple[int, int]
    """Least and most per image."""
    distractors: int
    images: tuple[int, int]
    """Least and most."""


@dataclass(frozen=True)
class Knobs:
    """One member of the family; the table in the package's docstring says what each knob does.

    Raises ValueError naming the knob, what it got and what it expected.
    """

    kind: str = "pattern"
    side: int = 4096
    aspect: float = 1.0
    objects: int | None = None
    distractors: int = 0
    target_size: float | None = None
    difficulty: str | float = "hard"
    images: int | None = None
    view_pixels: int = VIEW_PIXELS

    def __post_init__(self) -> None:
        _check_name("kind", self.kind, KINDS)
        _check_range("side", self.side, 256, LONGEST, "pixels", whole=True)
        _check_range("aspect", self.aspect, 0.25, 4, "(width by height)")
        _check_range("view_pixels", self.view_pixels, 28 * 28, 1 << 26, "pixels", whole=True)
        if self.objects is not None:
            _check_range("objects", self.objects, 1, 1000, "per image", whole=True)
        _check_range("distractors", self.distractors, 0, 999, "per image", whole=True)
        if self.target_size is not None:
            _check_range("target_size", self.target_size, 0, 0.5, "of the shorter side")
        if isinstance(self.difficulty, str):
            _check_name("difficulty", self.difficulty, tuple(DIFFICULTIES))
        else:
            _check_range("difficulty", self.difficulty, 0.02, 8, "view pixels per unit")
        if self.images is not None:
            _check_range("images", self.images, 2, 4, "per question", whole=True)
        self._check_kind()

    def _check_kind(self) -> None:
        """What goes with one kind and not with another."""
        if self.images is not None and self.kind != "which":
            _fail("images", self.images, f"None for kind {self.kind!r}, 2 to 4 for 'which'")
        if self.kind == "colour" and self.difficulty != "easy":
            _fail("difficulty", self.difficulty, "'easy' for kind 'colour': every view shows it")
        if self.kind == "colour" and self.distractors:
            _fail("distractors", self.distractors, "0 for kind 'colour': it names the shape alone")
        if self.objects is not None and self.objects < self._least_objects:
            expected = f"at least {self._least_objects}: those asked for and the distractors"
            _fail("objects", self.objects, expected)

    @property
    def _least_objects(self) -> int:
        return (2 if self.kind == "relation" else 1) + self.distractors

    @property
    def name(self) -> str:
        """How ids begin: the kind, and eight hexadecimal digits for knobs of their own."""
        own = {
            field.name: value if isinstance(value, str) else float(value)
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default and field.name != "kind"
        }
        if self.kind == "colour":
            del own["difficulty"]  # it has no other
        if not own and self.kind != "pattern":
            return f"synthetic-{self.kind}"
        tag = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]
        return f"synthetic-{self.kind}-{tag}"

    def plan(self, category: str = "") -> Plan:
        """The numbers in pixels; `category` is one of `CATEGORIES` or empty.

        Raises ValueError when the knobs do not go together, saying which one has to give way.
        """
        long = self.side * (2 if category == "large_image" else 1)
        if long > LONGEST:
            expected = f"at most {LONGEST // 2} pixels for split 'ood', which doubles it"
            _fail("side", self.side, expected)
        size, scale = self._view(long)
        unit = self._unit(scale)
        plate = math.ceil(GRID * 1.5 * unit + MARGIN * scale)
        radius = self._radius(plate, unit, min(size), 1.5 if category == "big" else 1.0)
        objects = self._count(radius, size, 2 if category == "crowded" else 1)
        images = (1, 1) if self.kind != "which" else (self.images or 2, self.images or 4)
        return Plan(self.kind, size, unit, plate, radius, objects, self.distractors, images)

    @property
    def pitch(self) -> float:
        """View pixels per unit."""
        named = isinstance(self.difficulty, str)
        return DIFFICULTIES[str(self.difficulty)] if named else float(self.difficulty)

    def _view(self, long: int) -> tuple[tuple[int, int], float]:
        """Size of the image, and pixels of the image per pixel of its view."""
        short = max(1, round(long / max(self.aspect, 1 / self.aspect)))
        size = (long, short) if self.aspect >= 1 else (short, long)
        least = min(256 * 28 * 28, self.view_pixels)
        seen = fit_size(*size, min_pixels=least, max_pixels=self.view_pixels)
        return size, min(size[0] / seen[0], size[1] / seen[1])

    def _unit(self, scale: float) -> int:
        """In whole pixels: a coarse detail is rounded up, a fine one down."""
        pixels = self.pitch * scale
        if self.pitch >= COARSE:
            return math.ceil(pixels)
        if pixels < 1:
            sides = range(self.side, LONGEST + 1, 16)
            least = next((s for s in sides if self.pitch * self._view(s)[1] >= 1), None)
            expected = f"at least {least}" if least else f"more than the {LONGEST} there are"
            why = f"one pixel takes {1 / scale:.3f} of the view's, a detail {self.pitch:g} at most"
            _fail("side", self.side, f"{expected} for difficulty {self.difficulty!r}: {why}")
        return math.floor(pixels)

    def _radius(self, plate: int, unit: int, short: int, times: float) -> float:
        """Mean radius of an object: large enough for its plate, small enough to be read in a crop
        of all that is asked for, where a unit takes a pixel or more."""
        least = plate / PLATE_RADIUS / (1 - JITTER)
        across = 6 if self.kind == "relation" else 2
        most = unit * math.sqrt(self.view_pixels) / across / (1 + JITTER)
        if least > most:
            expected = f"a larger one: in a crop of {self.view_pixels} pixels around what is asked"
            _fail("difficulty", self.difficulty, f"{expected} for, details would not be seen")
        radius = least if self.target_size is None else self.target_size * short
        if not least <= radius <= most:
            expected = f"{least / short:.4f} to {most / short:.4f} of the shorter side"
            why = f"for difficulty {self.difficulty!r} at side {self.side}"
            _fail("target_size", self.target_size, f"{expected} {why}")
        return min(radius * times, most)

    def _count(self, radius: float, size: tuple[int, int], times: int) -> tuple[int, int]:
        """Objects per image, least and most: as many as asked for, or as there is room for."""
        reach = SPACING * radius * (1 + JITTER)
        room = int(DENSEST * size[0] * size[1] / (math.pi * reach**2))
        if size[0] < (6 if self.kind == "relation" else 2.5) * radius or size[1] < 2.5 * radius:
            room = 0
        few, many = (FEW, MANY) if self.objects is None else (self.objects, self.objects)
        few, many = (times * max(n, self._least_objects) for n in (few, many))
        least = self._least_objects if self.objects is None else few
        if room < least:
            expected = f"at most {room // times} of radius {radius:.0f} in {size[0]}x{size[1]}"
            _fail("objects", self.objects or least, f"{expected} pixels")
        return min(few, room), min(many, room)


def _fail(name: str, got: object, expected: str) -> NoReturn:
    raise ValueError(f"synthetic: {name}: got {got!r}, expected {expected}")


def _check_name(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        close = difflib.get_close_matches(str(value), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        _fail(name, value, f"one of {', '.join(known)}{hint}")


def _check_range(
    name: str, value: object, low: float, high: float, what: str, whole: bool = False
) -> None:
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not (number and low <= value <= high):  # type: ignore[operator]
        _fail(name, value, f"{'a whole number ' if whole else ''}{low:g} to {high:g} {what}")
