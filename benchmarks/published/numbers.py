"""What was published: read from the files beside this one, one file per source.

`defaults` go for all numbers of a file, and a part of a protocol that is not written is not stated:

    {model: Qwen2.5-VL-7B + MGPO (21K), benchmark: vstar, split: test, metric: micro,
     percent: 76.4, n: 191, right: 146, source: "MGPO, Table 1",
     protocol: {max_pixels: 1003520, turns: 2, dialogue: mgpo}}
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..statistics.aggregations import NAMES

HERE = Path(__file__).parent

ANY = "any"
"""Of a part of a protocol that cannot matter."""

ANOTHER = "another"
"""A dialogue that is none of ours, where no more is known."""

FILE, SHUFFLED, FIRST = "file", "shuffled", "first is right"
"""Order of the options: the data's own, another one, or the right one always first."""

SUFFICIENCY = "sufficiency"
"""The metric of `benchmarks.sufficiency`; the others are names of aggregations."""


@dataclass(frozen=True)
class Protocol:
    """What a number depends on besides the model; None: not stated, ANY: it cannot matter."""

    max_pixels: int | str | None = None
    """Pixels of an image at most, as the model sees it."""
    min_pixels: int | str | None = None
    """Pixels of an image at least: smaller views and crops are enlarged to them."""
    turns: int | str | None = None
    """Replies at most."""
    dialogue: str | None = None
    """A name of `hrvision_env.dialogues`: who sees what, when; or ANOTHER."""
    sampling: str | None = None
    """greedy, or avg@K: the mean over K draws."""
    temperature: float | str | None = None
    """Of the draws."""
    grader: str | None = None
    """A name of `hrvision_env.grading`."""
    options: str | None = None
    """FILE, SHUFFLED or FIRST."""
    box_parser: str | None = None
    """strict or lenient; asked for where crops come back, like the next."""
    crop_margin: float | str | None = None
    """Added to each side of a box, in shares of it."""
    max_tokens: int | str | None = None
    """Tokens of a reply at most."""
    prompt: str | None = None
    """Name of the prompt, one of ours where it has the same words."""
    reference: str | None = None
    """Of `sufficiency`: the model that answers from the crops."""
    reference_max_pixels: int | str | None = None
    """Pixels of a crop at most, as that model sees it."""


NUMBERS: dict[str, tuple[type, ...]] = {
    "max_pixels": (int,),
    "min_pixels": (int,),
    "turns": (int,),
    "temperature": (int, float),
    "crop_margin": (int, float),
    "max_tokens": (int,),
    "reference_max_pixels": (int,),
}
"""Parts of a protocol that are numbers; the others are names."""


@dataclass(frozen=True)
class Published:
    """One number of a paper, a board or a repository."""

    model: str
    benchmark: str
    """A file in `hrvision_env.datasets`."""
    split: str
    """The part of it: test, val; 4k or 8k of HR-Bench; en or lite of MME-RealWorld."""
    metric: str
    """The aggregation, by its name in `benchmarks.statistics.aggregations`, or `sufficiency`."""
    percent: float
    """As printed."""
    n: int | None
    """Rows of the data."""
    source: str
    protocol: Protocol
    link: str = ""
    note: str = ""
    right: int | None = None
    """The whole number of right rows that makes the percentage, where there is one."""
    derived: bool = False
    """Not printed: computed from what is."""
    cells: Mapping[str, float] = field(default_factory=dict)
    """Percentages of the cells that the number is made of, where they are printed."""


SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times as fast where libyaml is there."""


def load(*places: Path) -> list[Published]:
    """All numbers, file by file; a place is a folder or a file, none means the numbers here.

    Raises ValueError, naming file and number, for a bad one; OSError for a file that is not there.
    """
    numbers = []
    for path in [file for place in places or (HERE,) for file in _files(place)]:
        data = _read(path)
        defaults = data.get("defaults") or {}
        for position, own in enumerate(data["numbers"], start=1):
            where = f"{path.name}, number {position} ({own.get('model', 'without a model')})"
            protocol = {**(defaults.get("protocol") or {}), **(own.get("protocol") or {})}
            numbers.append(_number({**defaults, **own}, protocol, where))
    return numbers


def _files(place: Path) -> list[Path]:
    return sorted(place.glob("*.yaml")) if place.is_dir() else [place]


def _read(path: Path) -> dict[str, Any]:
    """Raises ValueError for what is no file of numbers."""
    expected = "expected YAML with `numbers`, a list of mappings, and perhaps `defaults`"
    try:
        data = yaml.load(path.read_text("utf-8"), SAFE)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}; {expected}") from None
    numbers = data.get("numbers") if isinstance(data, dict) else None
    if not isinstance(numbers, list) or not all(isinstance(one, dict) for one in numbers):
        raise ValueError(f"{path}: got no numbers, {expected}")
    return dict(data)


def _number(data: dict[str, Any], protocol: dict[str, Any], where: str) -> Published:
    try:
        number = Published(**{**data, "protocol": Protocol(**protocol)})
    except TypeError as error:
        names = ", ".join(f.name for f in dataclasses.fields(Published))
        parts = ", ".join(f.name for f in dataclasses.fields(Protocol))
        message = f"{where}: {error}; expected {names}, and as protocol {parts}"
        raise ValueError(message) from None
    if number.metric not in (*NAMES, SUFFICIENCY):
        expected = ", ".join((*NAMES, SUFFICIENCY))
        raise ValueError(f"{where}: metric: got {number.metric!r}, expected one of {expected}")
    if not isinstance(number.percent, int | float) or not 0 <= number.percent <= 100:
        raise ValueError(f"{where}: percent: got {number.percent!r}, expected 0 to 100")
    if number.n is not None and type(number.n) is not int:
        raise ValueError(f"{where}: n: got {number.n!r}, expected a whole number or null")
    for name, value in protocol.items():
        _check(name, value, where)
    return number


def _check(name: str, value: Any, where: str) -> None:
    """A number that is written as text would be unequal to all of ours. Raises ValueError."""
    if value in (None, ANY):
        return
    if name == "sampling":
        good, expected = value == "greedy" or draws_of(str(value)), "greedy or avg@K"
    elif name in NUMBERS:
        good, expected = type(value) in NUMBERS[name], "a number"
    else:
        good, expected = isinstance(value, str), "a name"
    if good:
        return
    raise ValueError(f"{where}: {name}: got {value!r}, expected {expected}, any or null")


def draws_of(sampling: str | None) -> int | None:
    """K of avg@K; None for anything else.

    >>> draws_of("avg@32"), draws_of("greedy")
    (32, None)
    """
    found = re.fullmatch(r"avg@([1-9][0-9]*)", sampling or "")
    return int(found[1]) if found else None
