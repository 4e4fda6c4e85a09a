"""Pictures of the family: objects with plates, where they lie, and how they are painted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ...records import Box
from .classic import COLOURS, SHAPES, draw_shape, noise
from .knobs import JITTER, SPACING, Plan
from .plates import Detail, draw_plate

Look = tuple[str, str]
"""Colour and shape."""
Place = tuple[int, int, int]
"""Centre x, y and radius in pixels."""


@dataclass(frozen=True)
class Item:
    """One object of a picture and what its plate says; lengths in pixels of the picture."""

    colour: str
    shape: str
    x: int
    y: int
    radius: int
    detail: Detail

    def box(self, image_index: int = 0) -> Box:
        r = self.radius
        label = f"{self.colour} {self.shape}"
        return Box(self.x - r, self.y - r, self.x + r, self.y + r, image_index, label)


@dataclass(frozen=True)
class Picture:
    """Everything that an image is painted from; `paint` adds no chance of its own."""

    size: tuple[int, int]
    unit: int
    plate: int
    items: tuple[Item, ...]
    noise_seed: int


def draw_looks(rng: np.random.Generator, target: Look, count: int, distractors: int) -> list[Look]:
    """Looks of the `count` objects beside the target, `distractors` of which share its colour or
    its shape, in turn; the others share neither. None shares both."""
    colours = [c for c in COLOURS if c != target[0]]
    shapes = [s for s in SHAPES if s != target[1]]
    first = int(rng.integers(2))
    looks = []
    for n in range(count):
        colour, shape = str(rng.choice(colours)), str(rng.choice(shapes))
        if n < distractors:
            shares_colour = (n + first) % 2 == 0
            colour, shape = (target[0], shape) if shares_colour else (colour, target[1])
        looks.append((colour, shape))
    return looks


def draw_places(
    rng: np.random.Generator, plan: Plan, count: int, pair: bool = False
) -> list[Place]:
    """Places of `count` objects, apart and inside the image.

    With `pair` the second one lies a little way to the right of the first.
    """
    for _ in range(1000):
        places: list[Place] = []
        for _ in range(200 * count):
            beside = places[0] if pair and len(places) == 1 else None
            place = _draw_place(rng, plan, beside)
            if _fits(place, places, plan.size):
                places.append(place)
            if len(places) == count:
                return places
    raise RuntimeError(f"synthetic: {count} objects found no place in {plan}")


def _draw_place(rng: np.random.Generator, plan: Plan, beside: Place | None) -> Place:
    radius = round(plan.radius * rng.uniform(1 - JITTER, 1 + JITTER))
    width, height = plan.size
    if beside is None:
        x = int(rng.integers(radius, width - radius))
        return x, int(rng.integers(radius, height - radius)), radius
    right = beside[0] + SPACING * (beside[2] + radius) + rng.uniform(0.1, 0.4) * plan.radius
    down = beside[1] + rng.uniform(-0.4, 0.4) * plan.radius
    return math.ceil(right), round(down), radius


def _fits(place: Place, others: Sequence[Place], size: tuple[int, int]) -> bool:
    x, y, r = place
    if not (r <= x < size[0] - r and r <= y < size[1] - r):
        return False
    return all(math.hypot(x - u, y - v) >= SPACING * (r + s) for u, v, s in others)


def paint(picture: Picture) -> Image.Image:
    """The image, RGB: one allocation of its size, 4 bytes a pixel, and what a plate takes."""
    image = noise(np.random.default_rng(picture.noise_seed), picture.size)
    canvas = ImageDraw.Draw(image)
    for item in picture.items:
        draw_shape(canvas, item.colour, item.shape, item.x, item.y, item.radius)
        draw_plate(image, item.x, item.y, picture.plate, item.detail, picture.unit)
    return image
