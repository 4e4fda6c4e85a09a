"""Where an agent looked, compared with the gold region: for reports, never for the reward.

The gold boxes of a sample say where the answer is to be seen. `hit`, `iou`, `coverage` and
`box_side` look at the *last valid box* of an episode, the one behind its last crop; `box_area`,
`crop_recall`, `best_iou` and `iogt` at all its valid boxes; `shown_gold` at what was shown instead
of their regions. A box meets gold boxes on its own image only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from .records import Box, Episode, Sample

ELSEWHERE = ("random", "oracle")
"""Kinds of crop that show another part of the image than the box."""

IOGT = 0.3
"""A gold box counts as seen when one box covers more than this share of it."""


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """One episode's boxes against the gold boxes of its sample.

    What compares with gold boxes is 0 without a valid box (a box that was not given found nothing)
    and None when the sample has no gold box; what measures the boxes themselves is None without a
    valid box.
    """

    valid_box: bool
    hit: float | None
    """Share of the gold boxes whose centre lies inside the box: 0 or 1 for a single one."""
    iou: float | None
    """Intersection over union with the gold box that fits best, 0..1."""
    coverage: float | None
    """Share of a gold box's area that lies inside the box, mean over the gold boxes, 0..1."""
    box_side: float | None
    """sqrt(w * h / (W * H)) * 1000: side of the box in per mille of the side of its image."""
    crops: int | None = None
    """Crops that were shown to the agent; None in records that do not say."""
    box_area: float | None = None
    """Share of its image's area that a box takes, mean over all valid boxes, 0..1."""
    crop_recall: float | None = None
    """Share of the area of all gold boxes that all valid boxes cover together, 0..1. Square pixels
    count once, however many boxes they lie in."""
    best_iou: float | None = None
    """The best intersection over union of any valid box with any gold box, 0..1."""
    iogt: float | None = None
    """Share of the gold boxes of whose area a single box covers more than `IOGT`, 0..1
    (IoGT: intersection over ground truth)."""
    shown_gold: float | None = None
    """Share of the area of all gold boxes that lies in what was shown for the boxes, 0..1, where
    that was another part of the image (`ELSEWHERE`); None with any other kind of crop."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the measures among other keys, such as those of a benchmark's row; measures that
        are not there are None. Raises KeyError without `valid_box`."""
        measures = {field.name: data.get(field.name) for field in fields(cls)}
        return cls(**{**measures, "valid_box": data["valid_box"]})


def diagnose(sample: Sample, episode: Episode) -> Diagnostics:
    """Compare an episode's valid boxes with the gold boxes of its sample.

    A box of 200 x 200 px around a gold box of 100 x 100 px in an image of 1000 x 1000 px gives
    hit 1, IoU 0.25, coverage 1, box side 200, box area 0.04, crop recall 1, best IoU 0.25, IoGT 1.

    Raises ValueError when the episode answers another question than the sample's.
    """
    if episode.question_id != sample.id:
        raise ValueError(
            f"diagnose: got an episode of question {episode.question_id!r}, "
            f"expected one of sample {sample.id!r}"
        )
    boxes, gold = episode.boxes, sample.boxes
    last = boxes[-1] if boxes else None
    shares = [_share(box, episode) for box in boxes]
    return Diagnostics(
        valid_box=last is not None,
        **(_last(last, gold) if gold else dict.fromkeys(("hit", "iou", "coverage"))),
        box_side=math.sqrt(shares[-1]) * 1000 if shares else None,
        crops=sum(len(turn.crop_sizes) for turn in episode.turns),
        box_area=math.fsum(shares) / len(shares) if shares else None,
        **(_all(boxes, gold) if gold else dict.fromkeys(("crop_recall", "best_iou", "iogt"))),
        shown_gold=_shown_gold(gold, episode),
    )


COLUMNS = {
    "valid_box_rate": "valid_box",
    "hit_rate": "hit",
    "iou": "iou",
    "coverage": "coverage",
    "box_side": "box_side",
    "crops_per_episode": "crops",
    "box_area": "box_area",
    "crop_recall": "crop_recall",
    "best_iou": "best_iou",
    "iogt_rate": "iogt",
    "shown_gold": "shown_gold",
}
"""Key of `aggregate` -> measure that it is the mean of."""


