"""Values inside replies: JSON of bounded size, numbers, labels and image indices.

Replies are hostile text. Nothing here evaluates them; every value is decoded from at most
`MAX_JSON` characters and the lenient parsers give up after `MAX_STARTS` places that hold nothing,
so that the work grows linearly with the text, whatever it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from . import InvalidReason, Refusal

Action = TypeVar("Action")

MAX_TEXT = 100_000
"""Characters of a reply; longer ones are refused unread."""
MAX_JSON = 8_192
"""Characters from the start of a JSON value to where reading it gives up."""
MAX_STARTS = 32
"""Places without a result at which a lenient parser gives up."""
MAX_LABEL = 200
"""Characters of a label that are kept."""
MAX_NUMBER = 1e9
"""Numbers are smaller than this, in size."""

INDEX_KEYS: Mapping[str, int] = {
    "image_index": 0,
    "img_idx": 0,
    "image_idx": 0,
    "target_image": 1,
}
"""Keys that name an image, and the number of the first image under each.

`image_index` is this project's own; `img_idx` is documented as starting from 0 by Qwen-Agent, and
so it is in the tools of verl; `target_image` counts from 1 in Pixel-Reasoner ("choose 1 to operate
on the original image")."""

# A fence that opens a list; without one, the first list of objects.
_FENCED = re.compile(r"```(?:json)?\s*(?=\[)", re.IGNORECASE)
_BARE = re.compile(r"(?=\[\s*\{)")
_FENCE_END = re.compile(r"\s*```")
_START = re.compile(r"[\[{]")
_SPACE = re.compile(r"\s*")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def decode(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value that begins at `start` and where it ends; (None, start) without one.

    >>> decode("See [1, 2].", 4)
    ([1, 2], 10)
    """
    try:
        value, length = _decoder.raw_decode(text[start : start + MAX_JSON])
    except (ValueError, RecursionError):
        return None, start
    return value, start + length


def after_space(text: str, start: int) -> int:
    """The first position from `start` on that holds no white space."""
    match = _SPACE.match(text, start)
    return match.end() if match else start


def json_lists(text: str) -> Iterator[Any]:
    """The items of the JSON lists of a reply, in order: of all fenced ones, else of the bare ones.

    A list that cannot be parsed gives a `Refusal`, an empty one gives None.
    """
    pattern = _FENCED if _FENCED.search(text) else _BARE
    at = 0
    while match := pattern.search(text, at):
        value, end = decode(text, match.end())
        if value is None:
            yield Refusal(InvalidReason.BAD_JSON)
            at = match.end() + 1
            continue
        yield from value or [None]
        closed = _FENCE_END.match(text, end)
        at = closed.end() if closed else end


def json_anywhere(
    text: str, read: Callable[[Any], list[Action | Refusal]]
) -> Iterator[Action | Refusal]:
    """What `read` makes of the JSON values in a text, wherever they begin.

    A value whose first item is nothing gives its refusal and is searched again from the inside.
    """
    at = 0
    while match := _START.search(text, at):
        value, end = decode(text, match.start())
        found = read(value) if value is not None else [Refusal(InvalidReason.BAD_JSON)]
        if isinstance(found[0], Refusal):
            yield found[0]
            at = match.end()
        else:
            yield from (one for one in found if not isinstance(one, Refusal))
            at = end


def gather(
    found: Iterable[Action | Refusal], limit: int
) -> tuple[tuple[Action, ...], Refusal | None]:
    """The first `limit` actions and, when there are none, the refusal that tells most."""
    actions: list[Action] = []
    refusal, refused = None, 0
    for one in found:
        if not isinstance(one, Refusal):
            actions.append(one)
        else:
            refused += 1
            refusal = telling(refusal, one)
        if len(actions) == limit or refused == MAX_STARTS:
            break
    return tuple(actions), refusal


def telling(first: Refusal | None, second: Refusal | None) -> Refusal | None:
    """The first of two refusals, unless it is missing or only says that some JSON was broken."""
    vague = first is None or first.reason is InvalidReason.BAD_JSON
    return second or first if vague else first


def number_fault(numbers: Any, count: int) -> InvalidReason | None:
    """Why a JSON value is not a list of `count` (4 or 2) finite numbers; None if it is one."""
    wrong = InvalidReason.NOT_FOUR_NUMBERS if count == 4 else InvalidReason.NOT_TWO_NUMBERS
    if not isinstance(numbers, list) or len(numbers) != count:
        return wrong
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        return wrong
    # Compared before anything converts: an integer of a thousand digits does not fit a float.
    if not all(-MAX_NUMBER < n < MAX_NUMBER for n in numbers):
        return InvalidReason.NOT_FINITE
    return None


def written(
    item: Any, keys: Iterable[str], count: int, index_keys: Iterable[str], missing: InvalidReason
) -> tuple[tuple[Any, ...], int | None, str] | Refusal:
    """What stands under the first of these keys in an item: its numbers, the image, the label.

    `missing` is the reason when the item has none of them.
    """
    key = next((key for key in keys if key in item), None) if isinstance(item, dict) else None
    if key is None:
        return Refusal(missing)
    if fault := number_fault(item[key], count):
        return Refusal(fault)
    numbers = tuple(item[key])
    index = image_index(item, index_keys)
    if isinstance(index, InvalidReason):
        return Refusal(index, numbers)
    return numbers, index, clean_label(item.get("label"))


def image_index(item: Mapping[str, Any], keys: Iterable[str]) -> int | InvalidReason | None:
    """The image that an item names, counted from 0; None when it names none."""
    for key in keys:
        if key in item:
            index = item[key]
            if isinstance(index, bool) or not isinstance(index, int):
                return InvalidReason.NO_SUCH_IMAGE
            return index - INDEX_KEYS[key]
    return None


def clean_label(label: Any) -> str:
    """A label as it is recorded: a text that is not too long and can be encoded, else empty."""
    return clean_text(label[:MAX_LABEL]) if isinstance(label, str) else ""


def clean_text(text: str) -> str:
    """The text with lone surrogates replaced, which no encoding can hold."""
    return _SURROGATE.sub("\ufffd", text)
