"""Checks of what users pass in. Errors say what, what it got, and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

RESET_OPTIONS = ("index", "question_id", "dataset", "split")


def check_int(name: str, value: Any, least: int = 1) -> None:
    """Raise ValueError unless the value is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}: got {value!r}, expected a whole number of at least {least}")


def check_pixels(factor: int, min_pixels: int, max_pixels: int) -> None:
    """Raise ValueError unless one image of some size fits the pixel budget."""
    check_int("factor", factor)
    check_int("min_pixels", min_pixels)
    check_int("max_pixels", max_pixels)
    if max_pixels < min_pixels or max_pixels < factor**2:
        raise ValueError(
            f"max_pixels: got {max_pixels}, expected at least min_pixels ({min_pixels}) and at "
            f"least factor squared ({factor**2})"
        )


def check_arguments(
    max_turns: Any, show_options: Any, crop_margin: Any, expose_target: Any, image_cache_mb: Any
) -> None:
    """Raise ValueError for arguments of the environment that no other part checks."""
    check_int("max_turns", 1 if max_turns is None else max_turns)
    if show_options is not None and not isinstance(show_options, bool):
        raise ValueError(f"show_options: got {show_options!r}, expected None, True or False")
    if not isinstance(expose_target, bool):
        raise ValueError(f"expose_target: got {expose_target!r}, expected True or False")
    number = isinstance(crop_margin, int | float) and not isinstance(crop_margin, bool)
    if not number or not 0 <= crop_margin <= 10:
        raise ValueError(f"crop_margin: got {crop_margin!r}, expected a number from 0 to 10")
    check_int("image_cache_mb", image_cache_mb)


def check_render_mode(mode: Any, modes: Sequence[str]) -> None:
    """Raise ValueError for a render mode that does not exist."""
    if mode is not None and mode not in modes:
        raise ValueError(f"render_mode: got {mode!r}, expected None or one of {', '.join(modes)}")


def check_options(options: Any) -> Mapping[str, Any]:
    """The options of `reset`. Raises ValueError for an unknown one, with the closest name."""
    if not isinstance(options, Mapping):
        raise ValueError(f"reset options: got {options!r}, expected a dict or None")
    for name in options:
        if name not in RESET_OPTIONS:
            close = difflib.get_close_matches(str(name), RESET_OPTIONS, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            legal = ", ".join(RESET_OPTIONS)
            raise ValueError(f"reset options: got {name!r}, expected one of {legal}{hint}")
    if "index" in options and "question_id" in options:
        raise ValueError("reset options: got both 'index' and 'question_id', expected one of them")
    if "index" in options:
        check_int("reset options: 'index'", options["index"], least=0)
    for name in ("question_id", "dataset", "split"):
        if not isinstance(options.get(name, ""), str):
            raise ValueError(f"reset options: {name!r}: got {options[name]!r}, expected a str")
    return options
