r"""Boxes in replies, in the forms of `forms.py`.

Two parsers. `strict` wants the form it is set to and nothing else, with four whole numbers
(decimals only in the dialect `relative_1`), and changes nothing. Its grammar:

json   a list of `{"bbox_2d": [x1, y1, x2, y2], "label": "...", "image_index": 0}`, fenced or bare;
       label and index may be missing
qwen   `<|box_start|>(x1,y1),(x2,y2)<|box_end|>`; `<|object_ref_start|>...<|object_ref_end|>` may
       stand in front
tag    `<box>[x1, y1, x2, y2]</box>`, `<box>(x1,y1),(x2,y2)</box>`, `<box>[[x1, y1, x2, y2]]</box>`;
       `<ref>...</ref>` may stand in front
tool   `<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [x1, y1, x2, y2]}}
       </tool_call>`; among the arguments may be `label` and one of `image_index`, `img_idx`,
       `image_idx` (counted from 0) or `target_image` (counted from 1)

`lenient` reads the form it is set to and, if that gives nothing, the others in the order in which
they begin. It takes decimals, JSON anywhere in the text, a single object, bare numbers, `bbox` or
`box` for `bbox_2d`, every key for the image, any tool, arguments as a text, tags that do not close.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..images import Numbers
from . import InvalidReason, Refusal
from ._tags import TAGS, coordinates, loose_coordinates, tagged
from ._values import (
    INDEX_KEYS,
    MAX_TEXT,
    after_space,
    decode,
    gather,
    json_anywhere,
    json_lists,
    telling,
    written,
)
from .forms import FORMS, TOOL

PARSERS = ("strict", "lenient")

_KEYS = ("bbox_2d", "bbox", "box")
_CALL, _CALL_END = "<tool_call>", "</tool_call>"


@dataclass(frozen=True, slots=True)
class BoxAction:
    """A box as the agent wrote it."""

    numbers: Numbers
    """Left, top, right, bottom in the agent's dialect."""
    image_index: int | None = None
    """Which of the images shown so far, counted from 0; None: the reply names none."""
    label: str = ""


Found = BoxAction | Refusal


def parse(
    text: str,
    parser: str = "strict",
    dialect: str = "absolute",
    form: str = "json",
    limit: int = 1,
) -> tuple[Found, ...]:
    """Read the first `limit` boxes of a reply: at least one item, each an action or a refusal.

    Pure; raises nothing, whatever the text. `strict` gives one item for everything that is
    written like a box, `lenient` the boxes that can be read and a refusal only without any.

    >>> parse('Here: [{"bbox_2d": [125, 200, 250, 325], "label": "sign"}]')
    (BoxAction(numbers=(125, 200, 250, 325), image_index=None, label='sign'),)
    >>> parse("I cannot see it.")
    (Refusal(reason=<InvalidReason.NO_JSON: 'no_json'>, numbers=()),)
    """
    if not text.strip():
        return (Refusal(InvalidReason.EMPTY),)
    if len(text) > MAX_TEXT:
        return (Refusal(InvalidReason.TOO_LONG),)
    if parser == "lenient":
        return _parse_lenient(text, form, limit)
    found = tuple(islice(_read_strict(text, form, dialect != "relative_1"), limit))
    return found or (_nothing(form),)


def _nothing(form: str) -> Refusal:
    return Refusal(InvalidReason.NO_JSON if form == "json" else InvalidReason.NO_BOX)


# -- strict


def _read_strict(text: str, form: str, whole: bool) -> Iterator[Found]:
    items = {"json": json_lists, "tool": _tool_items}.get(form)
    keys = ("image_index",) if form == "json" else tuple(INDEX_KEYS)
    for item in items(text) if items else _tag_items(text, form):
        found = item if isinstance(item, Refusal) else _action(item, ("bbox_2d",), keys)
        if whole and isinstance(found, BoxAction) and _has_decimals(found):
            found = Refusal(InvalidReason.NOT_INTEGERS, found.numbers)
        yield found


