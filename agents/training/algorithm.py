"""`Algorithm`: what makes an algorithm, as data. The packages `agents/NAME` export one each."""

from __future__ import annotations

import difflib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hrvision_env.plugins import resolve

from .advantages import GroupScores, centred, standardised
from .losses import LossInputs, LossOutputs


class Options(BaseModel):
    """The numbers of a policy-gradient algorithm; a preset is a set of them.

    An algorithm that needs more of them has a subclass of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    normalise_std: bool = True
    """divide the advantage by the group's standard deviation"""
    std_eps: Annotated[float, Field(ge=0)] = 1e-6
    """added to that standard deviation"""
    aggregation: Literal["trajectory", "token", "budget", "sum"] = "trajectory"
    """trajectory: mean over an episode's tokens (of all its trajectories), then over episodes;
    token: mean over all tokens; sum: sum over an episode's tokens, mean over episodes; budget: that
    divided by the tokens that an episode may sample at most"""
    clip: Annotated[float, Field(gt=0)] = 0.2
    """ratio clip: 1 - clip .. 1 + clip"""
    clip_high: Annotated[float, Field(gt=0)] | None = None
    """upper ratio clip: 1 + clip_high; null: 1 + clip"""
    kl: Annotated[float, Field(ge=0)] = 0.0
    """weight of the KL to the frozen first policy"""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """how that KL is estimated from the sampled tokens; see agents/training/divergence.py"""
    entropy: Annotated[float, Field(ge=0)] = 0.0
    """weight of the entropy bonus"""
    drop_zero_variance: bool = False
    """leave groups whose siblings all got the same reward (and the same for each turn, where turns
    are credited) out of the loss and of the counts that it divides by: with three such groups of
    four the gradient is four times as large; false: they count, as in most papers' equations, and
    are computed only where a KL or entropy term has a weight"""
    over_turn_loss: bool = True
    """train on episodes that used up their turns without an answer"""
    over_turn_mean: bool = True
    """let their rewards enter the mean and standard deviation that others are compared with: of
    the group, and of the step where an algorithm normalises over it"""

    @property
    def upper(self) -> float:
        """How far above 1 the ratio may be."""
        return self.clip if self.clip_high is None else self.clip_high


def group_advantage(scores: GroupScores, options: Options) -> Tensor:
    """[G]: `standardised` or `centred`, as the options say."""
    if options.normalise_std:
        return standardised(scores.rewards, options.std_eps, scores.compared)
    return centred(scores.rewards, scores.compared)


@dataclass(frozen=True)
class Algorithm:
    """One row of the table of algorithms: dialogue, advantage, loss and defaults.

    `Any` stands for the algorithm's own `Options`.
    """

    name: str
    dialogue: str
    """The environment's dialogue that it is meant for; a config may choose another one."""
    advantage: Callable[[GroupScores, Any], Tensor]
    """Scores of a group -> [G], or [G, K]: one for each reply of the K of the longest episode."""
    loss: Callable[[LossInputs, Any], LossOutputs]
    presets: Mapping[str, Options]
    """Named defaults; the first one counts when a config names none."""
    step_scale: Callable[[Tensor, Tensor, Any], tuple[float, float]] | None = None
    """For what needs the whole step: (advantages [N], tokens that each one is of [N], of every
    group and process) -> (shift, scale), and every advantage becomes (A - shift) / scale."""
    old_policy: Literal["sampler", "trainer"] = "sampler"
    """Whose log-probs before the step's first update the ratio starts from: the sampler's own, or
    the trainer's, for bounds that are narrower than the rounding between the two. With
    `optim.importance` they are the trainer's anyway."""
    one_update: bool = False
    """Exact for one update per rollout only (`optim.minibatches` 1): the loss has no ratio."""
    zero_without_advantage: bool = True
    """Without advantage, KL and entropy the loss has no gradient, so that groups whose advantages
    are all 0 are counted and not computed. False for a loss with a term of its own."""


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
    """The names of the packages and modules under `agents` that export an `ALGORITHM`."""
    import agents

    found = [m.name for m in pkgutil.iter_modules(agents.__path__) if m.ispkg or _assigns(m.name)]
    return sorted(n for n in found if hasattr(import_module(f"agents.{n}"), "ALGORITHM"))


def _assigns(name: str) -> bool:
    """Whether a module's text says so: the others, programs among them, are not imported."""
    spec = find_spec(f"agents.{name}")
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return False
    return (
        re.search(r"^ALGORITHM\b", Path(spec.origin).read_text("utf-8"), re.MULTILINE) is not None
    )
