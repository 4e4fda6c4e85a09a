"""One line of a trace: an episode, and what was kept beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..actions.rules import BoxRules
from ..records import Box, Episode
from ..rendering import refused_box
from ..running import Running


@dataclass(frozen=True, slots=True)
class Picture:
    """One image that an agent was shown."""

    file: str
    """Name in the folder `images`; empty when the picture was not kept."""
    size: tuple[int, int]
    """Width and height in pixels as shown."""
    image_index: int = 0
    """Which image of the sample it comes from."""
    region: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom in original pixels; None: the whole image."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """How a large image is cut up: level 0 has its own pixels, each further one half the size.

    A tile is `LEVEL/COLUMN_ROW.ENDING` in the folder of the image, `side` pixels wide and high, or
    what is left of that at the right and the bottom edge. The last level is one tile.
    """

    side: int
    levels: int
    ending: str
    """`jpg` or `png`."""


@dataclass(frozen=True, slots=True)
class Original:
    """An image of the sample as it is, for looking at every pixel."""

    file: str
    """Name in the folder `originals`, of a file or of a folder of tiles; empty: not kept."""
    size: tuple[int, int]
    """Width and height in pixels, upright."""
    tiles: Tiles | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of what the model read or wrote, mostly one token.

    >>> Piece("red", trained=True, logprob=-0.105, advantage=1.5)
    """

    text: str
    """`<image>` for all placeholders of one image."""
    trained: bool = False
    """The loss is computed on it (`loss_mask`)."""
    logprob: float | None = None
    """Nats, of the policy that sampled it; None for what was not sampled."""
    advantage: float | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What an episode cost; None where it is not known."""

    image_tokens: float | None = None
    prompt_tokens: float | None = None
    sampled_tokens: float | None = None
    seconds: float | None = None
    """Its share of the time of the process that played it."""
    latency: float | None = None
    """Seconds from being asked to its end."""


@dataclass(frozen=True)
class Record:
    """One episode with everything that a person wants to see beside it. Unknown parts are empty."""

    episode: Episode
    pictures: tuple[tuple[Picture, ...], ...] = ()
    """Per user turn, the one that waits for a reply included."""
    refused: tuple[Box | None, ...] = ()
    """Per turn: a box that was no valid one, where its numbers put it; maybe outside, inverted."""
    question: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[str, ...] = ()
    """Accepted answers."""
    gold: tuple[Box, ...] = ()
    category: tuple[str, ...] = ()
    agent: str = ""
    label: str = ""
    """What the dataset is called in a benchmark; empty: as the episode calls it."""
    step: int | None = None
    """Of the training run that played it."""
    training: int = 0
    """Which of several trainings of the agent."""
    sampled: bool = False
    """Drawn at a temperature; else the most likely reply."""
    draw: int = 0
    """Which of the sampled episodes of a question."""
    strict: float | None = None
    """Score 0..1 by the strict rules, whatever the environment graded by."""
    official: float | None = None
    """Score 0..1 by the benchmark's own rules."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """What is known of the boxes, such as `iou`; a yes or no is 1 or 0."""
    spent: Spent = Spent()
    originals: tuple[Original, ...] = ()
    """Per image of the sample, where they were kept."""
    tokens: tuple[tuple[Piece, ...], ...] = ()
    """Per conversation: a dialogue that hides what came before has several."""
    line: int = 0
    """Row of its file, counted from 1."""

    @property
    def dataset(self) -> str:
        """Its name for people: the label, or the name in the episode."""
        return self.label or self.episode.dataset

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dictionary, as a line of a trace holds it; what is not known is left out."""
        told = {
            "agent": self.agent,
            "label": self.label,
            "step": self.step,
            "training": self.training or None,
            "sampled": self.sampled or None,
            "draw": self.draw or None,
            "strict": self.strict,
            "official": self.official,
            "measures": dict(self.measures),
            "spent": {key: v for key, v in dataclasses.asdict(self.spent).items() if v is not None},
            "originals": [dataclasses.asdict(original) for original in self.originals],
            "tokens": [
                [[p.text, int(p.trained), p.logprob, p.advantage] for p in pieces]
                for pieces in self.tokens
            ],
        }
        return {
            **self.episode.to_dict(),
            "images": [[dataclasses.asdict(p) for p in turn] for turn in self.pictures],
            "refused": [None if box is None else dataclasses.asdict(box) for box in self.refused],
            **{key: value for key, value in told.items() if value not in (None, "", [], {})},
            "sample": {
                "question": self.question,
                "options": dict(self.options),
                "answers": self.answers,
                "boxes": [dataclasses.asdict(box) for box in self.gold],
                "category": self.category,
            },
        }


def record_of(running: Running, files: Sequence[str], rules: BoxRules | None = None) -> Record:
    """The record of an episode as it stands; `files` names each image of `running.shown`.

    `rules` are those that read the replies; without them refused boxes have no place.
    """
    episode, sample = running.episode(), running.sample
    last = max((shown.turn for shown in running.shown), default=-1)
    turns: list[list[Picture]] = [[] for _ in range(max(len(episode.turns), last + 1))]
    for shown, file in zip(running.shown, files, strict=True):
        frame = shown.frame
        turns[shown.turn].append(Picture(file, shown.image.size, frame.image_index, frame.region))
    refused: list[Box | None] = [None] * len(episode.turns)
    if rules is not None:
        for number in range(len(refused)):
            refused[number] = refused_box(episode.turns, running.shown, number, rules)
    return Record(
        episode=episode,
        pictures=tuple(tuple(turn) for turn in turns),
        refused=tuple(refused),
        question=sample.question,
        options=dict(sample.options or {}),
        answers=tuple(sample.answers),
        gold=tuple(sample.boxes),
        category=tuple(sample.category),
    )
