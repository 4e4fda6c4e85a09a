"""A dataset of crops: what an agent's boxes cut out, each with the question it was cut out for.

`benchmarks.sufficiency` writes its file, JSON:

    {"dataset": {"dataset": "vstar", "split": "test", "root": "..."},   where the questions are
     "budget": {"factor": 28, "min_pixels": 200704, "max_pixels": 1003520},
     "margin": 0.0,                                                     as `crop_margin`
     "crops": [{"index": 3, "question_id": "...", "sizes": [[2250, 1500]],
                "boxes": [[x1, y1, x2, y2, image_index], ...]}, ...]}

A crop has the very pixels that the environment shows for such a box within that budget.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from hrvision_env.curation.wrapping import Subset
from hrvision_env.datasets import Dataset
from hrvision_env.datasets import load as load_dataset
from hrvision_env.images import Budget, ImageStore
from hrvision_env.images.pixels import clip
from hrvision_env.records import Box, ImageRef, Sample

CACHE_BYTES = 256 << 20
"""Memory for originals; each question's is needed once."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The boxes of one episode: what is cut out for one question."""

    index: int
    """Of the question in its dataset."""
    question_id: str
    sizes: tuple[tuple[int, int], ...]
    """Width and height of the question's images, in pixels."""
    boxes: tuple[Box, ...]

    def to_dict(self) -> dict[str, Any]:
        """As in the file."""
        boxes = [[b.x1, b.y1, b.x2, b.y2, b.image_index] for b in self.boxes]
        sizes = [list(size) for size in self.sizes]
        return {
            "index": self.index,
            "question_id": self.question_id,
            "sizes": sizes,
            "boxes": boxes,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cut:
        """Raises KeyError or TypeError for data that `to_dict` did not make."""
        sizes = tuple((wide, high) for wide, high in data["sizes"])
        boxes = tuple(Box(*numbers) for numbers in data["boxes"])
        return cls(data["index"], data["question_id"], sizes, boxes)


def load(split: str, *, crops: str) -> Dataset:
    """The questions of a file of crops, their images replaced by the crops. `crops`: the file;
    `split`: the split of the dataset that the questions are from.

    Raises ValueError for a file that is none, or of another split; and, when a question is asked
    for, if it is another one than the crops were cut for.
    """
    try:
        data = json.loads(Path(crops).read_text("utf-8"))
        inner, margin = dict(data["dataset"]), float(data["margin"])
        budget = Budget(**data["budget"])
        cuts = [Cut.from_dict(cut) for cut in data["crops"]]
        name, own = inner.pop("dataset"), inner.pop("split")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"crops: {crops}: not a file of crops ({error!r})") from None
    if split != own:
        raise ValueError(f"crops: {crops}: got split {split!r}, expected its own, {own!r}")
    dataset = load_dataset(name, own, **inner)
    return Crops(dataset, cuts, source=name, margin=margin, budget=budget)


class Crops(Subset):
    """The questions of a dataset that boxes were given for; their images are the crops.

    One image per box, in the order of the boxes. Id, group, options and answers stay; gold boxes
    and points are left out, as they lie on the original.

    Raises IndexError for an index that the dataset does not have.
    """

    def __init__(
        self, dataset: Dataset, cuts: list[Cut], *, source: str, margin: float, budget: Budget
    ) -> None:
        super().__init__(dataset, [cut.index for cut in cuts], ("images: crops of an agent",))
        self._cuts, self._source = cuts, source
        self._margin, self._budget = margin, budget
        self._store = ImageStore(CACHE_BYTES)

    @property
    def digest(self) -> str:
        """The data hash: of the questions and of what is cut out."""
        what = [[cut.to_dict() for cut in self._cuts], self._margin, repr(self._budget)]
        return hashlib.sha256(f"{super().digest} {json.dumps(what)}".encode()).hexdigest()

    def __getitem__(self, index: int) -> Sample:
        sample, cut = super().__getitem__(index), self._cuts[index]
        if sample.id != cut.question_id:
            raise ValueError(
                f"crops: question {cut.index}: got {sample.id!r}, expected {cut.question_id!r}: "
                "the dataset is another one than the boxes were given on"
            )
        return replace(
            sample,
            images=tuple(self._image(sample, cut, box) for box in cut.boxes),
            boxes=(),
            points=(),
            messages=None,
            source=sample.source or self._source,
        )

    def _image(self, sample: Sample, cut: Cut, box: Box) -> ImageRef:
        ref = sample.images[box.image_index]
        wide, high = box.width * self._margin, box.height * self._margin
        region = replace(
            box, x1=box.x1 - wide, y1=box.y1 - high, x2=box.x2 + wide, y2=box.y2 + high
        )
        x1, y1, x2, y2 = clip(region, cut.sizes[box.image_index])
        size = self._budget.fit(max(round(x2 - x1), 1), max(round(y2 - y1), 1))
        key = f"{ref.key} crop {x1!r},{y1!r},{x2!r},{y2!r} as {size[0]}x{size[1]}"
        make = partial(_cut_out, self._store, ref, region, self._budget, sample.id)
        return ImageRef(make=make, key=key, size=size)


def _cut_out(
    store: ImageStore, ref: ImageRef, box: Box, budget: Budget, sample_id: str
) -> Image.Image:
    return store.crop(ref, box, budget, sample_id)[0]
