"""Datasets: one file per dataset or format, each with `load(split, **options) -> Dataset`."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from ..plugins import resolve
from ..records import Sample


class Dataset(Protocol):
    """A sequence of samples; image files are named, not opened."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...

    def index(self, question_id: str, /) -> int:
        """The position of a sample by its id. Raises KeyError naming the id."""
        ...


def load(name: str, split: str, **options: Any) -> Dataset:
    """Load a dataset by file name, or by import path as `my_pkg.my_module:load`.

    Raises ValueError for an unknown dataset, for options that its loader does not have or lacks
    (with the closest names), and for a dataset without a question.
    """
    loader: Callable[..., Dataset] = resolve(__name__, name, "load")
    check_options(name, options)
    dataset = loader(split, **options)
    if len(dataset) == 0:
        raise ValueError(f"dataset {name!r}, split {split!r}: holds no question, expected some")
    return dataset


def check_options(name: str, options: Mapping[str, Any], also: Iterable[str] = ()) -> None:
    """Compare options with the signature of a dataset's loader.

    `also` are names that the caller itself takes and that a misspelt option may have meant.
    Raises ValueError for an unknown option, with the closest name, and for one that is missing.
    """
    loader = resolve(__name__, name, "load")
    parameters = list(inspect.signature(loader).parameters.values())[1:]  # the first is the split
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    names = [p.name for p in parameters]
    for option in options:
        if option in names:
            continue
        close = difflib.get_close_matches(option, [*names, *also], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        known = ", ".join(names) or "none"
        raise ValueError(f"dataset {name!r}: unknown option {option!r}, its options: {known}{hint}")
    for parameter in parameters:
        if parameter.default is parameter.empty and parameter.name not in options:
            raise ValueError(f"dataset {name!r}: option {parameter.name!r} is missing")


def language_of(text: str) -> str:
    """`zh` for a text with Chinese characters (and no Japanese or Korean ones), else `en`.

    >>> language_of("这是什么？"), language_of("これは何ですか"), language_of("What is this?")
    ('zh', 'en', 'en')
    """
    han = re.search("[\u4e00-\u9fff]", text)
    others = re.search("[\u3040-\u30ff\uac00-\ud7af]", text)
    return "zh" if han and not others else "en"


class Samples:
    """Samples held in a list. `name` says where they come from, for errors.

    Raises ValueError when two samples have the same id.
    """

    def __init__(self, samples: Iterable[Sample], name: str) -> None:
        self._samples = list(samples)
        self._name = name
        self._index: dict[str, int] = {}
        for i, sample in enumerate(self._samples):
            if (other := self._index.setdefault(sample.id, i)) != i:
                raise ValueError(f"{name}: samples {other} and {i} have the same id {sample.id!r}")

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self._samples):
            size = len(self._samples)
            raise IndexError(f"{self._name}: got index {index}, expected 0 <= index < {size}")
        return self._samples[index]

    def index(self, question_id: str) -> int:
        if question_id not in self._index:
            close = difflib.get_close_matches(str(question_id), self._index, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise KeyError(f"{self._name}: no question with id {question_id!r}{hint}")
        return self._index[question_id]
