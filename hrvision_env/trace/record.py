"""One line of a trace: an episode, and what was kept beside it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..actions.rules import BoxRules
from ..records import Box, Episode
from ..rendering import refused_box
from ..running import Running

MAX_DIGITS = 15
"""Of a whole number in a line: more than any pixel needs, and as many as a browser keeps."""


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
    line: int = 0
    """Row of its file, counted from 1."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dictionary, as a line of a trace holds it."""
        plain = dataclasses.asdict(self)
        return {
            **self.episode.to_dict(),
            "images": plain["pictures"],
            "refused": plain["refused"],
            **({"agent": self.agent} if self.agent else {}),
            "sample": {
                "question": self.question,
                "options": dict(self.options),
                "answers": self.answers,
                "boxes": plain["gold"],
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


def parse_line(line: bytes, number: int) -> Record:
    """Read a line of a trace, or of the episodes that `benchmarks.run` writes.

    Raises ValueError, TypeError, LookupError, AttributeError or RecursionError for a line that is
    neither; `number` is its row.
    """
    row = json.loads(line, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    if not isinstance(row, dict):
        raise ValueError(f"got {type(row).__name__}, expected an object")
    if "episode" in row:
        return _from_benchmark(row, number)
    sample = row.pop("sample", {})
    images, refused = row.pop("images", ()), row.pop("refused", ())
    agent = str(row.pop("agent", ""))
    return Record(
        episode=_episode(row),
        pictures=tuple(tuple(_picture(picture) for picture in turn) for turn in images),
        refused=tuple(None if box is None else _check(Box(**box)) for box in refused),
        question=str(sample.get("question", "")),
        options={str(key): str(text) for key, text in sample.get("options", {}).items()},
        answers=_texts(sample.get("answers", ())),
        gold=tuple(_check(Box(**box)) for box in sample.get("boxes", ())),
        category=_texts(sample.get("category", ())),
        agent=agent,
        line=number,
    )


def _from_benchmark(row: Mapping[str, Any], number: int) -> Record:
    return Record(
        episode=_episode(row["episode"]),
        answers=_texts(row.get("gold", ())),
        category=_texts(row.get("category", ())),
        agent=str(row.get("agent", "")),
        line=number,
    )


def _episode(data: Mapping[str, Any]) -> Episode:
    episode = Episode.from_dict(data)
    fields = dataclasses.asdict(dataclasses.replace(episode, turns=()))
    texts = [fields[name] for name in ("question_id", "dataset", "split", "answer", "error")]
    texts += [fields[name] for name in ("dialogue", "prompt", "system")]
    for turn in episode.turns:
        texts += [turn.text, turn.reply, turn.invalid_reason, turn.stop_reason]
        _numbers(turn.box_raw)
        for size in turn.crop_sizes:
            _numbers(size, 2)
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"got {text!r:.40}, expected a text")
    for size in (*episode.image_sizes, *episode.view_sizes):
        _numbers(size, 2)
    for box in episode.boxes:
        _check(box)
    _numbers((episode.reward,), 1)
    return episode


def _picture(data: Mapping[str, Any]) -> Picture:
    wide, high = _numbers(data["size"], 2)
    corners = None if data["region"] is None else _numbers(data["region"], 4)
    return Picture(str(data["file"]), (wide, high), int(data["image_index"]), corners)


def _check(box: Box) -> Box:
    _numbers((box.x1, box.y1, box.x2, box.y2, box.image_index), 5)
    if not isinstance(box.label, str):
        raise ValueError(f"got the label {box.label!r:.40}, expected a text")
    return box


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _numbers(values: Any, count: int | None = None) -> Any:
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not numeric or (count is not None and len(values) != count):
        raise ValueError(f"got {values!r:.60}, expected {count or 'only'} numbers")
    return tuple(values)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"got {text:.20}, expected a finite number")
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS + 1:
        raise ValueError(f"got {text:.20}..., expected a number of at most {MAX_DIGITS} digits")
    return int(text)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"got {name}, expected JSON")