def aggregate(items: Iterable[Diagnostics]) -> dict[str, float]:
    """Means over episodes, by the keys of `COLUMNS`.

    Episodes without a valid box count as 0 in what compares with gold boxes and are left out of
    `box_side` and `box_area`. A measure that is defined for no episode has no key; no episodes, no
    keys.

    >>> found, missing = Diagnostics(True, 1.0, 0.5, 1.0, 200.0), Diagnostics(False, 0, 0, 0, None)
    >>> aggregate([found, missing])
    {'valid_box_rate': 0.5, 'hit_rate': 0.5, 'iou': 0.25, 'coverage': 0.5, 'box_side': 200.0}
    """
    items = list(items)
    columns = {
        name: [float(value) for item in items if (value := getattr(item, measure)) is not None]
        for name, measure in COLUMNS.items()
    }
    return {name: math.fsum(values) / len(values) for name, values in columns.items() if values}


def _last(box: Box | None, gold: Sequence[Box]) -> dict[str, float]:
    """What the last box found."""
    if box is None:
        return {"hit": 0.0, "iou": 0.0, "coverage": 0.0}
    return {
        "hit": sum(_sees_centre(box, g) for g in gold) / len(gold),
        "iou": max(box.iou(g) for g in gold),
        "coverage": sum(box.coverage(g) for g in gold) / len(gold),
    }


def _all(boxes: Sequence[Box], gold: Sequence[Box]) -> dict[str, float]:
    """What all boxes found together."""
    seen = [max((box.coverage(g) for box in boxes), default=0.0) > IOGT for g in gold]
    return {
        "crop_recall": _covered(gold, boxes),
        "best_iou": max((box.iou(g) for box in boxes for g in gold), default=0.0),
        "iogt": sum(seen) / len(gold),
    }


def _shown_gold(gold: Sequence[Box], episode: Episode) -> float | None:
    """None as well for a record of before it said what was shown."""
    known = all(len(turn.shown) == len(turn.crop_sizes) for turn in episode.turns)
    if not gold or episode.crop not in ELSEWHERE or not known:
        return None
    return _covered(gold, [part.region for turn in episode.turns for part in turn.shown])


def _covered(gold: Sequence[Box], boxes: Sequence[Box]) -> float:
    """Share of the area of all gold boxes that some boxes cover together."""
    total = covered = 0.0
    for image in {g.image_index for g in gold}:
        here = [g for g in gold if g.image_index == image]
        whole, part = _areas(here, [box for box in boxes if box.image_index == image])
        total, covered = total + whole, covered + part
    return covered / total if total else 0.0


def _areas(gold: Sequence[Box], boxes: Sequence[Box]) -> tuple[float, float]:
    """Square pixels inside any gold box, and those of them inside any box as well.

    The edges of all boxes cut the plane into cells, each of which lies inside or outside of every
    box as a whole.
    """
    xs = np.unique([x for box in (*gold, *boxes) for x in (box.x1, box.x2)])
    ys = np.unique([y for box in (*gold, *boxes) for y in (box.y1, box.y2)])
    cells = np.diff(ys)[:, None] * np.diff(xs)[None, :]

    def inside(some: Sequence[Box]) -> np.ndarray:
        mask = np.zeros(cells.shape, bool)
        for box in some:
            rows = slice(*np.searchsorted(ys, (box.y1, box.y2)))
            mask[rows, slice(*np.searchsorted(xs, (box.x1, box.x2)))] = True
        return mask

    wanted = inside(gold)
    return float(cells[wanted].sum()), float(cells[wanted & inside(boxes)].sum())


def _sees_centre(box: Box, gold: Box) -> bool:
    return box.image_index == gold.image_index and box.contains(*gold.center)


def _share(box: Box, episode: Episode) -> float:
    width, height = episode.image_sizes[box.image_index]
    return box.area / (width * height)
