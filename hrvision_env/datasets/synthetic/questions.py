"""The kinds of questions of the family: what is asked, what is right, and where it is seen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ...records import ImageRef, Sample
from .classic import COLOURS, SHAPES, SPLITS
from .knobs import CATEGORIES, KINDS, Knobs, Plan
from .layout import Item, Look, Picture, draw_looks, draw_places, paint
from .plates import DIGITS, LETTERS, MOST_CROSSES, PATTERN_NAMES, Detail

PLACES = ("the first image", "the second image", "the third image", "the fourth image")


@dataclass(frozen=True)
class Question:
    """A question before it becomes a `Sample`: its images are not painted yet."""

    text: str
    answer: str
    answer_kind: str
    pictures: tuple[Picture, ...]
    gold: tuple[tuple[int, int], ...]
    """Number of the image and of its item, for everything that is asked about."""
    options: Mapping[str, str] | None = None


def draw_question(knobs: Knobs, seed: int, split: str, index: int) -> Question:
    """The question of a seed, split and index, and nothing else."""
    rng = np.random.default_rng((seed, SPLITS[split], index, 1 + KINDS.index(knobs.kind)))
    return _DRAW[knobs.kind](rng, knobs.plan(category_of(split, index)))


def sample(knobs: Knobs, name: str, seed: int, split: str, index: int) -> Sample:
    """The question with the id `name`; its images are painted when they are opened."""
    asked = draw_question(knobs, seed, split, index)
    makes = [
        functools.partial(_image, knobs, seed, split, index, number)
        for number in range(len(asked.pictures))
    ]
    change = category_of(split, index)
    return Sample(
        id=name,
        question=asked.text,
        images=tuple(
            ImageRef(make=make, key=f"{name}-{n}", size=asked.pictures[n].size)
            for n, make in enumerate(makes)
        ),
        answers=(asked.answer,),
        answer_kind=asked.answer_kind,
        options=asked.options,
        boxes=tuple(asked.pictures[image].items[item].box(image) for image, item in asked.gold),
        category=(knobs.kind, str(knobs.difficulty), *([change] if change else [])),
        source="synthetic",
        split=split,
    )


def _image(knobs: Knobs, seed: int, split: str, index: int, number: int) -> Image.Image:
    return paint(draw_question(knobs, seed, split, index).pictures[number])


def category_of(split: str, index: int) -> str:
    """How a question of the split `ood` differs; empty for the other splits."""
    return CATEGORIES[index % len(CATEGORIES)] if split == "ood" else ""


def _choice(options: Sequence[str], right: int) -> tuple[dict[str, str], str]:
    """Lettered options, and the letter of the right one."""
    letters = "ABCDEFGHIJ"[: len(options)]
    return dict(zip(letters, options, strict=True)), letters[right]


def _draw_look(rng: np.random.Generator) -> Look:
    return str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES))


def _draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _draw_codes(rng: np.random.Generator, count: int) -> list[str]:
    """Different codes of letter, digit, letter."""
    codes: list[str] = []
    while len(codes) < count:
        places = (LETTERS, DIGITS, LETTERS)
        code = "".join(p[int(rng.integers(len(p)))] for p in places)
        if code not in codes:
            codes.append(code)
    return codes


def _draw_details(rng: np.random.Generator, kind: str, count: int) -> list[Detail]:
    if kind == "code":
        return [Detail(kind, code) for code in _draw_codes(rng, count)]
    low, high = (0, len(PATTERN_NAMES)) if kind == "pattern" else (1, MOST_CROSSES + 1)
    return [Detail(kind, int(rng.integers(low, high)), _draw_seed(rng)) for _ in range(count)]


def _draw_picture(
    rng: np.random.Generator, plan: Plan, target: Look, kind: str, pair: bool = False
) -> Picture:
    """A picture with details of one kind. Item 0 has the look `target`, with `pair` item 1 too."""
    count = int(rng.integers(plan.objects[0], plan.objects[1] + 1))
    same = [target, target] if pair else [target]
    looks = same + draw_looks(rng, target, count - len(same), plan.distractors)
    places = draw_places(rng, plan, count, pair)
    details = _draw_details(rng, kind, count)
    items = tuple(Item(*a, *b, c) for a, b, c in zip(looks, places, details, strict=True))
    return Picture(plan.size, plan.unit, plan.plate, items, _draw_seed(rng))


def _pattern(rng: np.random.Generator, plan: Plan) -> Question:
    target = _draw_look(rng)
    picture = _draw_picture(rng, plan, target, "pattern")
    options, letter = _choice(PATTERN_NAMES, int(picture.items[0].detail.value))
    text = f"What pattern is on the {' '.join(target)}?"
    return Question(text, letter, "choice", (picture,), ((0, 0),), options)


def _text(rng: np.random.Generator, plan: Plan) -> Question:
    target = _draw_look(rng)
    picture = _draw_picture(rng, plan, target, "code")
    text = f"What code is printed on the {' '.join(target)}?"
    code = str(picture.items[0].detail.value)
    return Question(text, code, "short", (picture,), ((0, 0),))


def _count(rng: np.random.Generator, plan: Plan) -> Question:
    target = _draw_look(rng)
    picture = _draw_picture(rng, plan, target, "crosses")
    text = f"How many small crosses are on the {' '.join(target)}?"
    number = str(picture.items[0].detail.value)
    return Question(text, number, "number", (picture,), ((0, 0),))


def _relation(rng: np.random.Generator, plan: Plan) -> Question:
    target = _draw_look(rng)
    picture = _draw_picture(rng, plan, target, "code", pair=True)
    right = int(rng.integers(2))  # 0: the one asked for lies to the left
    codes = [item.detail.value for item in picture.items[:2]]
    text = (
        f"There are two {' '.join(target)}s. Is the one marked {codes[right]} to the left or to "
        f"the right of the one marked {codes[1 - right]}?"
    )
    options, letter = _choice(("to the left", "to the right"), right)
    return Question(text, letter, "choice", (picture,), ((0, 0), (0, 1)), options)


def _which(rng: np.random.Generator, plan: Plan) -> Question:
    target = _draw_look(rng)
    count = int(rng.integers(plan.images[0], plan.images[1] + 1))
    patterns = [int(p) for p in rng.permutation(len(PATTERN_NAMES))[:count]]
    pictures = []
    for pattern in patterns:
        picture = _draw_picture(rng, plan, target, "pattern")
        first, *rest = picture.items
        marked = replace(first, detail=replace(first.detail, value=pattern))
        pictures.append(replace(picture, items=(marked, *rest)))
    right = int(rng.integers(count))
    text = f"Which image shows the {' '.join(target)} with {PATTERN_NAMES[patterns[right]]}?"
    options, letter = _choice(PLACES[:count], right)
    return Question(text, letter, "choice", tuple(pictures), ((right, 0),), options)


def _colour(rng: np.random.Generator, plan: Plan) -> Question:
    target = _draw_look(rng)
    picture = _draw_picture(rng, plan, target, "pattern")
    # Colours that are there come first: an option that is not there could be ruled out.
    others = dict.fromkeys(item.colour for item in picture.items[1:])
    others |= dict.fromkeys(str(c) for c in rng.permutation(list(COLOURS)))
    del others[target[0]]
    colours = [target[0], *list(others)[:3]]
    order = [int(n) for n in rng.permutation(len(colours))]
    options, letter = _choice([colours[n] for n in order], order.index(0))
    text = f"What colour is the {target[1]}?"
    return Question(text, letter, "choice", (picture,), ((0, 0),), options)


_DRAW: Mapping[str, Callable[[np.random.Generator, Plan], Question]] = {
    "pattern": _pattern,
    "text": _text,
    "relation": _relation,
    "count": _count,
    "which": _which,
    "colour": _colour,
}
