"""The standard scenes: square images of 1024 px whose fine patterns vanish in small views.

Trained weights and published figures rest on these pictures: they stay what they are to the last
pixel. How well the patterns hide in a view of 96 px, by `python -m agents.tiny.probe` (chance is
16.7%, ln 6 = 1.792; kept in `agents/tiny/weights/recipe.json`):

* a network on the view's pixels around the true position, trained on 14,000 objects:
  16.1% (95% interval 14.3 to 18.1, n=1403);
* the embedded model, supervised with the true letters of the single turn, vision unfrozen:
  17.2% (95% interval 14.2 to 20.7, n=512), loss on the letter 1.805.

The patterns have zero mean, lie on integer lattices with a random phase and cover a disc whose
mean is made exactly equal for all six, so nothing of them survives as colour, brightness or beat.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ...records import Box, ImageRef, Sample

COLOURS = {
    "red": (222, 40, 40),
    "green": (36, 168, 60),
    "blue": (44, 76, 232),
    "yellow": (238, 220, 40),
    "purple": (142, 44, 186),
    "orange": (248, 136, 24),
    "cyan": (36, 206, 214),
    "pink": (248, 120, 190),
    "white": (250, 250, 250),
    "black": (8, 8, 8),
}
SHAPES = ("circle", "square", "triangle", "diamond", "hexagon")
PATTERNS = ("horizontal", "vertical", "rising", "falling", "checker", "lattice")
OPTIONS = dict(zip("ABCDEF", PATTERNS, strict=True))
QUESTION = "What pattern is on the {colour} {shape}?"

GREY, CONTRAST = 128, 70
"""Mean of the pad that carries a pattern, and the pattern's amplitude about it, of 255."""
PAD_RADIUS = 0.42
"""Of the object's radius."""
SPLITS = {"train": 1, "test": 2, "ood": 3}


@dataclass(frozen=True)
class Thing:
    """One object of a scene; position and radius in pixels of the scene."""

    colour: str
    shape: str
    pattern: int
    x: int
    y: int
    radius: int

    @property
    def box(self) -> Box:
        return Box(
            self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius
        )


@dataclass(frozen=True)
class Family:
    """The distribution that scenes are drawn from. Radii are shares of the image's side."""

    objects: tuple[int, int] = (4, 6)
    radius: tuple[float, float] = (0.042, 0.055)
    side: int = 1024


STANDARD = Family()
OOD = {
    "small": Family(radius=(0.032, 0.040)),
    "big": Family(radius=(0.060, 0.075)),
    "crowded": Family(objects=(8, 10)),
    "large_image": Family(side=2048),
}


@dataclass(frozen=True)
class Scene:
    """Everything that a picture is drawn from; `render` adds no chance of its own."""

    side: int
    things: tuple[Thing, ...]
    noise_seed: int


def draw_scene(rng: np.random.Generator, family: Family) -> Scene:
    """Draw the objects of one scene: distinct colours, no overlap, all inside the image."""
    count = int(rng.integers(family.objects[0], family.objects[1] + 1))
    colours = rng.permutation(list(COLOURS))[:count]
    things: list[Thing] = []
    while len(things) < count:
        radius = round(family.side * rng.uniform(*family.radius))
        x, y = (int(v) for v in rng.integers(radius + 8, family.side - radius - 8, size=2))
        if any(math.hypot(x - t.x, y - t.y) < 1.3 * (radius + t.radius) for t in things):
            continue
        colour, shape = str(colours[len(things)]), str(rng.choice(SHAPES))
        things.append(Thing(colour, shape, int(rng.integers(len(PATTERNS))), x, y, radius))
    return Scene(family.side, tuple(things), int(rng.integers(2**31)))


def render(scene: Scene) -> Image.Image:
    """The picture of a scene, RGB."""
    rng = np.random.default_rng(scene.noise_seed)
    image = noise(rng, (scene.side, scene.side))
    canvas = ImageDraw.Draw(image)
    scale = max(1, round(scene.side / 1024))
    for thing in scene.things:
        draw_shape(canvas, thing.colour, thing.shape, thing.x, thing.y, thing.radius)
        _paste_pattern(image, thing, rng.integers(0, 12, size=2), scale)
    return image


