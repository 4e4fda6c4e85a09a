"""What an agent's text may mean: one file per kind of action.

Each kind has a pure `parse(text, ...)` that returns actions or `Refusal`s; it never raises on any
text, takes time linear in its length, and reads JSON with the json module alone. What a text asks
for in words has no effect: only the forms that the parsers know have a meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class InvalidReason(StrEnum):
    """Why a text holds no valid action; the value of `info["invalid_reason"]`."""

    EMPTY = "empty"
    """No text at all."""
    TOO_LONG = "too_long"
    """More characters than are ever read."""
    NO_JSON = "no_json"
    """No JSON of the expected form: a list of objects (strict), a list or an object (lenient)."""
    BAD_JSON = "bad_json"
    """Something begins like the expected JSON but cannot be parsed, or is nested too deeply."""
    NO_BOX = "no_box"
    """An item of the JSON has no `bbox_2d`; in the other forms, nothing opens a box."""
    UNCLOSED = "unclosed"
    """Strict parser: a tag or a tool call opens and does not close (within 1,024 characters for a
    tag)."""
    OTHER_TOOL = "other_tool"
    """Strict parser: a call of another tool than `image_zoom_in_tool`."""
    NO_POINT = "no_point"
    """Nothing that is written like a point."""
    NOT_FOUR_NUMBERS = "not_four_numbers"
    """`bbox_2d`, or what stands between the tags, is not exactly four numbers."""
    NOT_TWO_NUMBERS = "not_two_numbers"
    """`point_2d` is not a list of exactly two numbers, or a tag lacks an x or a y."""
    NOT_INTEGERS = "not_integers"
    """Strict parser, dialects that count in whole numbers: a number has a decimal point."""
    NOT_FINITE = "not_finite"
    """A number is too large, infinite or not a number."""
    NO_SUCH_IMAGE = "no_such_image"
    """The image index is no index of an image shown so far."""
    INVERTED = "inverted"
    """x1 < x2 and y1 < y2 do not hold, as written or of the part inside the image (an empty box
    counts as inverted)."""
    OUTSIDE = "outside"
    """A corner or a point lies outside the image the agent saw."""
    TOO_SMALL = "too_small"
    """A side is not longer than the smallest side allowed, in seen pixels."""
    TOO_THIN = "too_thin"
    """The aspect ratio is the largest allowed (100 by default) or more."""
    NO_ANSWER = "no_answer"
    """No answer can be told from the rest of the text."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A text, or an item in it, that is no valid action."""

    reason: InvalidReason
    numbers: tuple[float, ...] = ()
    """The numbers, in the agent's dialect, when they could be read."""
