"""The records of the text world: what a dataset holds and what an episode leaves behind.

Frames: a `Box` is always in pixels of the original image (after EXIF transposition); every
other coordinate system lives in `images/` alone. All records are frozen and, apart from
image payloads, JSON-able.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from PIL import Image


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned region, half open: pixels x1 <= x < x2, y1 <= y < y2 of one original image.

    >>> Box(10, 20, 30, 60).area
    800.0
    """

    x1: float
    y1: float
    x2: float
    y2: float
    image_index: int = 0
    label: str = ""

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def center(self) -> tuple[float, float]:
        return ((self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2)

    @property
    def area(self) -> float:
        """Square pixels; 0 for an inverted box."""
        return float(max(self.width, 0) * max(self.height, 0))

    def intersection(self, other: Box) -> float:
        """Shared area in square pixels; 0 when the boxes lie on different images."""
        if self.image_index != other.image_index:
            return 0.0
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        return float(max(width, 0) * max(height, 0))

    def iou(self, other: Box) -> float:
        """Intersection over union; 0 when the union is empty or a box is inverted. Never raises."""
        shared = self.intersection(other)
        union = self.area + other.area - shared
        return shared / union if union > 0 else 0.0

    def coverage(self, other: Box) -> float:
        """Share of `other` that lies inside this box, 0..1."""
        return self.intersection(other) / other.area if other.area > 0 else 0.0

    def contains(self, x: float, y: float) -> bool:
        return self.x1 <= x < self.x2 and self.y1 <= y < self.y2


@dataclass(frozen=True, slots=True)
class Point:
    """A place in pixels of one original image."""

    x: float
    y: float
    image_index: int = 0
    label: str = ""


@dataclass(frozen=True)
class ImageRef:
    """Where an image comes from; no pixels until `images.ImageStore.open`.

    Exactly one of `path`, `data` (encoded bytes), `image` (a PIL image), `make` (a picklable
    function without arguments that returns a PIL image) or `read` (one that returns encoded bytes,
    such as a cell of a large file) is set. `key` names the image in caches and traces; it defaults
    to the path. `size` is width and height of the upright original where somebody knows them.
    """

    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)
    image: Image.Image | None = field(default=None, repr=False, compare=False)
    make: Callable[[], Image.Image] | None = field(default=None, repr=False)
    key: str = ""
    read: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)
    size: tuple[int, int] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        sources = (self.path, self.data, self.image, self.make, self.read)
        given = sum(source is not None for source in sources)
        if given != 1:
            raise ValueError(
                f"ImageRef {self.key!r}: got {given} sources, "
                "expected exactly one of path, data, image, make, read"
            )
        if not self.key:
            if self.path is None:
                raise ValueError("ImageRef: an image without a path needs a key")
            object.__setattr__(self, "key", str(self.path))


ANSWER_KINDS = (
    "choice",
    "short",
    "number",
    "yesno",
    "box",
    "points",
    "anls",
    "chart",
    "judge",
)
"""How an answer is compared: `anls` and `chart` are short answers with a tolerance of their own,
`judge` free ones that only a reader can compare."""


@dataclass(frozen=True)
class Sample:
    """One question of a dataset.

    `question` holds neither the options nor a format instruction. For `answer_kind="choice"`
    `options` maps letters to texts and `answers` holds the gold letter; for `box` and `points` the
    gold answer stands in `boxes` or `points` and `answers` is how the dataset writes it; otherwise
    `answers` are all accepted answers. With other kinds `boxes` and `points` say where the answer
    is to be seen, for diagnostics only.

    `group_id` joins the questions that are one question asked several times (such as rotations of
    the options, told apart by `cycle_id`): they are not independent. `messages` is the chat that a
    training set holds, as it holds it.
    """

    id: str
    question: str
    images: tuple[ImageRef, ...]
    answers: tuple[str, ...]
    answer_kind: str = "short"
    options: Mapping[str, str] | None = None
    boxes: tuple[Box, ...] = ()
    category: tuple[str, ...] = ()
    source: str = ""
    split: str = ""
    language: str = "en"
    group_id: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    cycle_id: str = ""
    points: tuple[Point, ...] = ()
    messages: tuple[Mapping[str, Any], ...] | None = None

    def __post_init__(self) -> None:
        def fail(name: str, got: object, expected: str) -> None:
            raise ValueError(
                f"sample {self.id!r}: field {name!r}: got {got!r}, expected {expected}"
            )

        def texts(values: object) -> bool:
            return isinstance(values, tuple) and all(isinstance(v, str) and v for v in values)

        if not isinstance(self.images, tuple) or not self.images:
            fail("images", self.images, "a tuple of at least one image")
        for image in self.images:
            if not isinstance(image, ImageRef):
                fail("images", image, "an ImageRef")
        if not isinstance(self.language, str):
            fail("language", self.language, "a str such as 'en' or 'zh'")
        if not self.question.strip():
            fail("question", self.question, "a text that is not empty")
        if self.answer_kind not in ANSWER_KINDS:
            fail("answer_kind", self.answer_kind, "one of " + ", ".join(ANSWER_KINDS))
        if not texts(self.answers) or not self.answers:
            fail("answers", self.answers, "a tuple of at least one accepted answer, none empty")
        if self.answer_kind == "choice":
            if not self.options:
                fail("options", self.options, "the choices, letter -> text")
            elif len(self.answers) != 1 or self.answers[0] not in self.options:
                fail("answers", self.answers, "one letter of " + ", ".join(self.options))
        if self.answer_kind == "box" and not self.boxes:
            fail("boxes", self.boxes, "at least one for answer_kind 'box'")
        for name, places in (("boxes", self.boxes), ("points", self.points)):
            for place in places:
                if not 0 <= place.image_index < len(self.images):
                    fail(name, place, f"an image_index below {len(self.images)}")


