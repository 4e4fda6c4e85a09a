"""How a configuration speaks to people: errors that propose, and the table of `--help`."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined


def explain(
    error: Exception, at: str, keys: Sequence[str], source: str, overridden: Sequence[str]
) -> str:
    """One line per fault: where the value came from, its key, what was got, what was expected.

    `at` is the section that was checked (empty: the whole file), `keys` all dotted keys that
    exist there; `overridden` are dotted keys that came from the command line.
    """

    def origin(key: str) -> str:
        return "command line" if any(f"{key}.".startswith(f"{o}.") for o in overridden) else source

    if not isinstance(error, ValidationError):
        return f"{origin(at)}: {at}: {error}"
    lines = []
    for fault in error.errors():
        key = ".".join([at] * bool(at) + [str(part) for part in fault["loc"]])
        lines.append(f"{origin(key)}: {key}: {_fault(fault, key, keys)}")
    return "\n".join(lines)


def _fault(fault: Mapping[str, Any], key: str, keys: Sequence[str]) -> str:
    if fault["type"] == "extra_forbidden":
        return f"unknown key, did you mean {closest(key, keys)!r}?"
    if fault["type"] == "missing":
        return "got nothing, expected a value"
    expected = fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"got {fault['input']!r}, expected {expected}"


def closest(key: str, keys: Sequence[str]) -> str:
    """The existing key most like `key`, by its whole dotted name or by its last part."""

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, key, candidate).ratio()
        got, known = (name.rsplit(".", 1)[-1] for name in (key, candidate))
        return max(whole, difflib.SequenceMatcher(None, got, known).ratio()) + whole / 100

    return max(keys, key=likeness, default="")


def field_table(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(dotted key, default, meaning) of every field of a section and the sections in it."""
    for name, field in section.model_fields.items():
        if inner := _section_of(field.annotation):
            yield from field_table(inner, f"{prefix}{name}.")
        else:
            default = "" if field.default is PydanticUndefined else repr(field.default)
            yield prefix + name, default, " ".join((field.description or "").split())


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section class in `Section` or `Section | None`; None for a plain field."""
    for part in (annotation, *getattr(annotation, "__args__", ())):
        if inspect.isclass(part) and issubclass(part, BaseModel):
            return part
    return None


def format_table(rows: Sequence[tuple[str, str, str]]) -> str:
    """Aligned lines `--key default  meaning`."""
    keys, defaults = (max(len(row[n]) for row in rows) for n in (0, 1))
    lines = (f"  --{key:<{keys}}  {value:<{defaults}}  {text}" for key, value, text in rows)
    return "\n".join(line.rstrip() for line in lines)


def argument_docs(documented: Any) -> dict[str, str]:
    """Name -> meaning, from the rows "| `name`, `other` | default | meaning |" of a docstring."""
    found = {}
    for line in (inspect.getdoc(documented) or "").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3:
            meaning = re.sub(r"[`\\\\]", "", cells[2])
            found.update(dict.fromkeys(re.findall(r"`(\w+)`", cells[0]), meaning))
    return found
