"""What an agent's text may mean: one file per kind of action.

Each file has a pure `parse(text, ...)` that returns an action or a `Refusal`; it never raises on
any text, and reads JSON with the json module alone.
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
    """The first item of the list has no `bbox_2d`."""
    NOT_FOUR_NUMBERS = "not_four_numbers"
    """`bbox_2d` is not a list of exactly four numbers."""
    NOT_INTEGERS = "not_integers"
    """Strict parser, dialects that count in whole numbers: a number has a decimal point."""
    NOT_FINITE = "not_finite"
    """A number is too large, infinite or not a number."""
    NO_SUCH_IMAGE = "no_such_image"
    """`image_index` is no index of an image of the sample."""
    INVERTED = "inverted"
    """x1 < x2 and y1 < y2 do not hold (an empty box counts as inverted)."""
    OUTSIDE = "outside"
    """A corner lies outside the image the agent saw."""
    TOO_SMALL = "too_small"
    """A side is not longer than the smallest side allowed, in seen pixels."""
    TOO_THIN = "too_thin"
    """The aspect ratio is 100 or more."""
    NO_ANSWER = "no_answer"
    """No answer can be told from the rest of the text."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A text that is no valid action."""

    reason: InvalidReason
    numbers: tuple[float, ...] = ()
    """The four numbers, in the agent's dialect, when they could be read."""
