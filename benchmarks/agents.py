"""Scripted agents: the floor and the ceiling of every table.

A scripted agent is a class with `act(observations) -> texts`. It writes a box and an answer in
every reply; a dialogue reads what it asked for and ignores the rest. Draws depend on the seed and
the question alone, never on the batch.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from hrvision_env.images import Frame
from hrvision_env.records import Box, Sample


@dataclass(frozen=True)
class Observed:
    """What an agent is shown of one open episode."""

    text: str
    images: tuple[Image.Image, ...]
    info: Mapping[str, Any]
    options: tuple[str, ...]
    """Letters to choose from; empty for a free answer."""
    dialect: str
    """In which numbers the environment reads boxes."""
    min_side: float
    """Boxes must be longer than this on both sides, in seen pixels."""
    target: Sample | None = None
    """The sample with its gold answer and boxes; only for an agent that asks for it."""

    @property
    def frame(self) -> Frame:
        return Frame(tuple(self.info["image_size"]), tuple(self.info["view_size"]))

    def reply(self, box: Box, answer: str) -> str:
        """A box on the first image and an answer, as the environment reads them."""
        frame = self.frame
        numbers = frame.write(large_enough(box, frame, self.min_side), self.dialect)
        return json.dumps([{"bbox_2d": list(numbers)}]) + f"\n\\boxed{{{answer}}}"


class Agent(Protocol):
    """Scripted behaviour. `needs_target` agents are shown the gold; use them as a ceiling only."""

    needs_target: bool

    def act(self, observations: Sequence[Observed]) -> list[str]:
        """One reply per observation, in order."""
        ...


class Guesser(ABC):
    """Points where `place` says, and answers with any of the options."""

    needs_target = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def act(self, observations: Sequence[Observed]) -> list[str]:
        return [self._act(seen) for seen in observations]

    def _act(self, seen: Observed) -> str:
        rng = generator(self.seed, str(seen.info["question_id"]))
        width, height = seen.frame.original
        x, y, w, h = self.place(rng)
        box = Box(x * width, y * height, (x + w) * width, (y + h) * height)
        return seen.reply(box, guess(seen, rng))

    @abstractmethod
    def place(self, rng: np.random.Generator) -> tuple[float, float, float, float]:
        """Left, top, width and height of the box, in shares of the image."""


class Random(Guesser):
    """A box of 10 to 50% of each side anywhere, and any of the options."""

    def place(self, rng: np.random.Generator) -> tuple[float, float, float, float]:
        w, h = rng.uniform(0.1, 0.5, size=2)
        return rng.uniform(0, 1 - w), rng.uniform(0, 1 - h), w, h


class Centre(Guesser):
    """The middle of the image, half as wide and high, and any of the options."""

    def place(self, rng: np.random.Generator) -> tuple[float, float, float, float]:
        return 0.25, 0.25, 0.5, 0.5


class Oracle:
    """The gold boxes' common frame and the gold answer: what the grader and the boxes allow."""

    needs_target = True

    def __init__(self, seed: int = 0) -> None:
        del seed  # the same signature as its siblings; nothing is drawn

    def act(self, observations: Sequence[Observed]) -> list[str]:
        return [self._act(seen) for seen in observations]

    def _act(self, seen: Observed) -> str:
        assert seen.target is not None, "the runner shows the target where needs_target is set"
        boxes = [box for box in seen.target.boxes if box.image_index == 0]
        width, height = seen.frame.original
        box = Box(
            min((b.x1 for b in boxes), default=0),
            min((b.y1 for b in boxes), default=0),
            max((b.x2 for b in boxes), default=width),
            max((b.y2 for b in boxes), default=height),
        )
        return seen.reply(box, seen.target.answers[0])


SCRIPTED: Mapping[str, Any] = {"random": Random, "centre": Centre, "oracle": Oracle}


def generator(seed: int, question_id: str) -> np.random.Generator:
    """Random numbers of one question."""
    return np.random.default_rng([seed, *question_id.encode()])


def guess(seen: Observed, rng: np.random.Generator) -> str:
    """One of the options; without options a 0, which is as good as any guess."""
    return str(rng.choice(list(seen.options))) if seen.options else "0"


def large_enough(box: Box, frame: Frame, min_side: float) -> Box:
    """The box, grown about its centre until it is valid and moved into the image.

    `min_side` in seen pixels, exclusive; rounding to the dialect's whole numbers is allowed for.
    """
    (left, right), (top, bottom) = (
        _stretch(low, high, whole, seen, min_side)
        for low, high, whole, seen in (
            (box.x1, box.x2, frame.original[0], frame.seen[0]),
            (box.y1, box.y2, frame.original[1], frame.seen[1]),
        )
    )
    return Box(left, top, right, bottom, box.image_index, box.label)


def _stretch(low: float, high: float, whole: int, seen: int, least: float) -> tuple[float, float]:
    """One axis, in original pixels; `seen` pixels show `whole` ones."""
    margin = 2 * max(1.0, seen / 1000)
    needed = min((least + margin) * whole / seen, whole)
    centre, side = (low + high) / 2, max(high - low, needed)
    start = min(max(centre - side / 2, 0), whole - side)
    return start, start + side
