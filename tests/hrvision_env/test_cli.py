"""`python -m hrvision_env`: what it prints, what it returns, and its errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from hrvision_env import HighResVQAEnv, __main__
from hrvision_env.commands.checking import CHECKS, run_checks
from hrvision_env.commands.options import parse_options
from hrvision_env.trace import Trace, TraceWriter

from .test_rendering import begin, box

SMALL = ["--max_pixels", "200704", "--prompt", "brief"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, output, errors."""
    try:
        code = __main__.main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def command(*words: str, **options: Any) -> subprocess.Popen[str]:
    whole = [sys.executable, "-m", "hrvision_env", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(whole, stdin=pipe, stdout=pipe, stderr=pipe, text=True, **options)


def test_help_names_every_command(capsys):
    code, out, err = run(capsys, "--help")
    assert (code, err) == (0, "")
    for name in ("list", "check", "play", "view", "--key value"):
        assert name in out
    for name in ("list", "check", "play", "view"):
        assert run(capsys, name, "--help")[0] == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "arguments are required: COMMAND"),
        (("lst",), "invalid choice: 'lst'"),
        (("list", "--all"), "unrecognized arguments: --all"),
        (("view", "x", "--limit", "0"), "--limit: got 0, expected at least 1"),
        (("view", "x", "--images", "-1"), "--images: got -1, expected at least 0"),
        (("play", "--port", "70000"), "--port: got 70000, expected at least 0 and at most 65535"),
        (("view",), "arguments are required: path"),
        (("check",), "arguments are required: id"),
        (("view", "nowhere"), "nowhere: no such file, expected episodes.jsonl or its folder"),
        (("check", "HighResVQA-v7"), "HighResVQA"),
        (("check", "CartPole-v1"), "CartPole-v1: got CartPoleEnv, expected a HighResVQAEnv"),
        (("check", "HighResVQA-v0", "free"), "got 'free', expected --key value"),
        (("check", "HighResVQA-v0", "--dialogue"), "got '--dialogue' without a value"),
        (("check", "HighResVQA-v0", "--dialogue", "fre"), "did you mean 'free'"),
        (("play", "--dialog", "free"), "did you mean 'dialogue'?"),
        (("play", "--dataset", "jsonl"), "option 'root' is missing"),
        (("play", "--dataset", "jsonl", "--root", "nowhere"), "nowhere"),
        (("play", "--dataset", "jsonl", "--root", "3"), "python -m hrvision_env play: "),
        (("play", "--question", "99999"), "got index 99999"),
        (("play", "--question", "nothing"), "got 'nothing'"),
        (("play", "--max-turns", "two"), "max_turns: got 'two', expected a whole number"),
    ],
)
def test_a_wrong_use_is_one_line_and_exit_code_2(capsys, words, complaint):
    code, out, err = run(capsys, *words)
    assert code == 2 and out == "" and "Traceback" not in err
    assert complaint in err.splitlines()[-1]
    if not err.startswith("usage"):
        assert err.count("\n") == 1


# -- check


def test_check_says_ok_for_every_promise(capsys):
    code, out, err = run(capsys, "check", "HighResVQA-v0", "--dialogue", "free", *SMALL)
    assert code == 0 and err == ""
    names = [check.__name__.replace("_", " ") for check in CHECKS]
    assert out.splitlines() == [*(f"ok    {name}" for name in names), out.splitlines()[-1]]
    assert out.endswith("HighResVQA-v0: all checks passed\n")


class Unseeded(HighResVQAEnv):
    """Begins with whatever question it likes."""

    def choose(self, seed: int | None = None, options: Any = None) -> Any:
        return super().choose(None, options)


class Forgetful(HighResVQAEnv):
    """A copy is not what it was."""

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_running": None}


class Talkative(HighResVQAEnv):
    """Tells the answer to anybody, and something new in every turn."""

    def step(self, action: str) -> Any:
        *rest, info = super().step(action)
        return (*rest, {**info, "target": self.sample.answers, "new": 1})

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        observation, info = super().reset(seed=seed, options=options)
        return observation, {**info, "target": self.sample.answers}


class Endless(HighResVQAEnv):
    """Does not say when it is over."""

    def step(self, action: str) -> Any:
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, False, truncated, info


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        (Unseeded, {"seeding", "gymnasium api", "pickling", "spec as json"}),
        (Forgetful, {"pickling"}),
        (Talkative, {"hidden answer", "random episodes"}),
        (Endless, {"random episodes"}),
    ],
)
def test_check_finds_what_is_broken(capsys, kind, failing):
    gym.register("Broken-v0", entry_point=f"{__name__}:{kind.__name__}")
    try:
        found = {name for name, fault in run_checks("Broken-v0", {"max_pixels": 200704}) if fault}
        code, out, _ = run(capsys, "check", "Broken-v0", *SMALL)
    finally:
        del gym.registry["Broken-v0"]
    assert found - {"groups"} == failing  # it is registered without a vector environment
    assert code == 1 and out.count("FAIL  ") == len(found)
    assert out.endswith(f"Broken-v0: {len(found)} checks failed\n")


# -- view


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    writer = TraceWriter(tmp_path)
    for name in ("white", "halves"):
        env = begin(name, box(140, 56, 420, 280), "x")
        writer.write(env.running, env.referee.rules)
    return tmp_path


