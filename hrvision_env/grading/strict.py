"""The strict grader: what cannot be told for certain is wrong. Reward 1 or 0.

Finds the final answer (`actions/answer.py`), then compares. Choices: the letter, or the text of
exactly one option; an answer that names several is wrong. Short answers and numbers: equal to one
of the accepted answers after normalisation, or the same number with the same unit; no tolerance,
no substring, no guess.
"""

from __future__ import annotations

from ..actions import Refusal
from ..actions.answer import AnswerAction, Source, parse
from ..records import Sample
from . import Reason, Verdict
from ._choice import after, choose
from ._text import same


def grade(sample: Sample, text: str) -> Verdict:
    """Grade the final reply of an episode. Raises ValueError for box and points answers."""
    if sample.answer_kind not in ("choice", "short", "number"):
        raise ValueError(
            f"strict grader: sample {sample.id!r}: got answer_kind {sample.answer_kind!r}, "
            "expected choice, short or number"
        )
    answer = parse(text)
    if isinstance(answer, Refusal):
        return Verdict(False, 0.0, "", Reason.NO_ANSWER)
    if sample.answer_kind == "choice":
        return _grade_choice(sample, answer)
    return _grade_short(sample, answer)


def _grade_choice(sample: Sample, answer: AnswerAction) -> Verdict:
    options = sample.options or {}
    by_phrase = answer.source is Source.PHRASE
    choice = after(answer.text, options) if by_phrase else choose(answer.text, options)
    if isinstance(choice, Reason):
        return Verdict(False, 0.0, "", choice)
    return _verdict(choice == sample.answers[0], choice)


def _grade_short(sample: Sample, answer: AnswerAction) -> Verdict:
    candidates = [answer.text]
    if answer.source is Source.PHRASE:  # the line, or its first sentence
        candidates.append(answer.text.split(". ")[0].split("。")[0])
    for candidate in candidates:
        if any(same(candidate, gold) for gold in sample.answers):
            return _verdict(True, candidate)
    return _verdict(False, answer.text)


def _verdict(correct: bool, extracted: str) -> Verdict:
    reason = Reason.MATCH if correct else Reason.MISMATCH
    return Verdict(correct, float(correct), extracted, reason)
