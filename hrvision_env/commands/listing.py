"""`list`: everything that can be named in `gymnasium.make`, with a line each."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Iterator

import gymnasium as gym

from ..actions.forms import FORMS
from ..crops import CROPS
from ..dialogues import WORDS
from ..grading import grader_names
from ..images import DIALECTS
from ..plugins import available, resolve

Rows = list[tuple[str, str]]

PLUGINS = {
    "dialogues": ("dialogue=", "hrvision_env.dialogues"),
    "datasets": ("dataset=", "hrvision_env.datasets"),
}


def listing() -> Iterator[str]:
    """The lines that `list` prints."""
    sections: dict[str, Rows] = {"environments": environments()}
    for title, (argument, package) in PLUGINS.items():
        sections[f"{title} ({argument})"] = plugins(package)
    sections["graders (grader=)"] = graders()
    sections["dialects (box_dialect=)"] = [(name, WORDS["en"].frames[name]) for name in DIALECTS]
    forms = [(name, " ".join(form.example.split())) for name, form in FORMS.items()]
    sections["box forms (box_form=)"] = forms
    sections["crops (crop=)"] = list(CROPS.items())
    width = max(len(name) for rows in sections.values() for name, _ in rows)
    for title, rows in sections.items():
        yield title
        for name, text in rows:
            yield f"  {name:<{width}}  {text}"
        yield ""
    yield "Plug-ins of your own are named by import path: my_pkg.my_module:name"


def page(name: str) -> str:
    """All that a plug-in says of itself: forms of files, rules, options.

    Raises ValueError, with the closest names, for a name that is in none of the lists.
    """
    modules = {
        name: f"{package}.{name}" for _, package in PLUGINS.values() for name in available(package)
    }
    for grader in grader_names():
        place = grader.replace("official:", "official.")
        modules.setdefault(grader, f"hrvision_env.grading.{place}")
    if name not in modules:
        close = difflib.get_close_matches(name, modules, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"got {name!r}, expected a dialogue, a dataset or a grader{hint}")
    module = importlib.import_module(modules[name])
    parts = [f"{name}\n", inspect.getdoc(module) or ""]
    if (load := getattr(module, "load", None)) is not None:
        parts += [f"\nload{inspect.signature(load)}\n", inspect.getdoc(load) or ""]
    return "\n".join(parts)


def environments() -> Rows:
    """Ids of the registered environments of this package."""
    rows = []
    for spec in gym.registry.values():
        entry = spec.entry_point
        if isinstance(entry, str) and entry.startswith("hrvision_env"):
            module, _, name = entry.partition(":")
            rows.append(
                (spec.id, first_sentence(resolve("hrvision_env", f"{module}:{name}", name)))
            )
    return sorted(rows)


def plugins(package: str) -> Rows:
    """Names of the plug-ins of a package. One that cannot be imported says why."""
    rows = []
    for name in available(package):
        try:
            text = first_sentence(importlib.import_module(f"{package}.{name}"))
        except Exception as error:  # somebody's own file in there may be broken
            text = f"cannot be imported: {type(error).__name__}: {error}"
        rows.append((name, text))
    return rows


def graders() -> Rows:
    """Names of the graders, the benchmarks' own rules among them."""
    package = "hrvision_env.grading"
    rows = dict(plugins(package)) | {
        f"official:{name}": text for name, text in plugins(f"{package}.official")
    }
    return [(name, rows[name]) for name in grader_names()]


def first_sentence(thing: object) -> str:
    """The beginning of a docstring, in one line."""
    paragraph = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[^.]\.)\s", paragraph)[0]
