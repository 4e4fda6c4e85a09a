"""Which option an answer names. Never the first capital letter of a text."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..actions.answer import after_phrase
from . import Reason
from ._text import clean, find, normalise

Options = Mapping[str, str]
Choice = str | Reason
"""A letter, or why there is none."""
MAX_LENGTH = 2_000
"""Characters; a longer text names no option."""

# A letter that follows a final-answer phrase, and what comes after it.
_AFTER_PHRASE = re.compile(
    r"""[\s"'“‘(\[{<:-]{0,6}(?:(?:(?:option|choice|letter)\b|选项)[\s"'“‘(\[{]{0,6})?
        ([A-Za-z])(?![A-Za-z0-9'’]|-[A-Za-z])(.*)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_END_OF_LETTER = re.compile(r"\s*(?:$|[.,;:!?)\]}\"'”’。，、])")
_AND_ANOTHER = re.compile(
    r"[\s)\]}\"'”’]*(?:\bor\b|\band\b|[/,&、]|或|和)\s*[(\[]?([A-Z])(?![A-Za-z])"
)
# "A" and "I" are words as well; these go on after a letter, not after an article.
_GOES_ON = re.compile(r"\s+(?:because|since|as|due|given|based|for|is|with|from|in|which|where)\b")
_WORD = re.compile(r"\s+[a-z]")

# A text that begins with a letter: "B", "b)", "(B) cotton", "B: cotton", "B because ...".
_LEADING = re.compile(r"[(\[{]?([A-Za-z])([)\]}]?[.:、]?)(.*)", re.DOTALL)
_DENIED = re.compile(
    r"\s*(?:(?:is|was|can|could|would)(?:n['’]t\b|\s+not\b)|(?:is|was)\s+(?:never|wrong|incorrect)\b"
    r"|cannot\b|can['’]t\b|不)",
    re.IGNORECASE,
)
_CAPITAL = re.compile(r"(?<![A-Za-z'’])([A-Z])(?![A-Za-z'’])")
# In normalised text, which has no apostrophes.
_NEGATION = re.compile(
    r"(?:\b(?:not|no|never|neither|nor|isnt|wasnt|arent|doesnt|didnt|cant|cannot|wont)(?: \w+)? ?"
    r"|(?:并非|不)\w{0,2})$"
)


def choose(answer: str, options: Options) -> Choice:
    """The letter of the option that an extracted answer names.

    >>> options = {"A": "rubber", "B": "cotton"}
    >>> choose("Definitely cotton", options), choose("A or B", options)
    ('B', <Reason.AMBIGUOUS: 'ambiguous'>)
    """
    if len(answer) > MAX_LENGTH:
        return Reason.NO_ANSWER
    if (rest := after_phrase(answer)) is not None:
        return after(rest, options)
    return _plain(answer, options)


def after(rest: str, options: Options) -> Choice:
    """The option named by a text that follows "the answer is": a letter there decides."""
    rest = rest[:MAX_LENGTH]
    match = _AFTER_PHRASE.match(rest)
    if match is None:
        return _plain(rest, options)
    letter, tail = match.group(1).upper(), match.group(2)
    if match.group(1).islower() and not _END_OF_LETTER.match(tail):
        return _plain(rest, options)
    if _WORD.match(tail) and not _GOES_ON.match(tail):
        article = letter in "AI" and letter not in _named(normalise(tail), options)
        if article or letter not in options:
            return _plain(rest, options)
    if letter not in options:
        return Reason.NOT_AN_OPTION
    another = _AND_ANOTHER.match(tail)
    if another and another.group(1) != letter and another.group(1) in options:
        return Reason.AMBIGUOUS
    return letter


def _plain(answer: str, options: Options) -> Choice:
    """The option named by a text without a phrase."""
    text = clean(answer)
    if not text:
        return Reason.NO_ANSWER
    if len(text) == 1 and text.isalpha() and text.isascii():
        return text.upper() if text.upper() in options else Reason.NOT_AN_OPTION
    plain = normalise(answer)
    equal = [letter for letter, option in options.items() if normalise(option) == plain]
    if len(equal) == 1:
        return equal[0]
    if (choice := _leading(text, options)) is not None:
        return choice
    if len(set(_CAPITAL.findall(text)) & set(options)) > 1:
        return Reason.AMBIGUOUS
    return _by_text(plain, options)


def _leading(text: str, options: Options) -> Choice | None:
    """The choice of a text that begins with a letter; None when the letter is just a word."""
    match = _LEADING.fullmatch(text)
    if match is None:
        return None
    raw, mark, rest = match.groups()
    letter = raw.upper()
    if rest and not (rest[0].isspace() or (mark and mark != ".")):
        return None
    if letter not in options:
        return Reason.NOT_AN_OPTION if mark else None
    if raw.islower() and not mark:
        return None
    if _DENIED.match(rest):
        return Reason.NO_ANSWER
    named = _named(normalise(rest), options)
    if letter in named:
        return letter
    if not mark and letter in "AI":
        return None
    if named:
        return Reason.AMBIGUOUS
    others = set(_CAPITAL.findall(rest)) & set(options) - {letter}
    return Reason.AMBIGUOUS if others else letter


def _by_text(plain: str, options: Options) -> Choice:
    """By the text of one option: contained in the answer, or the answer in it."""
    named = _named(plain, options)
    if not named:
        named = {key for key, option in options.items() if find(plain, normalise(option))}
    if len(named) == 1:
        return named.pop()
    return Reason.AMBIGUOUS if named else Reason.NO_ANSWER


def _named(plain: str, options: Options) -> set[str]:
    """The letters of the options whose texts occur in a normalised text and are not negated.

    The longest texts are looked for first and taken out: "dark red" does not name "red".
    """
    letters: dict[str, set[str]] = {}
    for letter, option in options.items():
        letters.setdefault(normalise(option), set()).add(letter)
    found: set[str] = set()
    for text in sorted(letters, key=len, reverse=True):
        for start, end in find(text, plain):
            if not _NEGATION.search(plain[max(start - 24, 0) : start]):
                found |= letters[text]
            plain = plain[:start] + "\0" * (end - start) + plain[end:]
    return found