def _tag_items(text: str, form: str) -> Iterator[dict[str, Any] | Refusal]:
    for box in tagged(text, TAGS[form]):
        if not box.closed:
            yield Refusal(InvalidReason.UNCLOSED)
            continue
        for numbers in coordinates(box.body, TAGS[form].lists):
            yield {"bbox_2d": numbers, "label": box.label}


def _tool_items(text: str) -> Iterator[Any]:
    for call, closed in _calls(text):
        if call is None:
            yield Refusal(InvalidReason.BAD_JSON)
        elif not closed:
            yield Refusal(InvalidReason.UNCLOSED)
        elif call.get("name") != TOOL:
            yield Refusal(InvalidReason.OTHER_TOOL)
        else:
            yield call.get("arguments")


def _has_decimals(action: BoxAction) -> bool:
    return any(isinstance(n, float) for n in action.numbers)


# -- lenient


def _parse_lenient(text: str, form: str, limit: int) -> tuple[Found, ...]:
    begins = {name: _begin(text, name) for name in FORMS if name != form}
    others = sorted((name for name in begins if begins[name] >= 0), key=begins.__getitem__)
    refusal: Refusal | None = None
    for name in (form, *others):
        actions, refused = gather(_read_lenient(text, name), limit)
        if actions:
            return actions
        refusal = telling(refusal, refused)
    return (refusal or _nothing(form),)


def _begin(text: str, form: str) -> int:
    """Where the first thing begins that may be a box of this form; -1 without one."""
    if form == "json":
        return min((at for at in (text.find("["), text.find("{")) if at >= 0), default=-1)
    return text.find(_CALL if form == "tool" else TAGS[form].opening)


def _read_lenient(text: str, form: str) -> Iterator[Found]:
    if form == "json":
        yield from json_anywhere(text, _boxes)
    elif form == "tool":
        for call, _ in _calls(text):
            yield from _boxes(_arguments(call))
    else:
        for box in tagged(text, TAGS[form]):
            yield from _tag_boxes(box.body, box.closed, box.label)


def _tag_boxes(body: str, closed: bool, label: str) -> Iterable[Found]:
    """The boxes between two tags as their form has them, or else the only one they can mean."""
    for candidates in (coordinates(body, lists=True), loose_coordinates(body, closed)):
        found = [_box({"bbox_2d": numbers, "label": label}) for numbers in candidates]
        if any(isinstance(one, BoxAction) for one in found):
            return found
    return found[:1]


def _arguments(call: dict[str, Any] | None) -> Any:
    """The arguments of a tool call, also when they are a text."""
    arguments = (call or {}).get("arguments")
    return decode(arguments)[0] if isinstance(arguments, str) else arguments


def _boxes(value: Any) -> list[Found]:
    """The boxes in an object, a list of objects, a list of numbers or a list of such lists."""
    if value is None:
        return [Refusal(InvalidReason.BAD_JSON)]
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return [_box(item) for item in value]
    return [_box(value)]


def _box(value: Any) -> Found:
    if isinstance(value, list) and value and all(isinstance(n, int | float) for n in value):
        value = {"bbox_2d": value}
    return _action(value, _KEYS, INDEX_KEYS)


# -- both


def _calls(text: str) -> Iterator[tuple[dict[str, Any] | None, bool]]:
    """The object in each tool call, None if it cannot be parsed, and whether the call closes."""
    at = text.find(_CALL)
    while at >= 0:
        value, end = decode(text, after_space(text, at + len(_CALL)))
        call = value if isinstance(value, dict) else None
        yield call, text.startswith(_CALL_END, after_space(text, end))
        at = text.find(_CALL, end)


def _action(item: Any, keys: Iterable[str], index_keys: Iterable[str]) -> Found:
    """The box under the first of these keys in an item."""
    found = written(item, keys, 4, index_keys, InvalidReason.NO_BOX)
    if isinstance(found, Refusal):
        return found
    (x1, y1, x2, y2), index, label = found
    return BoxAction((x1, y1, x2, y2), index, label)
