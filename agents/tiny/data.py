"""What the warm start is taught from: scenes, clear crops, and the conversations around them.

None of it ever shows the composition that reinforcement learning has to find: a box of the
model's own, the crop of that very box, and the answer read from it. Boxes are taught on views;
reading is taught on crops of *unrelated* scenes, behind boxes that have nothing to do with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from agents.rollout.chat import Chat
from agents.rollout.codec import Codec, EncodedImage
from agents.rollout.engines import Completion, StopReason
from hrvision_env.datasets import synthetic
from hrvision_env.datasets.synthetic import Family, Scene, Thing
from hrvision_env.dialogues import Reply, Setup, UserTurn, mgpo, single_turn
from hrvision_env.images import crop, fit_size, resize
from hrvision_env.records import Box, ImageRef, Sample

from .model import MERGE, PATCH, SIDE, STEP

SETUP = Setup("brief", dialect="relative_1000")
LOOK = mgpo.Dialogue(SETUP)
ONE_LOOK = single_turn.Dialogue(SETUP)
SOMEWHERE = Box(0, 0, 1, 1)


def sample_of(thing: Thing) -> Sample:
    """The question about an object, for the dialogues' texts; its image is never opened."""
    return Sample(
        id="text",
        question=synthetic.QUESTION.format(colour=thing.colour, shape=thing.shape),
        images=(ImageRef(data=b"", key="text"),),
        answers=(letter(thing.pattern),),
        answer_kind="choice",
        options=synthetic.OPTIONS,
    )


def letter(index: int) -> str:
    return list(synthetic.OPTIONS)[index]


def find_text(thing: Thing) -> str:
    """What the environment says in the first of two turns."""
    return LOOK.first(sample_of(thing)).text


def read_text(thing: Thing, box: Box | None) -> str:
    """What it says in the second one, after a valid box or after none."""
    turn = LOOK.next(sample_of(thing), Reply(0, "", () if box is None else (box,)))
    assert isinstance(turn, UserTurn)
    return turn.text


def single_text(thing: Thing) -> str:
    """What it says when there is only one turn."""
    return ONE_LOOK.first(sample_of(thing)).text


def view_of(image: Image.Image) -> Image.Image:
    """The view that the environment would show of a whole image."""
    return resize(image, fit_size(*image.size, PATCH * MERGE, SIDE * SIDE, SIDE * SIDE))


def cut(image: Image.Image, x: float, y: float, width: float, height: float) -> Image.Image:
    """The crop that the environment would show; centre and size in pixels of the image."""
    box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return crop(image, box, PATCH * MERGE, SIDE * SIDE, SIDE * SIDE)


@dataclass(frozen=True)
class Picture:
    """A scene with its pixels and the view that the model gets of it."""

    scene: Scene
    image: Image.Image | None
    view: EncodedImage


@dataclass(frozen=True)
class Clear:
    """A crop around one object of some scene, of a given side in 1/1000 of the scene's."""

    thing: Thing
    side: float
    image: EncodedImage


@dataclass(frozen=True)
class Row:
    """One training conversation: token ids, which of them are taught, and its images."""

    ids: list[int]
    taught: list[bool]
    images: tuple[EncodedImage, ...]
    cell: int = -1
    """Where a grounding row's object lies among the view's tokens, row by row; else -1."""
    centre: tuple[float, float] = (0.0, 0.0)
    """The same in shares of the view's width and height."""


@dataclass(frozen=True)
class Labels:
    """How boxes are drawn around an object; units of 1/1000 of the image's side."""

    centre: float
    side: tuple[float, float]
    wrong: float = 0.0
    """Share of labels that lie around another object."""


TIGHT = Labels(centre=10, side=(60, 160))
LOOSE = Labels(centre=80, side=(140, 400), wrong=0.25)


def draw_pictures(
    rng: np.random.Generator, codec: Codec, count: int, family: Family, keep: bool = True
) -> list[Picture]:
    """Draw scenes of a family and encode their views; `keep` their full pixels for crops."""
    drawn = []
    for _ in range(count):
        scene = synthetic.draw_scene(rng, family)
        image = synthetic.render(scene)
        drawn.append(Picture(scene, image if keep else None, codec.encode_image(view_of(image))))
    return drawn


