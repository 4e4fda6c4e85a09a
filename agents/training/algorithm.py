"""`Algorithm`: what makes an algorithm, as data. The packages `agents/NAME` export one each."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hrvision_env.plugins import resolve

from .advantages import centred, standardised
from .losses import LossInputs, LossOutputs


class Options(BaseModel):
    """The numbers of a policy-gradient algorithm; a preset is a set of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    normalise_std: bool = True
    """divide the advantage by the group's standard deviation"""
    std_eps: Annotated[float, Field(ge=0)] = 1e-6
    """added to that standard deviation"""
    aggregation: Literal["trajectory", "token"] = "trajectory"
    """mean over a trajectory's tokens, then over trajectories; or over all tokens"""
    clip: Annotated[float, Field(gt=0)] = 0.2
    """ratio clip: 1 - clip .. 1 + clip"""
    kl: Annotated[float, Field(ge=0)] = 0.0
    """weight of the KL (k3) to the frozen first policy"""
    entropy: Annotated[float, Field(ge=0)] = 0.0
    """weight of the entropy bonus"""
    drop_zero_variance: bool = True
    """leave out groups whose siblings all got the same reward"""


def group_advantage(rewards: Tensor, options: Options) -> Tensor:
    """Rewards [G] -> advantages [G]: `standardised` or `centred`, as the options say."""
    if options.normalise_std:
        return standardised(rewards, options.std_eps)
    return centred(rewards)


@dataclass(frozen=True)
class Algorithm:
    """One row of the table of algorithms: dialogue, advantage, loss and defaults."""

    name: str
    dialogue: str
    """The environment's dialogue that it is meant for; a config may choose another one."""
    advantage: Callable[[Tensor, Options], Tensor]
    """Rewards [G] -> advantages [G]."""
    loss: Callable[[LossInputs, Options], LossOutputs]
    presets: Mapping[str, Options]
    """Named defaults; the first one counts when a config names none."""


def get_algorithm(name: str) -> Algorithm:
    """The algorithm of `agents/NAME`, or of an import path `my_pkg.my_module:ALGORITHM`.

    Raises ValueError, with the closest name, for one that does not exist.
    """
    if ":" not in name and name not in (names := algorithms()):
        close = difflib.get_close_matches(name, names, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"algorithm: got {name!r}, expected one of {', '.join(names)} "
            f"or an import path 'my_pkg.my_module:ALGORITHM'{hint}"
        )
    found = resolve("agents", name, "ALGORITHM", call=False)
    if not isinstance(found, Algorithm):
        raise ValueError(f"algorithm {name!r}: got {type(found).__name__}, expected an Algorithm")
    return found


def algorithms() -> list[str]:
    """The names of the packages beside this one that export an `ALGORITHM`."""
    import agents

    packages = [m.name for m in pkgutil.iter_modules(agents.__path__) if m.ispkg]
    return sorted(n for n in packages if hasattr(import_module(f"agents.{n}"), "ALGORITHM"))
