"""Episodes in words, and words in pixels."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from hrvision_env import rendering
from hrvision_env.rendering import fonts
from hrvision_env.rendering.fonts import SYSTEM_FONTS, Writer

from .test_rendering import HOSTILE, begin, box, extent

PLAIN = "tests.hrvision_env.test_rendering:load_plain"


def test_a_terminal_gets_no_control_character():
    text = rendering.text(begin(f"q{HOSTILE}", HOSTILE, HOSTILE, dialogue="free").running)
    controls = [c for c in text if unicodedata.category(c).startswith("C") and c != "\n"]
    assert controls == [] and "\u2028" not in text
    for spelled in (r"\x1b[2J", r"\u202ered", r"\x9b31m", r"\ud800", r"\x00\x7f", "答案 שלום 🙂"):
        assert spelled in text


def test_visible_spells_out_what_hides():
    assert rendering.visible("a\tb\nc d") == "a\tb\nc d"
    assert rendering.visible("\r\x1b\u200b\U000e0041") == r"\x0d\x1b\u200b\U000e0041"
    assert rendering.visible("نمی‌خواهم 👩‍🚀") == "نمی‌خواهم 👩‍🚀"


def test_the_text_tells_the_whole_episode():
    env = begin("white", box(140, 56, 420, 280), r"\boxed{nothing}")
    wide, high = env.running.shown[1].image.size
    assert rendering.text(env.running).splitlines() == [
        f"question  white ({PLAIN}, test)",
        "asked     What is it?",
        "image 0   1120 x 1120 px, seen at 560 x 560 px",
        "",
        "Turn 1",
        "  < [image]",
        "    What is it? Give the box.",
        '  > [{"bbox_2d": [140, 56, 420, 280]}]',
        f"  + box on image 0: 280, 112, 840, 560 px, crop {wide} x {high} px",
        "",
        "Turn 2",
        "  < [image]",
        "    What is it?",
        "    Answer in \\boxed{}.",
        "  > \\boxed{nothing}",
        "",
        "correct, answer 'nothing', reward 1",
    ]


def test_the_text_says_why_there_is_no_box():
    text = rendering.text(begin("white", box(10, 10, 20, 20)).running)
    assert "  ! no valid box, too small: 10, 10, 20, 20\n" in text
    assert text.endswith("\nturn 2 of 2\n")
    assert "    no box, no json\n" in rendering.text(begin("white", "I pass").running)


@pytest.mark.parametrize("width", [60, 200, 431])
def test_wrapped_lines_fit_and_lose_nothing(width):
    writer, font = Writer(15), ImageFont.load_default(15)
    text = "The quick brown fox jumps over the lazy dog, " * 3 + "W" * 80 + " end"
    lines = writer.wrap(text, width)
    assert max(font.getlength(line) for line in lines) <= width + 2
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert len(lines) > 3


def test_a_clipped_line_fits():
    writer = Writer(15)
    assert writer.clip("short", 200) == "short"
    clipped = writer.clip("much too long for this " * 5, 200)
    assert clipped.endswith("…") and writer.width(clipped) <= 200


def test_a_character_without_a_font_becomes_a_box(monkeypatch):
    monkeypatch.setattr(fonts, "SYSTEM_FONTS", ())
    with fresh_fonts():
        assert ink("א") == ink("Ж") == ink("\U0001f680") != ink("a")
        assert extent(ink_pixels("Ж") > 0) == (5, 7, 11, 19)


@contextlib.contextmanager
def fresh_fonts() -> Iterator[None]:
    """What was found out about fonts is forgotten, before and after."""
    cached = (fonts._font_of, fonts._system, fonts._advance)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def ink_pixels(char: str) -> np.ndarray:
    """[30, 40] brightness of one character that is written at (4, 4) at 15 px."""
    image = Image.new("RGB", (40, 30))
    Writer(15).draw(ImageDraw.Draw(image), (4, 4), char, (255, 255, 255))
    return np.asarray(image.convert("L"))


def ink(char: str) -> bytes:
    return ink_pixels(char).tobytes()


def test_fonts_are_looked_for_by_name_only():
    assert all("/" not in name and "\\" not in name for name in SYSTEM_FONTS)
