"""An episode in words, for a terminal and for the panel of the picture.

Replies are hostile: a terminal obeys escape sequences and turns text around at some Unicode
characters, so everything that is not plain is spelled out (`visible`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from ..actions.box import BoxAction, parse
from ..actions.rules import BoxRules
from ..images import Frame, Size
from ..records import Box, Outcome, Turn
from ..running import Running, Shown

MAX_REPLY = 4_000
"""Characters of one text that `text` prints."""

OUTCOMES = {
    Outcome.OPEN: "not finished",
    Outcome.CORRECT: "correct",
    Outcome.WRONG: "wrong",
    Outcome.NO_ANSWER: "no answer",
    Outcome.ERROR: "failed",
}

_MARKS = {
    "turn": "\n",
    "user": "  < ",
    "agent": "  > ",
    "box": "  + ",
    "note": "    ",
    "bad": "  ! ",
}

# Joiners belong to scripts and emoji, and change nothing else.
_HARMLESS = {"\n", "\t", "\u200c", "\u200d"}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@dataclass(frozen=True, slots=True)
class Line:
    """One paragraph of a transcript."""

    kind: str
    """`turn` (a heading), `user`, `agent`, `box` (a valid one), `note` or `bad`."""
    text: str


def visible(text: str) -> str:
    r"""The text with every control, format and unassigned character spelled out.

    >>> visible("red\x1b[2J \u202eabc")
    'red\\x1b[2J \\u202eabc'
    """
    return "".join(
        char if char in _HARMLESS or unicodedata.category(char) not in _HIDDEN else _spell(char)
        for char in text
    )


def _spell(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def text(running: Running | None) -> str:
    """The whole episode as it stands: question, images, each turn with what came of it, outcome.

    Safe to print: see `visible`. Before the first reset a line that says so.
    """
    if running is None:
        return "There is no episode yet.\n"
    sample = running.sample
    lines = [
        f"question  {visible(sample.id)} ({visible(sample.source)}, {visible(sample.split)})",
        f"asked     {_indent(visible(sample.question))}",
        *(f"          {line}" for line in options_of(running)),
        *(f"image {n}   {_size(view)}" for n, view in enumerate(running.views)),
    ]
    for line in transcript(running):
        lines.append(_MARKS[line.kind] + _indent(visible(line.text), 4))
    lines.append("\n" + outcome(running))
    return "\n".join(lines) + "\n"


def options_of(running: Running) -> list[str]:
    """A line per option, safe to print; none before a user turn has listed them."""
    if not options_shown(running):
        return []
    options = running.sample.options or {}
    return [f"{visible(key)}. {visible(text)}" for key, text in options.items()]


def options_shown(running: Running) -> bool:
    """Has a user turn listed the options? Dialogues may hide them for a while."""
    texts = [turn.text for turn in running.turns] + [running.user.text]
    lines = [f"{key}. {text.strip()}" for key, text in (running.sample.options or {}).items()]
    return any(all(line in text for line in lines) for text in texts)


def outcome(running: Running) -> str:
    """How the episode stands, in one line that is safe to print."""
    if running.open:
        return f"turn {len(running.turns) + 1} of {running.setting.max_turns}"
    given = f", answer {visible(running.answer)!r}" if running.answer else ""
    error = f": {visible(running.error)}" if running.error else ""
    return f"{OUTCOMES[running.outcome]}{given}, reward {running.reward:g}{error}"


def transcript(running: Running) -> Iterator[Line]:
    """Every turn so far, and the user turn that waits for a reply."""
    for number, turn in enumerate(running.turns):
        yield from _heading(number, turn.fresh)
        yield Line("user", _said(turn.text))
        yield Line("agent", shorten(turn.reply) if turn.reply.strip() else "(an empty reply)")
        yield from notes(turn)
    if running.open and running.user.text:
        yield from _heading(len(running.turns), running.user.fresh)
        yield Line("user", _said(running.user.text))


def shorten(text: str, most: int = MAX_REPLY) -> str:
    """Beginning and end of a long text, with a note of what is missing."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters ... {text[-half:]}"


def _said(text: str) -> str:
    """A user turn, its image markers in one line."""
    return shorten(re.sub(r"<image>\n(?=<image>)", "<image> ", text).replace("<image>", "[image]"))


def _heading(number: int, fresh: bool) -> Iterator[Line]:
    hidden = ": a new conversation, nothing before is seen" if fresh and number else ""
    yield Line("turn", f"Turn {number + 1}{hidden}")


def notes(turn: Turn) -> Iterator[Line]:
    """What the environment made of a reply: its boxes, or why there is none."""
    for n, box in enumerate(turn.boxes):
        corners = ", ".join(f"{v:g}" for v in map(round, (box.x1, box.y1, box.x2, box.y2)))
        label = f" {box.label!r}" if box.label else ""
        crop = f", crop {_pixels(turn.crop_sizes[n])}" if n < len(turn.crop_sizes) else ""
        yield Line("box", f"box{label} on image {box.image_index}: {corners} px{crop}")
    reason = turn.invalid_reason.replace("_", " ")
    if reason and turn.box_raw:
        numbers = ", ".join(f"{v:g}" for v in turn.box_raw)
        yield Line("bad", f"no valid box, {reason}: {numbers}")
    elif reason:  # perhaps none was meant: a dialogue may leave it to the agent
        yield Line("note", f"no box, {reason}")


def _indent(text: str, by: int = 10) -> str:
    return text.replace("\n", "\n" + " " * by)


def _size(view: Shown) -> str:
    return f"{_pixels(view.frame.original)}, seen at {_pixels(view.frame.seen)}"


def _pixels(size: Size) -> str:
    return f"{size[0]} x {size[1]} px"


def refused_box(
    turns: tuple[Turn, ...], shown: list[Shown], number: int, rules: BoxRules
) -> Box | None:
    """The box of turn `number` that was refused, on the original: for drawing, for nothing else.

    Its corners may lie outside the image or in the wrong order. None when there is a valid box,
    or when its numbers or its image are not known.
    """
    turn = turns[number]
    if not turn.invalid_reason or len(turn.box_raw) != 4:
        return None
    frames = _frames(turns, shown, number)
    index = 0 if rules.box_frame == "original" else len(frames) - 1
    for action in parse(turn.reply, rules.parser, rules.dialect, rules.form, 1):
        if isinstance(action, BoxAction) and action.image_index is not None:
            index = action.image_index
    if not 0 <= index < len(frames):
        return None
    x1, y1, x2, y2 = turn.box_raw
    return frames[index].box(frames[index].read((x1, y1, x2, y2), rules.dialect))


def _frames(turns: tuple[Turn, ...], shown: list[Shown], number: int) -> list[Frame]:
    """Of every image of the conversation when turn `number` was replied to."""
    start = max((n for n in range(number + 1) if turns[n].fresh), default=0)
    return [image.frame for image in shown if start <= image.turn <= number]
