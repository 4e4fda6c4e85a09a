"""A person plays: the game, and the terminal."""

from __future__ import annotations

import io
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hrvision_env import Outcome
from hrvision_env.actions.forms import FORMS
from hrvision_env.play import Game, Score, play
from hrvision_env.replies import INDEXED
from hrvision_env.trace import Trace, TraceWriter

from .test_rendering import HOSTILE, WHITE, box, make, split_of

RIGHT, WRONG = r"\boxed{nothing}", r"\boxed{something}"


def game(question: str = "white", **options: Any) -> Game:
    options = {"dialogue": "single_turn", "split": split_of(question), **options}
    return Game(make(**options), question=question)


# -- The game


def test_each_question_counts_once_by_its_first_try():
    table = game()
    assert str(table.score) == "no question finished"
    table.reply(WRONG)
    assert table.score == Score(0, 1)
    table.again()
    table.reply(RIGHT)
    assert table.running.outcome is Outcome.CORRECT and table.score == Score(0, 1)
    table.next()
    while table.running.sample.id == "white":
        table.next()
    table.reply(RIGHT)
    assert table.score == Score(1, 2) and str(table.score) == "1 of 2 right"


def test_an_unfinished_question_does_not_count():
    table = game(dialogue="mgpo")
    table.reply("x")
    table.next()
    assert table.score == Score(0, 0) and table.begun == 2


def test_the_first_question_can_be_chosen_or_drawn():
    env = make()
    assert Game(env, question=1).running.sample.id == "halves"
    assert Game(env, question="pair").running.sample.id == "pair"
    names = [Game(make(), seed=4).running.sample.id for _ in range(3)]
    assert len(set(names)) == 1
    with pytest.raises(KeyError, match="nowhere"):
        Game(env, question="nowhere")
    with pytest.raises(IndexError):
        Game(env, question=99)


def test_a_question_whose_image_is_broken_is_over_and_does_not_count():
    table = game("broken")
    assert table.running.outcome is Outcome.ERROR and table.score == Score(0, 0)
    assert "broken" in table.running.error
    table.next()


def test_finished_episodes_are_traced(tmp_path):
    table = Game(make(), question="white", trace=TraceWriter(tmp_path))
    table.reply(box(420, 280, 140, 56))
    assert not (tmp_path / "episodes.jsonl").exists()
    table.reply(RIGHT)
    (record,) = Trace(tmp_path)
    assert record.episode.outcome is Outcome.CORRECT and record.refused[0] is not None


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("dialect", ["absolute", "relative_1000", "relative_1"])
def test_a_written_box_is_read_where_it_was_drawn(form, dialect):
    table = game(dialogue="free", box_form=form, box_dialect=dialect, box_frame="last_image")
    text = table.write_box(0, (140, 56, 420, 280))
    assert table.fault(text) == ""
    table.reply(text)
    assert corners(table) == pytest.approx((280, 112, 840, 560), abs=1)
    if form in INDEXED:  # back on the view, although a crop is the last image
        table.reply(table.write_box(0, (0, 0, 280, 280)))
        assert corners(table) == pytest.approx((0, 0, 560, 560), abs=1)
    else:
        with pytest.raises(ValueError, match="cannot say which picture"):
            table.write_box(0, (0, 0, 280, 280))
    number = len(table.running.frames) - 1
    wide, high = table.running.frames[number].seen
    table.reply(table.write_box(number, (0, 0, wide / 2, high / 2)))
    expected = (0, 0, 280, 280) if form in INDEXED else (280, 112, 560, 336)
    assert corners(table) == pytest.approx(expected, abs=2)


def corners(table: Game) -> tuple[float, float, float, float]:
    found = table.running.turns[-1].boxes[0]
    return found.x1, found.y1, found.x2, found.y2


def test_boxes_that_cannot_be_written():
    table = game(dialogue="mgpo")
    for picture in (-1, 1):
        with pytest.raises(ValueError, match=f"picture: got {picture}, expected 0 to 0"):
            table.write_box(picture, (0, 0, 100, 100))
    with pytest.raises(ValueError, match="expected four finite numbers"):
        table.write_box(0, (0, float("nan"), 100, 100))
    assert table.fault(table.write_box(0, (0, 0, 5, 5))) == "too_small"


# -- The terminal


def at_terminal(table: Game, folder: Path, *lines: str) -> str:
    """Everything that is printed while these lines are typed."""
    typed, printed = iter(lines), io.StringIO()

    def read() -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    play(table, read, lambda text: print(text, file=printed), folder)
    return printed.getvalue()


def pictures(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: Image.open(path).size for path in sorted(folder.iterdir())}


