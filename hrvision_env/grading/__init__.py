"""Graders: one file per grader, each with `grade(sample, text) -> Verdict`.

A grader gets the final assistant turn alone, never a text that holds the user's templates (which
name `\\boxed{}` themselves).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..plugins import resolve
from ..records import Sample


class Reason(StrEnum):
    """What decided a verdict; the value of `Verdict.reason`."""

    MATCH = "match"
    """The answer is right."""
    MISMATCH = "mismatch"
    """There is an answer, and it is wrong."""
    NO_ANSWER = "no_answer"
    """No answer could be told from the text."""
    AMBIGUOUS = "ambiguous"
    """Several options are named and none is singled out."""
    NOT_AN_OPTION = "not_an_option"
    """A letter that the question does not offer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a grader made of one reply."""

    correct: bool
    score: float
    """0..1; the reward."""
    extracted: str
    """The answer that was graded, a letter for choices; empty when there was none to be told."""
    reason: str
    """A value of `Reason`; graders of other packages may have reasons of their own."""

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"Verdict: score: got {self.score!r}, expected 0 to 1")
        if not isinstance(self.extracted, str):
            raise ValueError(f"Verdict: extracted: got {self.extracted!r}, expected a str")


Grader = Callable[[Sample, str], Verdict]


def grade(name: str, sample: Sample, text: str) -> Verdict:
    """Grade a final reply by the grader of that name, a file here or `my_pkg.my_module:function`.

    >>> sample = Sample("q", "Which?", images, ("B",), "choice", {"A": "rubber", "B": "cotton"})
    >>> grade("strict", sample, "Not rubber, so the answer is (B).")
    Verdict(correct=True, score=1.0, extracted='B', reason='match')

    Raises ValueError, with the closest names, for a grader that does not exist.
    """
    grader: Grader = resolve(__name__, name, "grade")
    return grader(sample, text)
