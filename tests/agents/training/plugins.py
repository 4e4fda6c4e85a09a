"""Plug-ins that tests name by import path: a grader with a learnable reward, a broken loss."""

from __future__ import annotations

from agents.training.algorithm import Algorithm, Options, get_algorithm
from agents.training.losses import LossInputs, LossOutputs
from hrvision_env.grading import Verdict
from hrvision_env.records import Sample


def early_letters(sample: Sample, text: str) -> Verdict:
    """Right when the reply begins with a character below `P`: about half of random bytes."""
    correct = text[:1] < "P"
    return Verdict(correct, float(correct), text[:1] or "nothing", "match")


def never(sample: Sample, text: str) -> Verdict:
    """Wrong, whatever the reply: every group is constant."""
    return Verdict(False, 0.0, text, "match")


def _broken(inputs: LossInputs, options: Options) -> LossOutputs:
    return LossOutputs((inputs.logprobs * float("nan")).sum(), {})


_MGPO = get_algorithm("mgpo")
BROKEN = Algorithm(
    "broken", "mgpo", _MGPO.advantage, _broken, _MGPO.presets, zero_without_advantage=False
)


def _sometimes_infinite(inputs: LossInputs, options: Options) -> LossOutputs:
    """For about every third micro-batch, by what was sampled; the gradient stays finite."""
    out = _MGPO.loss(inputs, options)
    bad = int(-float(inputs.old_logprobs.sum())) % 3 == 0
    return LossOutputs(out.loss + float("inf"), out.sums) if bad else out


SOMETIMES = Algorithm(
    "sometimes",
    "mgpo",
    _MGPO.advantage,
    _sometimes_infinite,
    _MGPO.presets,
    zero_without_advantage=False,
)
