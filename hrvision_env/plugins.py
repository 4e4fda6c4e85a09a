"""The file name is the registry: `resolve("hrvision_env.datasets", "jsonl", "load")`."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
from typing import Any


def available(package: str) -> list[str]:
    """The names of the plug-ins of a package: its public modules and sub-packages."""
    path = importlib.import_module(package).__path__
    return sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_"))


def resolve(package: str, name: str, attribute: str, *, call: bool = True) -> Any:
    """Find a plug-in by file name, or by import path as `my_pkg.my_module:name`.

    Raises ValueError, with the closest names, for a name that does not exist, and unless `call` is
    False for something that cannot be called. An ImportError from inside the plug-in is passed on
    as it is: it is the plug-in's own fault.
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
    found = getattr(_module(package, name, module_name), attribute, None)
    if found is None or (call and not callable(found)):
        public = [key for key in vars(sys.modules[module_name]) if not key.startswith("_")]
        close = difflib.get_close_matches(attribute, public, n=1)
        hint = f", did you mean {close[0]!r}?" if close and found is None else ""
        what = "has no" if found is None else f"got {found!r}, expected a callable"
        raise ValueError(f"{module_name}: {what} attribute {attribute!r}{hint}")
    return found


def _module(package: str, name: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that the plug-in imports and that is missing is the plug-in's own fault.
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(
                f"{package}: got {name!r}, expected 'my_pkg.my_module:name': there is no module "
                f"{error.name!r}"
            ) from error
        raise
    except ValueError as error:
        raise ValueError(f"{package}: got {name!r}, expected 'my_pkg.my_module:name'") from error