def noise(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A background of 32 blocks along the longer side. `size` is (width, height); RGB."""
    columns, rows = (max(1, round(32 * side / max(size))) for side in size)
    blocks = rng.integers(84, 172, size=(rows, columns, 1))
    blocks = blocks + rng.integers(-10, 11, size=(rows, columns, 3))
    return Image.fromarray(blocks.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)


def draw_shape(
    canvas: ImageDraw.ImageDraw, colour: str, shape: str, x: int, y: int, r: int
) -> None:
    """One object with its centre at (x, y), inside the circle of radius r or its frame."""
    fill = COLOURS[colour]
    if shape == "circle":
        canvas.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif shape == "square":
        h = round(0.86 * r)
        canvas.rectangle((x - h, y - h, x + h, y + h), fill=fill)
    else:
        corners = {"triangle": 3, "diamond": 4, "hexagon": 6}[shape]
        angles = [math.tau * k / corners - math.pi / 2 for k in range(corners)]
        canvas.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for a in angles], fill=fill)


def _paste_pattern(image: Image.Image, thing: Thing, phase: np.ndarray, scale: int) -> None:
    r = round(PAD_RADIUS * thing.radius)
    y, x = np.mgrid[-r : r + 1, -r : r + 1]
    disc = x * x + y * y <= r * r
    signs = np.where(
        pattern(thing.pattern, x // scale + phase[0], y // scale + phase[1]), 1.0, -1.0
    )
    # The disc cuts lattice cells: without this the means would differ, and a mean survives scaling.
    signs -= signs[disc].mean()
    grey = np.clip(np.rint(GREY + CONTRAST * signs), 0, 255).astype(np.uint8)
    pad = Image.fromarray(grey).convert("RGB")
    image.paste(pad, (thing.x - r, thing.y - r), Image.fromarray(disc.astype(np.uint8) * 255))


def pattern(index: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The light cells of pattern `PATTERNS[index]` at integer lattice points. Boolean, like x."""
    up, down = x + y, x - y
    cells = (
        y % 4 < 2,
        x % 4 < 2,
        up % 6 < 3,
        down % 6 < 3,
        (x // 3 + y // 3) % 2 == 0,
        (up // 4 + down // 4) % 2 == 0,
    )
    return np.asarray(cells[index])


def scene_of(seed: int, split: str, index: int, side: int | None = None) -> tuple[Scene, int, str]:
    """The scene of a question, the index of the object asked for, and its category."""
    rng = np.random.default_rng((seed, SPLITS[split], index))
    category = list(OOD)[index % len(OOD)] if split == "ood" else "standard"
    family = OOD.get(category, STANDARD)
    if side is not None:
        family = Family(family.objects, family.radius, side * family.side // 1024)
    scene = draw_scene(rng, family)
    return scene, int(rng.integers(len(scene.things))), category


def _picture(seed: int, split: str, index: int, side: int | None) -> Image.Image:
    return render(scene_of(seed, split, index, side)[0])


def sample(side: int | None, name: str, seed: int, split: str, index: int) -> Sample:
    """The question with the id `name`; `side` as in `scene_of`."""
    scene, asked, category = scene_of(seed, split, index, side)
    thing = scene.things[asked]
    make = functools.partial(_picture, seed, split, index, side)
    return Sample(
        id=name,
        question=QUESTION.format(colour=thing.colour, shape=thing.shape),
        images=(ImageRef(make=make, key=f"{name}-{scene.side}", size=(scene.side, scene.side)),),
        answers=(list(OPTIONS)[thing.pattern],),
        answer_kind="choice",
        options=OPTIONS,
        boxes=(thing.box,),
        category=(category,),
        source="synthetic",
        split=split,
    )
