"""Where an agent looked, compared with the gold region: for reports, never for the reward.

The gold boxes of a sample say where the answer is to be seen. All measures compare the *last
valid box* of an episode (the one behind its last crop) with the gold boxes on the same image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .records import Box, Episode, Sample


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """One episode's box against the gold boxes of its sample.

    `hit`, `iou` and `coverage` are 0 without a valid box (a box that was not given found nothing)
    and None when the sample has no gold box; `box_side` is None without a valid box.
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


def diagnose(sample: Sample, episode: Episode) -> Diagnostics:
    """Compare an episode's last valid box with the gold boxes of its sample.

    A box of 200 x 200 px around a gold box of 100 x 100 px in an image of 1000 x 1000 px gives
    hit 1, IoU 0.25, coverage 1 and box side 200.

    Raises ValueError when the episode answers another question than the sample's.
    """
    if episode.question_id != sample.id:
        raise ValueError(
            f"diagnose: got an episode of question {episode.question_id!r}, "
            f"expected one of sample {sample.id!r}"
        )
    box = episode.boxes[-1] if episode.boxes else None
    if not sample.boxes:
        return Diagnostics(box is not None, None, None, None, _side(box, episode))
    if box is None:
        return Diagnostics(False, 0.0, 0.0, 0.0, None)
    gold = sample.boxes
    return Diagnostics(
        valid_box=True,
        hit=sum(_sees_centre(box, g) for g in gold) / len(gold),
        iou=max(box.iou(g) for g in gold),
        coverage=sum(box.coverage(g) for g in gold) / len(gold),
        box_side=_side(box, episode),
    )


def aggregate(items: Iterable[Diagnostics]) -> dict[str, float]:
    """Means over episodes: `valid_box_rate`, `hit_rate`, `iou`, `coverage`, `box_side`.

    Episodes without a valid box count as 0 in hit rate, IoU and coverage and are left out of
    `box_side`. A measure that is defined for no episode has no key; no episodes, no keys.

    >>> found, missing = Diagnostics(True, 1.0, 0.5, 1.0, 200.0), Diagnostics(False, 0, 0, 0, None)
    >>> aggregate([found, missing])
    {'valid_box_rate': 0.5, 'hit_rate': 0.5, 'iou': 0.25, 'coverage': 0.5, 'box_side': 200.0}
    """
    items = list(items)
    columns = {
        "valid_box_rate": [float(d.valid_box) for d in items],
        "hit_rate": [d.hit for d in items if d.hit is not None],
        "iou": [d.iou for d in items if d.iou is not None],
        "coverage": [d.coverage for d in items if d.coverage is not None],
        "box_side": [d.box_side for d in items if d.box_side is not None],
    }
    return {name: math.fsum(values) / len(values) for name, values in columns.items() if values}


def _sees_centre(box: Box, gold: Box) -> bool:
    return box.image_index == gold.image_index and box.contains(*gold.center)


def _side(box: Box | None, episode: Episode) -> float | None:
    if box is None:
        return None
    width, height = episode.image_sizes[box.image_index]
    return math.sqrt(box.area / (width * height)) * 1000
