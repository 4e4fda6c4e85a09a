"""The environment's section: its keys are the arguments of `HighResVQAEnv` and of the dataset."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from hrvision_env.datasets import options_of
from hrvision_env.env import HighResVQAEnv


def env_kwargs(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the environment's arguments and its dataset's options; fill in the defaults.

    Raises ValueError for an unknown dataset, pydantic's ValidationError for keys and types.
    """
    schema = env_schema(dataset_of(values))
    checked = schema.model_validate(values)
    given = {**dict(checked), **(checked.model_extra or {})}
    own = inspect.signature(HighResVQAEnv.__init__).parameters
    # Options of the dataset stay out when not given: their defaults are the loader's affair.
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in given.items()
        if name in own or name in values
    }


def env_schema(dataset: str) -> type[BaseModel]:
    """A pydantic model of `HighResVQAEnv`'s arguments and the options of a dataset's loader."""
    options, takes_any = options_of(dataset)
    fields: dict[str, Any] = {}
    own, hints = HighResVQAEnv.__init__, get_type_hints(HighResVQAEnv.__init__)
    for name, parameter in [*inspect.signature(own).parameters.items()][1:]:
        if parameter.kind is not parameter.VAR_KEYWORD:
            fields[name] = (hints.get(name, Any), parameter.default)
    for name, option in options.items():
        needed = option.default is inspect.Parameter.empty
        fields[name] = (option.type, ... if needed else option.default)
    extra: Literal["allow", "forbid"] = "allow" if takes_any else "forbid"
    settings = ConfigDict(extra=extra, arbitrary_types_allowed=True)
    return create_model("env", __config__=settings, **fields)


def env_defaults() -> dict[str, str]:
    """Name -> default, as text, of every argument of the environment itself."""
    own = [*inspect.signature(HighResVQAEnv.__init__).parameters.values()][1:]
    return {p.name: repr(p.default) for p in own if p.kind is not p.VAR_KEYWORD}


def env_fields(values: Mapping[str, Any], section: str) -> list[str]:
    """Dotted keys that a section of these values may have."""
    return [f"{section}.{name}" for name in env_schema(dataset_of(values)).model_fields]


def dataset_of(env: Mapping[str, Any]) -> str:
    """The dataset that is named, or the environment's default."""
    default = inspect.signature(HighResVQAEnv.__init__).parameters["dataset"].default
    return str(env.get("dataset", default))


def merge_env(env: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` over `env`; another dataset does not inherit the options of the first."""
    own = inspect.signature(HighResVQAEnv.__init__).parameters
    moved = changes.get("dataset", env.get("dataset")) != env.get("dataset")
    return {**{k: v for k, v in env.items() if k in own or not moved}, **changes}
