"""The file name is the registry: `resolve("hrvision_env.datasets", "jsonl", "load")`."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from typing import Any


def available(package: str) -> list[str]:
    """The names of the plug-ins of a package: its public modules and sub-packages."""
    path = importlib.import_module(package).__path__
    return sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_"))


def resolve(package: str, name: str, attribute: str) -> Any:
    """Find a plug-in by file name, or by import path as `my_pkg.my_module:name`.

    Raises ValueError, with the closest names, for a name that does not exist. An ImportError
    from inside the plug-in is passed on as it is: it is the plug-in's own fault.
    """
    if not isinstance(name, str):
        raise ValueError(f"{package}: got {name!r}, expected the name of a file as a str")
    if ":" in name:
        module_name, attribute = name.split(":", 1)
    elif name in (names := available(package)):
        module_name = f"{package}.{name}"
    else:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"{package}: got {name!r}, expected one of {', '.join(names)} "
            f"or an import path 'my_pkg.my_module:name'{hint}"
        )
    module = importlib.import_module(module_name)
    if not hasattr(module, attribute):
        raise ValueError(f"{module_name}: has no attribute {attribute!r}")
    return getattr(module, attribute)