def test_an_episode_at_the_terminal(tmp_path):
    table = game(dialogue="mgpo")
    printed = at_terminal(table, tmp_path, ":box 140 56 420 280", ":answer nothing")
    assert printed.splitlines() == [
        f"Pictures are written to {tmp_path}. :help lists the commands.",
        "",
        "=== Question 1: white (tests.hrvision_env.test_rendering:load_plain)",
        "[image]",
        "What is it? Give the box.",
        f"  picture 0: {tmp_path}/question1-view0.jpg  560 x 560 px",
        "--- turn 1 of 2",
        'sent: [{"bbox_2d": [140, 56, 420, 280]}]',
        f"  box on image 0: 280, 112, 840, 560 px, crop {crop_size(table)} px",
        "[image]",
        "What is it?",
        r"Answer in \boxed{}.",
        f"  picture 1: {tmp_path}/question1-crop1.jpg  {crop_size(table)} px",
        "--- turn 2 of 2",
        "=== correct, answer 'nothing', reward 1",
        "    right answer: nothing; 1 of 1 right. :next or :again?",
        "Score: 1 of 1 right.",
    ]
    assert list(pictures(tmp_path).values()) == [(s.image.size) for s in shown(table)][::-1]
    with Image.open(tmp_path / "question1-crop1.jpg") as crop:
        assert crop.getpixel((9, 9)) == WHITE


def shown(table: Game) -> list[Any]:
    return table.running.shown


def crop_size(table: Game) -> str:
    wide, high = shown(table)[1].image.size
    return f"{wide} x {high}"


def test_a_line_is_a_reply_as_it_is(tmp_path):
    table = game(dialogue="free", max_turns=4)
    at_terminal(table, tmp_path, '  [{"bbox_2d": [0, 0, 9, 9]}] ', "::quit", "", r"\boxed{x}")
    replies = [turn.reply for turn in table.running.turns]
    assert replies == ['[{"bbox_2d": [0, 0, 9, 9]}]', ":quit", r"\boxed{x}"]


def test_several_questions_in_a_row(tmp_path):
    table = game()
    printed = at_terminal(table, tmp_path, WRONG, ":again", RIGHT, ":next", RIGHT, ":quit", RIGHT)
    assert "=== Question 2: white" in printed and "=== Question 3: " in printed
    assert len(pictures(tmp_path)) >= 3 and table.begun == 3
    assert "right answer: nothing; 0 of 1 right" in printed
    assert printed.endswith(f"Score: {table.score}.\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (":bxo 1 2 3 4", "got the command :bxo, expected one of :help, :show, :next"),
        (":box 1 2 3", "expected :box X1 Y1 X2 Y2 [N]"),
        (":box 1 2 3 x", "expected :box X1 Y1 X2 Y2 [N]"),
        (":box 1 2 3 4 5 6", "expected :box X1 Y1 X2 Y2 [N]"),
        (":box 1 2 3 4 1", "picture: got 1, expected 0 to 0"),
        (":box 1 2 3 inf", "corners: got (1.0, 2.0, 3.0, inf), expected four finite numbers"),
        (":box 1 2 3 4 -1", "expected :box X1 Y1 X2 Y2 [N]"),
        (":answer", "expected :answer TEXT"),
        ("   ", "type a reply, or :help"),
        (":\x1b[2J", r"got the command :\x1b[2J, expected"),
    ],
)
def test_what_cannot_be_used_is_said_and_costs_no_turn(tmp_path, line, words):
    table = game(dialogue="mgpo")
    assert f"! {words}" in at_terminal(table, tmp_path, line)
    assert table.running.turns == []


def test_after_the_end_only_commands_are_taken(tmp_path):
    printed = at_terminal(game(), tmp_path, RIGHT, RIGHT, ":box 1 2 3 4", ":show")
    assert printed.count("! this question is over, expected :next, :again or :quit") == 2
    assert ":answer TEXT" in at_terminal(game(), tmp_path, ":help")


def test_refused_boxes_are_explained(tmp_path):
    printed = at_terminal(game(dialogue="mgpo"), tmp_path, ":box 10 10 20 20")
    assert "! no valid box, too small: 10, 10, 20, 20\n" in printed


def test_hidden_pictures_are_called_so(tmp_path):
    table = game(dialogue="crop_only")
    printed = at_terminal(table, tmp_path, ":box 140 56 420 280", ":show")
    last = printed.split("=== Question 1")[-1]
    assert "  hidden now: " in last and f"  picture 0: {tmp_path}/question1-crop1" in last


def test_a_terminal_is_safe_from_datasets_and_replies(tmp_path):
    table = game(f"q{HOSTILE}", dialogue="free")
    printed = at_terminal(table, tmp_path, HOSTILE.replace("\x00", ""), "x", ":show")
    controls = {c for c in printed if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl")}
    assert controls == {"\n"}


def test_a_broken_image_is_told(tmp_path):
    printed = at_terminal(game("broken"), tmp_path, "x", ":next")
    assert "=== failed, reward 0: ImageError: " in printed and "! this question is over" in printed


def test_an_interrupt_shows_the_score(tmp_path):
    printed: list[str] = []

    def read() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(game(), read, printed.append, tmp_path)
    assert printed[-1] == "Score: no question finished."


@pytest.fixture
def piped(tmp_path) -> Iterator[subprocess.CompletedProcess[bytes]]:
    command = [sys.executable, "-m", "hrvision_env", "play", "--question", "3"]
    command += ["--dialogue", "single_turn", "--out", str(tmp_path / "out")]
    yield subprocess.run(command, input=b"\xff\xfe\n:quit\n", capture_output=True, timeout=120)


def test_a_pipe_can_play(piped, tmp_path):
    assert piped.returncode == 0 and piped.stderr == b""
    text = piped.stdout.decode()
    assert "synthetic-0-test-3" in text and text.endswith("0 of 1 right.\n")
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".jpg"]
