"""What breaks on the second process alone."""

import os
from typing import Any

from agents.training.algorithm import Algorithm, Options, get_algorithm
from agents.training.losses import LossInputs, LossOutputs
from tests.agents.training.plugins import early_letters

_MGPO = get_algorithm("mgpo")


def _second() -> bool:
    return os.environ.get("RANK") == "1"


def _loss(inputs: LossInputs, options: Options) -> LossOutputs:
    if _second():
        raise ValueError("the loss is out of order")
    return _MGPO.loss(inputs, options)


BROKEN = Algorithm(
    "broken", "mgpo", _MGPO.advantage, _loss, _MGPO.presets, zero_without_advantage=False
)


def __getattr__(name: str) -> Any:
    """`grader`, which the second process cannot open."""
    if name != "grader":
        raise AttributeError(name)
    if _second():
        raise ValueError("the grader is out of order")
    return early_letters
