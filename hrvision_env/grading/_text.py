"""When two short texts are the same answer."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS = {"none": "0", **{word: str(value) for value, word in enumerate(_NUMBERS)}}

_MARKDOWN = re.compile(r"[*_#`]")
_AROUND = " \t\r\n\"'“”‘’«»「」『』()[]{}<>.,;:!?。、，；：！？"
_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LOOSE = re.compile(r"(?<!\d)[,;!?\"'’()]|[,;!?\"'’()](?!\d)|\.(?!\d)")
_ARTICLE = re.compile(r"^(?:a|an|the) (?=.)")
_QUANTITY = re.compile(r"([$€£¥]?)\s*([-+−]?)\s*(\d+(?:\.\d+)?|\.\d+)\s*(%|°?[^\W\d_]*)")


def clean(text: str) -> str:
    """NFKC, without markdown and without quotes, brackets and stops at the ends."""
    return _MARKDOWN.sub("", unicodedata.normalize("NFKC", text)).strip(_AROUND)


def normalise(text: str) -> str:
    """The form in which answers are compared.

    Lower case, single spaces, no leading article, number words up to ten as digits, no thousands
    commas, no punctuation that does not belong to a number. Signs, units, colons, hyphens and
    slashes stay: 10:45 is not 1045, and 5% is not 5.

    >>> normalise("**The St. Louis Cardinals, 1,234 fans!**")
    'st louis cardinals 1234 fans'
    """
    kept = _MARKDOWN.sub("", unicodedata.normalize("NFKC", text)).strip(_AROUND.replace(".", ""))
    text = _LOOSE.sub("", _COMMA.sub("", kept)).lower()
    words = [_WORDS.get(word, word) for word in text.split()]
    return _ARTICLE.sub("", " ".join(words))


def same(answer: str, gold: str) -> bool:
    """Equal after normalisation, or the same number with the same unit.

    >>> same("3.50 m", "3.5 m"), same("5%", "5"), same("10:45", "10:30"), same("three", "3")
    (True, False, False, True)
    """
    a, g = normalise(answer), normalise(gold)
    if a == g:
        return a != ""
    first, second = _quantity(a), _quantity(g)
    return first is not None and first == second


def _quantity(text: str) -> tuple[Decimal, str, str] | None:
    """Number, currency and unit, when that is all the text holds."""
    match = _QUANTITY.fullmatch(text[:64]) if len(text) <= 64 else None
    if match is None:
        return None
    currency, sign, digits, unit = match.groups()
    return Decimal(("-" if sign in ("-", "−") else "") + digits), currency, unit


def find(needle: str, text: str) -> list[tuple[int, int]]:
    """Where a normalised text occurs in another one, on word boundaries. Start and end, in order.

    A number is no part of a longer number: "1" is not found in "1.5" or "-1".
    """
    if not needle:
        return []
    before = after = ""
    if re.match(r"[0-9a-z\u00df-\u024f]", needle):
        before = r"(?<![0-9a-z\u00df-\u024f])"
    if needle[0].isdigit():
        before += r"(?<!\d[.,:])(?<!-)"
    if re.search(r"[0-9a-z\u00df-\u024f]$", needle):
        after = r"(?![0-9a-z\u00df-\u024f])"
    if needle[-1].isdigit():
        after += r"(?![.,:]\d)"
    pattern = before + re.escape(needle) + after
    return [match.span() for match in re.finditer(pattern, text)]
