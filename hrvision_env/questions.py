"""Which question an episode is about: drawn by seed, or chosen by index or id."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from . import datasets
from .checks import check_options
from .datasets import Dataset
from .records import Sample


class NoCrop(ValueError):
    """A question that the kind of crop asked for cannot be made for; the text says why."""


class Questions:
    """The datasets of an environment; the one it was made for is loaded at once.

    Raises ValueError for an unknown dataset, an unknown option or one that is missing.
    """

    def __init__(
        self, dataset: str, split: str, options: Mapping[str, Any], also: Iterable[str] = ()
    ) -> None:
        datasets.check_loader_options(dataset, options, also=also)
        self._name, self._split, self._options = dataset, split, dict(options)
        self.dataset = datasets.load(dataset, split, **options)
        self._loaded = {(dataset, split): self.dataset}
        self._origins: dict[tuple[str, str], Dataset] = {}

    def pick(self, rng: np.random.Generator, options: Mapping[str, Any] | None) -> Sample:
        """The sample that the options of a `reset` ask for; drawn when they don't say."""
        options = check_options({} if options is None else options)
        name = options.get("dataset", self._name)
        split = options.get("split", self._split)
        dataset = self._load(name, split)
        if "question_id" in options:
            index = dataset.index(options["question_id"])
        elif "index" in options:
            index = int(options["index"])
        else:
            index = int(rng.integers(len(dataset)))
        sample = dataset[index]
        sample = replace(sample, source=sample.source or name, split=sample.split or split)
        self._origins[sample.source, sample.split] = dataset
        return sample

    def other(
        self,
        sample: Sample,
        usable: Callable[[Sample], bool] = lambda _: True,
        turn: int = 0,
        number: int = 0,
    ) -> Sample:
        """Another question of the dataset that a sample was picked from, of another group, about
        other images and `usable`: the first such one from a place that depends on the sample's id
        and on the box that it is wanted for: its turn and its number in the reply.

        The place is a hash modulo the number of questions: in a dataset of another size (another
        split, a subset of it) the same question has another partner, and two boxes have the same
        one now and then, always where there is only one.

        Raises NoCrop when there is none.
        """
        dataset = self._origins.get((sample.source, sample.split), self.dataset)
        name = f"{turn} {number} {sample.id}".encode("utf-8", "surrogatepass")
        start = int.from_bytes(hashlib.sha256(name).digest()[:8])
        group = sample.group_id or sample.id
        keys = {image.key for image in sample.images}
        for step in range(len(dataset)):
            other = dataset[(start + step) % len(dataset)]
            alone = (other.group_id or other.id) != group
            apart = alone and keys.isdisjoint(image.key for image in other.images)
            if apart and usable(other):
                return other
        raise NoCrop(
            f"crop 'shuffled': question {sample.id!r}: got {len(dataset)} questions, all of its "
            "group, about its images or without a gold region inside theirs, expected one of "
            "another group about other images"
        )

    def named(self, questions: Iterable[int | str]) -> Iterator[Sample]:
        """Samples by index or id. Raises IndexError or KeyError for one that does not exist."""
        for question in questions:
            known = isinstance(question, str)
            yield self.dataset[self.dataset.index(str(question)) if known else int(question)]

    def _load(self, name: str, split: str) -> Dataset:
        if (name, split) not in self._loaded:
            # Another dataset does not take the options of the one this environment was made for.
            options = self._options if name == self._name else {}
            self._loaded[name, split] = datasets.load(name, split, **options)
        return self._loaded[name, split]