def clear_crop(
    rng: np.random.Generator,
    codec: Codec,
    picture: Picture,
    side: tuple[float, float],
    off_centre: float | None = None,
) -> Clear:
    """Cut around a random object. Half of the crops are centred unless `off_centre` says how far
    the object lies from the middle, in shares of the side."""
    thing = picture.scene.things[int(rng.integers(len(picture.scene.things)))]
    mille = float(rng.uniform(*side))
    pixels = mille * picture.scene.side / 1000
    stretch = np.exp(rng.uniform(-0.25, 0.25))
    width, height = pixels * stretch, pixels / stretch
    if off_centre is None:
        off_centre = 0.0 if rng.random() < 0.5 else float(rng.uniform(0, 0.3))
    angle = rng.uniform(0, 2 * np.pi)
    x = thing.x + off_centre * width * np.cos(angle)
    y = thing.y + off_centre * height * np.sin(angle)
    assert picture.image is not None
    return Clear(thing, mille, codec.encode_image(cut(picture.image, x, y, width, height)))


def box_text(rng: np.random.Generator, picture: Picture, asked: int, labels: Labels) -> str:
    """A box reply around the object `asked`, as loose as `labels` say, on the coordinate grid."""
    things = picture.scene.things
    others = [i for i in range(len(things)) if i != asked]
    if others and rng.random() < labels.wrong:
        asked = int(rng.choice(others))
    thing, unit = things[asked], 1000 / picture.scene.side
    x, y = np.array([thing.x, thing.y]) * unit + rng.uniform(-labels.centre, labels.centre, 2)
    stretch = np.exp(rng.uniform(-0.15, 0.15))
    half = rng.uniform(*labels.side) / 2
    wide, high = half * stretch, half / stretch
    corners = np.array([x - wide, y - high, x + wide, y + high])
    snapped = np.clip(np.rint(corners / STEP), 0, 1000 // STEP).astype(int) * STEP
    return f'[{{"bbox_2d": [{", ".join(str(v) for v in snapped)}]}}]'


def say(chat: Chat, text: str, *, end: bool) -> int:
    """Append a reply; returns the number of its tokens."""
    ids = chat.codec.encode(text) + [chat.codec.im_end] * end
    chat.reply(Completion(ids, [0.0] * len(ids), StopReason.EOS))
    return len(ids)


def row_of(chat: Chat, taught_last: int, picture: Picture | None = None, asked: int = 0) -> Row:
    """Freeze a chat of which the last `taught_last` tokens are taught."""
    count = len(chat.token_ids)
    taught = [False] * (count - taught_last) + [True] * taught_last
    if picture is None:
        return Row(chat.token_ids, taught, tuple(chat.images))
    thing, side = picture.scene.things[asked], picture.scene.side
    x, y, cells = thing.x / side, thing.y / side, SIDE // chat.codec.factor
    cell = int(y * cells) * cells + int(x * cells)
    return Row(chat.token_ids, taught, tuple(chat.images), cell, (x, y))


def find_row(rng: np.random.Generator, codec: Codec, picture: Picture, labels: Labels) -> Row:
    """View and question -> a box around the object."""
    asked = int(rng.integers(len(picture.scene.things)))
    chat = Chat(codec)
    chat.observe(find_text(picture.scene.things[asked]), [picture.view])
    taught = say(chat, box_text(rng, picture, asked, labels), end=False)
    return row_of(chat, taught, picture, asked)


def read_row(rng: np.random.Generator, codec: Codec, picture: Picture, clear: Clear) -> Row:
    """A clear crop of an unrelated scene -> the letter of its pattern. The box is not taught."""
    chat = Chat(codec)
    chat.observe(find_text(clear.thing), [picture.view])
    anywhere = int(rng.integers(len(picture.scene.things)))
    say(chat, box_text(rng, picture, anywhere, LOOSE), end=False)
    chat.observe(read_text(clear.thing, SOMEWHERE), [clear.image])
    return row_of(chat, say(chat, f"\\boxed{{{letter(clear.thing.pattern)}}}", end=True))


def guess_row(rng: np.random.Generator, codec: Codec, picture: Picture, labels: Labels) -> Row:
    """Questions that cannot be read - one look, or no valid box: the form, and a random letter."""
    asked = int(rng.integers(len(picture.scene.things)))
    thing = picture.scene.things[asked]
    guess = f"\\boxed{{{letter(int(rng.integers(len(synthetic.OPTIONS))))}}}"
    chat = Chat(codec)
    if rng.random() < 0.65:
        chat.observe(single_text(thing), [picture.view])
        reply = box_text(rng, picture, asked, labels) + "\n" + guess
        return row_of(chat, say(chat, reply, end=True))
    chat.observe(find_text(thing), [picture.view])
    broken = rng.integers(0, 1000 // STEP + 1, 4) * STEP
    say(chat, f'[{{"bbox_2d": [{", ".join(str(v) for v in broken)}]}}]', end=False)
    chat.observe(read_text(thing, None), [picture.view])
    return row_of(chat, say(chat, guess, end=True))
