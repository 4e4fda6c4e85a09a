r"""Answers in replies: which part of a text is the final answer.

In this order: special tokens go; what stands after the last `</think>`; the last complete
`<answer>`; else the last `\boxed{}`; else what follows the last final-answer phrase ("the answer
is", "答案是") that is not negated; else the whole text when it is short. Nothing is ever guessed
from the middle of a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from . import InvalidReason, Refusal
from ._values import clean_text

MAX_TEXT = 65_536
"""Characters that are read, from the end of a reply."""
MAX_WHOLE = 64
"""A text of at most this many characters may be an answer as a whole."""


class Source(StrEnum):
    """Where an answer was found."""

    TAG = "tag"
    """Inside <answer> ... </answer>."""
    BOXED = "boxed"
    r"""Inside \boxed{ ... }."""
    PHRASE = "phrase"
    """After a final-answer phrase."""
    WHOLE = "whole"
    """The whole text, which is short."""


@dataclass(frozen=True, slots=True)
class AnswerAction:
    """The final answer of a reply, as written, and where it was found."""

    text: str
    source: Source


_SPECIAL = re.compile(r"<\|[^|<>]{1,40}\|>|</?s>|<eos>")
_ANSWER = re.compile(r"<(/?)answer>", re.IGNORECASE)
_MARKDOWN = re.compile(r"[*_#`]")
_BRACES = re.compile(r"\\boxed\s*\{|\\[{}]|[{}]")
_COMMAND = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|boxed|fbox)\s*\{(.*)\}", re.DOTALL
)

_STRONG = re.compile(
    r"""\b(?:answer|choice|(?:correct|right|best)\ option)
          (?:\ *(?:\ (?:is|was|would\ be|should\ be|must\ be|will\ be)\b\ *:?|[:=])|\ *\n)
      | \bI(?:'d|'ll|\ would|\ will)?\ +(?:choose|pick|select|go\ with)\b\ *:?
      | 答案\ *(?:(?:应该|应当|应)\ *)?(?:是|为|选|:)
      | 选(?!项)择?\ *:?""",
    re.IGNORECASE | re.VERBOSE,
)
_WEAK = re.compile(r"(?i:\b(?:it|this|that)(?: is|'s) +(?:option +)?)(\(?[A-Z]\)?)[.!]?\s*$")
_NEGATED_SENTENCE = re.compile(r"(?:\bnot\b|n't\b|\bnever\b)[^.!?\n]*$", re.IGNORECASE)
_NEGATED_BEFORE = re.compile(
    r"(?:\bnot|n't|\bnever|\bno|不是|并非|不|别|勿)"
    r"\s*(?:(?:the|my|an?|final|correct|right|best)\s+)*$",
    re.IGNORECASE,
)
_NEGATED_AFTER = re.compile(r"\s*(?:not\b|never\b|neither\b|不|并非)", re.IGNORECASE)


def parse(text: str) -> AnswerAction | Refusal:
    r"""Find the final answer of a reply. Pure; raises nothing, linear in the text's length.

    >>> parse(r"Between A and C ... so \boxed{C}.")
    AnswerAction(text='C', source=<Source.BOXED: 'boxed'>)
    >>> parse("")
    Refusal(reason=<InvalidReason.EMPTY: 'empty'>, numbers=())
    """
    text = _final_part(text[-MAX_TEXT:])
    if not text.strip():
        return Refusal(InvalidReason.EMPTY)
    if (tagged := _last_tagged(text)) is not None:
        return _filled(tagged, Source.TAG)
    if (boxed := _last_boxed(text)) is not None:
        return _filled(boxed, Source.BOXED)
    plain = _MARKDOWN.sub("", text)
    if (rest := after_phrase(plain)) is not None:
        return _filled(rest, Source.PHRASE)
    if len(text.strip()) <= MAX_WHOLE:
        return _filled(text, Source.WHOLE)
    return Refusal(InvalidReason.NO_ANSWER)


def is_explicit(text: str) -> bool:
    r"""Does a reply hold a complete `<answer>` or `\boxed{}` with content, after its reasoning?

    True exactly when `parse` takes the answer from one of them.

    >>> is_explicit(r"So it is \boxed{C}."), is_explicit("The answer is C.")
    (True, False)
    """
    action = parse(text)
    return isinstance(action, AnswerAction) and action.source in (Source.TAG, Source.BOXED)


def after_phrase(text: str) -> str | None:
    """The line that follows the last final-answer phrase which is not negated, or None."""
    for match in reversed(deque(_STRONG.finditer(text), maxlen=50)):
        rest = text[match.end() :].lstrip()
        negated = _NEGATED_BEFORE.search(text, max(match.start() - 40, 0), match.start())
        if rest and not negated and not _NEGATED_AFTER.match(rest):
            return rest.split("\n", 1)[0]
    weak = _WEAK.search(text, max(len(text) - 80, 0))
    if weak and not _NEGATED_SENTENCE.search(text, max(weak.start() - 80, 0), weak.start()):
        return weak.group(1)
    return None


def unwrap(text: str) -> str:
    r"""Text without LaTeX around it: `\text{(B)}` -> `(B)`, `50\%` -> `50%`."""
    for _ in range(8):
        text = text.strip()
        if len(text) > 1 and text[0] == text[-1] == "$":
            text = text[1:-1]
        elif command := _COMMAND.fullmatch(text):
            text = command.group(1)
        else:
            break
    return re.sub(r"\\([%$#&])", r"\1", text.replace("{,}", ",")).strip()


def _filled(text: str, source: Source) -> AnswerAction | Refusal:
    text = clean_text(unwrap(text))
    return AnswerAction(text, source) if text else Refusal(InvalidReason.NO_ANSWER)


def _final_part(text: str) -> str:
    """Without special tokens and reasoning; reasoning that never ends holds no answer."""
    text = unicodedata.normalize("NFKC", _SPECIAL.sub("", text))
    text = re.split(r"</think>", text, flags=re.IGNORECASE)[-1]
    return re.split(r"<think>", text, maxsplit=1, flags=re.IGNORECASE)[0]


def _last_tagged(text: str) -> str | None:
    """What stands in the last <answer> that is closed, in one pass; or None."""
    last, start = None, -1
    for match in _ANSWER.finditer(text):
        if not match.group(1):
            start = match.end()
        elif start >= 0:
            last, start = text[start : match.start()], -1
    return last


def _last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{}` whose braces are balanced, in one pass; or None."""
    last: tuple[int, int] | None = None
    opened: list[tuple[bool, int]] = []  # is it a \boxed, where its content starts
    for match in _BRACES.finditer(text):
        token = match.group()
        if token.startswith("\\boxed") or token == "{":
            opened.append((token != "{", match.end()))
        elif token == "}" and opened:
            boxed, start = opened.pop()
            if boxed:
                last = start, match.start()
    return text[last[0] : last[1]] if last else None