def test_view_writes_the_page_beside_the_episodes(capsys, folder):
    code, out, err = run(capsys, "view", str(folder))
    page = folder / "episodes.html"
    assert (code, err) == (0, "") and out == f"{page}: 2 episodes, 2 with pictures\n"
    assert page.read_text().startswith("<!doctype html>")


def test_view_takes_a_file_a_target_and_limits(capsys, folder, tmp_path):
    target = tmp_path / "look.html"
    words = ("view", str(folder / "episodes.jsonl"), "--out", str(target), "--limit", "1")
    assert run(capsys, *words, "--single", "--images", "0") == (
        0,
        f"{target}: 1 episodes, 0 with pictures, 1 left out by --limit\n",
        "",
    )
    assert target.exists() and not (tmp_path / "look_files").exists()
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "") and "1 episodes, 1 with pictures, 1 left out" in out
    assert (tmp_path / "look_files" / "episodes-0.js").exists()


def test_view_says_what_belongs_to_single_pages(capsys, folder):
    code, out, err = run(capsys, "view", str(folder), "--images", "3")
    assert (code, out) == (2, "") and "--images: is for --single" in err


def test_view_opens_the_page_on_request(capsys, folder, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    run(capsys, "view", str(folder))
    assert opened == []
    run(capsys, "view", str(folder), "--open")
    assert opened == [(folder / "episodes.html").as_uri()]


def test_view_names_broken_lines(capsys, folder):
    with (folder / "episodes.jsonl").open("a") as file:
        file.write("{\n" * 9)
    code, out, err = run(capsys, "view", str(folder))
    assert code == 0 and "2 episodes" in out
    assert err.count("episodes.jsonl:") == 5 and err.endswith("9 lines could not be read\n")


def test_view_without_an_episode(capsys, tmp_path):
    (tmp_path / "episodes.jsonl").touch()
    code, out, err = run(capsys, "view", str(tmp_path))
    assert (code, out) == (2, "") and "holds no episode" in err


# -- play


def test_play_takes_its_own_and_the_environments_options(tmp_path):
    words = ("--trace", str(tmp_path / "trace"), "--out", str(tmp_path / "pictures"))
    process = command("play", "--split=train", "--seed", "7", "--reset-seed", "1", *words, *SMALL)
    out, err = process.communicate("no box\n:answer A\n", timeout=120)
    assert process.returncode == 0 and err == "" and "Score: " in out
    (record,) = Trace(tmp_path / "trace")
    assert record.episode.split == "train" and record.episode.prompt == "brief"
    assert record.episode.question_id.startswith("synthetic-7-train-")
    assert [turn.reply for turn in record.episode.turns] == ["no box", r"\boxed{A}"]
    assert len(list((tmp_path / "pictures").iterdir())) == 2


def test_ctrl_c_ends_a_game_without_a_traceback():
    process = command("play", *SMALL)
    assert process.stdout is not None
    while "turn 1 of 2" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.strip() == ""
    assert out == "Score: no question finished.\n"


def test_ctrl_c_ends_the_server(capsys):
    process = command("play", "--web", *SMALL)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Play at http://127.0.0.1:")
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == "" and "Score: no question finished." in out


def test_a_port_that_is_taken(capsys):
    first = command("play", "--web", *SMALL)
    assert first.stdout is not None
    port = first.stdout.readline().split(":")[2].split("/")[0]
    try:
        code, _, err = run(capsys, "play", "--web", "--port", port, *SMALL)
    finally:
        first.kill()
        first.communicate()
    assert code == 2 and "in use" in err and err.count("\n") == 1


def test_a_terminal_without_unicode_gets_escapes():
    dataset = ("--dataset", "tests.hrvision_env.test_rendering:load_plain")
    words = (*dataset, "--split", "hostile", "--question", "3")
    process = command("play", *words, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    out, err = process.communicate(":quit\n", timeout=120)
    assert process.returncode == 0 and err == "" and "\\u7b54\\u6848" in out


def test_nobody_has_to_read_to_the_end():
    process = command("list")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None and process.stderr.read() == ""
    assert process.wait(timeout=60) in (0, 1)


# -- Options


def test_options_are_json_where_they_can_be():
    words = ["--a", "1", "--b-c=x=y", "--d", "[1, 2]", "--e", "null", "--f", "-3", "--g", "tr ue"]
    assert parse_options(words) == {
        "a": 1,
        "b_c": "x=y",
        "d": [1, 2],
        "e": None,
        "f": -3,
        "g": "tr ue",
    }
    assert parse_options([]) == {} and parse_options(["--a", "[" * 99_999])["a"][0] == "["


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["x"], "got 'x', expected --key value"),
        (["--"], "got '--', expected --key value"),
        (["-x", "1"], "got '-x', expected --key value"),
        (["--x"], "got '--x' without a value, expected --x VALUE"),
        (["--x", "--y", "1"], "got '--x' without a value"),
        (["--x", "1", "--x", "2"], "--x: given twice"),
        (["--a-b", "1", "--a_b", "2"], "--a_b: given twice"),
    ],
)
def test_options_that_are_none(words, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_options(words)