class Outcome(StrEnum):
    """How an episode stands; the value of `info["outcome"]`."""

    OPEN = "open"
    """Not finished."""
    CORRECT = "correct"
    """Finished, and the grader accepted the answer. Reward 1."""
    WRONG = "wrong"
    """Finished with an answer that the grader refused. Reward 0."""
    NO_ANSWER = "no_answer"
    """Finished without an answer that could be extracted. Reward 0."""
    ERROR = "error"
    """The environment or the engine failed; `Episode.error` says why. Reward 0."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of an original that was shown for a box instead of the box's own region."""

    region: Box
    """In pixels of the original, cut to it."""
    question_id: str = ""
    """The other question whose image it is a part of; empty: the episode's own."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One user turn, the agent's reply to it and what the environment made of the reply."""

    text: str
    n_images: int
    reply: str
    boxes: tuple[Box, ...] = ()
    """The valid boxes of the reply, in its order."""
    box_raw: tuple[float, ...] = ()
    """The numbers of the first box (the first valid one, if any) as the agent wrote them."""
    invalid_reason: str = ""
    """Why there is no box: a value of `actions.InvalidReason`; empty when none was asked for."""
    crop_sizes: tuple[tuple[int, int], ...] = ()
    """Width and height in pixels of the crops that were returned, one per box."""
    fresh: bool = False
    """This user turn began a new conversation: the agent saw nothing of what came before."""
    stop_reason: str = ""
    shown: tuple[Excerpt, ...] = ()
    """What the crops are parts of, one per crop, where they are not those of the boxes (the
    environment's `crop` is random, oracle or shuffled)."""

    @property
    def box(self) -> Box | None:
        """The first valid box."""
        return self.boxes[0] if self.boxes else None

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """Width and height in pixels of the first crop that was returned."""
        return self.crop_sizes[0] if self.crop_sizes else None


@dataclass(frozen=True)
class Episode:
    """The text record of one episode: enough for a benchmark row and for the trace viewer."""

    question_id: str
    dataset: str
    split: str
    dialogue: str
    prompt: str
    system: str
    image_sizes: tuple[tuple[int, int], ...]
    view_sizes: tuple[tuple[int, int], ...]
    turns: tuple[Turn, ...] = ()
    outcome: Outcome = Outcome.OPEN
    reward: float = 0.0
    answer: str = ""
    error: str = ""
    crop: str = "real"
    """What came back for a box: a name in `crops.CROPS`."""

    @property
    def correct(self) -> bool:
        return self.outcome is Outcome.CORRECT

    @property
    def boxes(self) -> tuple[Box, ...]:
        return tuple(box for turn in self.turns for box in turn.boxes)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dictionary; `Episode.from_dict` reads it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Episode:
        def turn(d: Mapping[str, Any]) -> Turn:
            boxes = tuple(Box(**box) for box in d["boxes"])
            read = {
                "boxes": boxes,
                "box_raw": tuple(d["box_raw"]),
                "crop_sizes": tuple((wide, high) for wide, high in d["crop_sizes"]),
                "shown": tuple(
                    Excerpt(**{**part, "region": Box(**part["region"])})
                    for part in d.get("shown", ())
                ),
            }
            return Turn(**{**d, **read})

        return cls(
            **{
                **data,
                "turns": tuple(turn(t) for t in data["turns"]),
                "outcome": Outcome(data["outcome"]),
                "image_sizes": tuple(tuple(s) for s in data["image_sizes"]),
                "view_sizes": tuple(tuple(s) for s in data["view_sizes"]),
            }
        )
