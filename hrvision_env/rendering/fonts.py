"""Any text in pixels. Pillow's own font covers Latin letters and is the same everywhere; other
characters are taken from a font of the system, and where none has them they become a box."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont

SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "PingFang.ttc",
    "msyh.ttc",
    "Arial Unicode.ttf",
)
"""Looked for by name, in this order, when Pillow's own font lacks a character."""
_NO_CHARACTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes at one size, in pixels."""

    size: int

    @property
    def line_height(self) -> int:
        return round(self.size * 1.4)

    def width(self, text: str) -> float:
        """Of one line, in pixels."""
        return sum(_advance(char, self.size) for char in text)

    def wrap(self, text: str, width: int) -> list[str]:
        """Lines of at most that many pixels: broken at spaces where there are some."""
        return [line for part in text.split("\n") for line in self._wrap_line(part, width)]

    def clip(self, text: str, width: int) -> str:
        """One line of at most that many pixels, with an ellipsis where something is missing."""
        text = " ".join(text.split())
        fitting = next(iter(self.wrap(text, width)))
        if len(fitting) == len(text):
            return text
        return next(iter(self._pieces(text, width - _advance("…", self.size)))).rstrip() + "…"

    def draw(
        self, canvas: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: Colour
    ) -> None:
        """One line with its top left corner at a pixel."""
        x, baseline = at[0], at[1] + self.size
        for char in text.expandtabs(4):
            font = _font_of(char, self.size)
            if font is not None:
                canvas.text((x, baseline), char, font=font, fill=colour, anchor="ls")
            elif not char.isspace():
                wide = _advance(char, self.size)
                frame = (x + 1, baseline - 0.75 * self.size, x + wide - 2, baseline)
                canvas.rectangle(frame, outline=colour)
            x += _advance(char, self.size)

    def _wrap_line(self, text: str, width: int) -> Iterator[str]:
        line, used = "", 0.0
        for word in _words(text.expandtabs(4)):
            wide = self.width(word.rstrip())
            if line and used + wide > width:
                yield line.rstrip()
                line, used = "", 0.0
            if wide > width:
                *whole, word = self._pieces(word, width)
                yield from whole
            line += word
            used += self.width(word)
        yield line.rstrip()

    def _pieces(self, word: str, width: float) -> Iterator[str]:
        """A long word cut wherever the line is full."""
        piece, used = "", 0.0
        for char in word:
            wide = _advance(char, self.size)
            if piece and used + wide > width:
                yield piece
                piece, used = "", 0.0
            piece += char
            used += wide
        yield piece


def _words(text: str) -> Iterator[str]:
    """Words with the spaces after them."""
    word = ""
    for char in text:
        if word.endswith(" ") and char != " ":
            yield word
            word = ""
        word += char
    if word:
        yield word


@functools.lru_cache(maxsize=8192)
def _advance(char: str, size: int) -> float:
    font = _font_of(char, size)
    return 0.6 * size if font is None else font.getlength(char)


@functools.lru_cache(maxsize=8192)
def _font_of(char: str, size: int) -> Font | None:
    """The first font that has a character, or None."""
    own = _own(size)
    if own is None or char == " " or _has(own, char):
        return own
    return next((font for font in _system(size) if _has(font, char)), None)


@functools.lru_cache(maxsize=8)
def _own(size: int) -> Font | None:
    """Pillow's own font; None where Pillow was built without FreeType."""
    font = ImageFont.load_default(size)
    return font if isinstance(font, ImageFont.FreeTypeFont) else None


@functools.lru_cache(maxsize=8)
def _system(size: int) -> tuple[Font, ...]:
    fonts = []
    for name in SYSTEM_FONTS:
        try:
            font = ImageFont.truetype(name, size, layout_engine=ImageFont.Layout.BASIC)
        except OSError:
            continue
        fonts.append(font)
    return tuple(fonts)


def _has(font: Font, char: str) -> bool:
    """Does the font draw anything else than its sign for a missing character?"""
    try:
        mask, missing = font.getmask(char), font.getmask(_NO_CHARACTER)
    except (OSError, ValueError, UnicodeError):
        return False
    return mask.size != missing.size or bytes(mask) != bytes(missing)
