"""Playing in a terminal: the person reads and types, the pictures lie in a folder.

A line is a reply, sent as it is; a line that begins with a colon is a command (two colons send
one). Works with a pipe as well as with a person.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..records import Outcome
from ..rendering import visible
from ..rendering.transcript import notes, outcome
from ..replies import write_answer
from ..trace import encode
from .game import Game

HELP = """\
  TEXT                      reply with this text, as an agent would
  :box X1 Y1 X2 Y2 [N]      point at a part of picture N, in its pixels (default: the last one)
  :answer TEXT              reply with the answer TEXT in \\boxed{}
  :show                     the question and the pictures once more
  :next  :again             another question, the same one from the beginning
  :quit                     the end; so does end of file"""

Read = Callable[[], str]
Write = Callable[[str], None]


class Mistake(ValueError):
    """What a person typed cannot be used."""


def play(game: Game, read: Read, write: Write, folder: Path) -> None:
    """Play until `:quit` or EOFError from `read`; pictures are written to `folder`.

    `write` gets lines that are safe to print, whatever the dataset and the replies hold.
    """
    terminal = _Terminal(game, write, folder)
    write(f"Pictures are written to {folder}. :help lists the commands.")
    try:
        terminal.show()
        while (line := read()).strip() != ":quit":
            try:
                terminal.take(line)
            except Mistake as mistake:
                write(f"! {mistake}")
    except EOFError:
        pass
    finally:
        write(f"Score: {game.score}.")


class _Terminal:
    """What was shown so far, and what to do with a line."""

    def __init__(self, game: Game, write: Write, folder: Path) -> None:
        self.game, self.write, self.folder = game, write, folder
        self._pictures = 0
        """Of the current episode, how many have been written."""

    def take(self, line: str) -> None:
        """Do what a line says. Raises Mistake."""
        text = line.strip()
        if not text:
            raise Mistake("type a reply, or :help")
        if not text.startswith(":") or text.startswith("::"):
            return self.reply(text[1:] if text.startswith("::") else text)
        name, _, rest = text[1:].partition(" ")
        commands = {
            "help": lambda: self.write(HELP),
            "show": self.show,
            "next": self.next,
            "again": self.again,
            "box": lambda: self.box(rest.split()),
            "answer": lambda: self.answer(rest.strip()),
        }
        if name not in commands:
            known = ", ".join(f":{command}" for command in (*commands, "quit"))
            raise Mistake(f"got the command {visible(':' + name)}, expected one of {known}")
        return commands[name]()

    def next(self) -> None:
        self.game.next()
        self.show()

    def again(self) -> None:
        self.game.again()
        self.show()

    def show(self) -> None:
        """The question from its beginning, with the pictures shown so far."""
        running = self.game.running
        self._pictures = 0
        name = f"{visible(running.sample.id)} ({visible(running.sample.source)})"
        self.write(f"\n=== Question {self.game.begun}: {name}")
        self._say(running.user.text)
        self._after()

    def box(self, words: list[str]) -> None:
        self._need_open()
        last = len(self.game.running.frames) - 1
        try:
            x1, y1, x2, y2 = (float(word) for word in words[:4])
            picture = int(words[4]) if len(words) > 4 else last
        except (ValueError, IndexError):
            picture = -1
        if picture < 0 or len(words) > 5:
            raise Mistake("expected :box X1 Y1 X2 Y2 [N] with four numbers and a picture")
        try:
            text = self.game.write_box(picture, (x1, y1, x2, y2))
        except (ValueError, OverflowError) as error:
            raise Mistake(str(error)) from error
        self.write(f"sent: {visible(text)}")
        self.reply(text)

    def answer(self, text: str) -> None:
        if not text:
            raise Mistake("expected :answer TEXT")
        self.reply(write_answer(text))

    def reply(self, text: str) -> None:
        self._need_open()
        self.game.reply(text)
        running = self.game.running
        for line in notes(running.turns[-1]):
            if running.open or line.kind != "note":  # a final answer needs no box
                self.write(f"{'!' if line.kind == 'bad' else ' '} {visible(line.text)}")
        if running.open:
            self._say(running.user.text)
        self._after()

    def _need_open(self) -> None:
        if not self.game.running.open:
            raise Mistake("this question is over, expected :next, :again or :quit")

    def _say(self, text: str) -> None:
        self.write(visible(text.replace("<image>", "[image]")))

    def _after(self) -> None:
        """New pictures, and how the episode stands."""
        running = self.game.running
        for number in range(self._pictures, len(running.shown)):
            self.write(self._picture(number))
        self._pictures = len(running.shown)
        if running.open:
            self.write(f"--- {outcome(running)}")
            return
        self.write(f"=== {outcome(running)}")
        if running.outcome is not Outcome.ERROR:
            expected = " or ".join(visible(answer) for answer in running.sample.answers)
            self.write(f"    right answer: {expected}; {self.game.score}. :next or :again?")
        else:
            self.write("    :next or :quit?")

    def _picture(self, number: int) -> str:
        """Write a picture that was shown, and say where it is."""
        shown = self.game.running.shown[number]
        data, ending = encode(shown.image)
        kind = "crop" if shown.is_crop else "view"
        path = self.folder / f"question{self.game.begun}-{kind}{number}.{ending}"
        path.write_bytes(data)
        start = self.game.running.start
        name = f"picture {number - start}" if number >= start else "hidden now"
        wide, high = shown.image.size
        return f"  {name}: {path}  {wide} x {high} px"
