"""Look at the environment and its episodes, from the command line.

    python -m hrvision_env list                    what there is: datasets, dialogues, graders ...
    python -m hrvision_env check HighResVQA-v0     does an environment keep its promises?
    python -m hrvision_env play                    answer questions yourself, in the terminal
    python -m hrvision_env play --web              ... or in a browser, with the mouse
    python -m hrvision_env view runs/trace         episodes as a page, for thousands of them
    python -m hrvision_env view runs/trace --single  ... as one file, for sending
    python -m hrvision_env view runs/a runs/b --out both.html  ... two of them, to compare
    python -m hrvision_env data inspect photos     what a data set holds; also convert, leaks, split

Arguments of the environment are given as --key value: --dataset jsonl --root photos.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

import gymnasium as gym

from .commands import data
from .commands.checking import run_checks
from .commands.listing import listing, page
from .commands.options import parse_options, read_value
from .env import HighResVQAEnv
from .play import Game, play, serve
from .rendering import visible
from .trace import Trace, TraceWriter
from .viewer import LIMIT, VIEWER_LIMIT, WITH_IMAGES, write_page, write_viewer

OK, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""
_ERRORS = (ValueError, TypeError, LookupError, OSError, ImportError, gym.error.Error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Errors of the user are one line on stderr."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        _tolerate(stream)
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not getattr(options, "takes_options", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `... list | head`: nobody reads on, so nothing more is written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except _ERRORS as error:
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        print(f"{parser.prog} {options.command}: {' '.join(text.split())}", file=sys.stderr)
        return WRONG_USE


def _tolerate(stream: TextIO | Any) -> None:
    """A terminal without Unicode shows other characters as escapes."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace" if stream is sys.stdin else "backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hrvision_env",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser("list", help="what can be named in gymnasium.make")
    command.add_argument("name", nargs="?", help="one of them, for all that it says of itself")
    command.set_defaults(run=_list)

    command = commands.add_parser("check", help="check an environment", allow_abbrev=False)
    command.add_argument("id", help="such as HighResVQA-v0")
    command.add_argument("options", nargs=argparse.REMAINDER, help="--key value of the environment")
    command.set_defaults(run=_check)

    command = commands.add_parser(
        "play",
        help="play it yourself",
        allow_abbrev=False,
        epilog="All other --key value are arguments of the environment: --dialogue free",
    )
    command.add_argument("--web", action="store_true", help="in a browser, on this machine only")
    command.add_argument("--port", type=_number(0, 65535), default=0, help="of --web")
    command.add_argument("--open", action="store_true", help="open the browser at --web's address")
    command.add_argument("--question", help="id or index of the first question (default: drawn)")
    command.add_argument("--reset-seed", type=int, help="seed that draws the first question")
    command.add_argument("--out", type=Path, help="folder for the pictures (default: temporary)")
    command.add_argument("--trace", type=Path, help="folder to which finished episodes are added")
    command.set_defaults(run=_play, takes_options=True)

    _add_view(commands)
    data.add_parser(commands, _number)
    return parser


def _add_view(commands: Any) -> None:
    command = commands.add_parser("view", help="episodes as an HTML page", allow_abbrev=False)
    command.add_argument(
        "path", type=Path, nargs="+", help="episodes.jsonl, or the folder that holds it"
    )
    command.add_argument(
        "--out",
        type=Path,
        help="the page (default: episodes.html beside them; needed with several paths); the folder "
        "NAME_files belongs to it",
    )
    command.add_argument("--open", action="store_true", help="open it in the browser")
    command.add_argument(
        "--single", action="store_true", help="everything in one file, for sending it to somebody"
    )
    command.add_argument(
        "--limit",
        type=_number(1, math.inf),
        help=f"episodes at most (default: {VIEWER_LIMIT}, with --single {LIMIT})",
    )
    command.add_argument(
        "--images",
        type=_number(0, math.inf),
        help=f"with --single: how many of them with their pictures (default: {WITH_IMAGES})",
    )
    command.set_defaults(run=_view)


def _list(options: argparse.Namespace) -> int:
    for line in listing() if options.name is None else [page(options.name)]:
        print(line)
    return OK


def _check(options: argparse.Namespace) -> int:
    failed = 0
    for name, fault in run_checks(options.id, parse_options(options.options)):
        print(f"FAIL  {name}: {visible(fault)}" if fault else f"ok    {name}", flush=True)
        failed += bool(fault)
    print(f"{options.id}: {f'{failed} checks failed' if failed else 'all checks passed'}")
    return FAILED if failed else OK


def _play(options: argparse.Namespace) -> int:
    env = cast(HighResVQAEnv, gym.make("HighResVQA-v0", **parse_options(options.rest)).unwrapped)
    try:
        game = Game(
            env,
            seed=options.reset_seed,
            question=None if options.question is None else _question(options.question),
            trace=None if options.trace is None else TraceWriter(options.trace),
        )
        if options.web:
            _play_in_browser(game, options)
        else:
            _play_in_terminal(game, options.out)
    finally:
        env.close()
    return OK


def _play_in_browser(game: Game, options: argparse.Namespace) -> None:
    try:
        serve(game, options.port, _print, webbrowser.open if options.open else bool)
    except KeyboardInterrupt:  # the way to end it
        print(f"\nScore: {game.score}.")


def _play_in_terminal(game: Game, out: Path | None) -> None:
    def read() -> str:
        return input("> " if sys.stdin.isatty() else "")

    with tempfile.TemporaryDirectory(prefix="hrvision-play-") as temporary:
        folder = Path(temporary) if out is None else out
        folder.mkdir(parents=True, exist_ok=True)
        play(game, read, _print, folder)


def _view(options: argparse.Namespace) -> int:
    traces = [Trace(path) for path in options.path]
    if len(traces) > 1 and options.out is None:
        raise ValueError("--out: needed with several paths, for the page of all of them")
    out = options.out or traces[0].path.with_suffix(".html")
    if options.images is not None and not options.single:
        raise ValueError("--images: is for --single; else pictures are shown where they lie")
    if options.single:
        images = WITH_IMAGES if options.images is None else options.images
        written = write_page(traces, out, limit=options.limit or LIMIT, with_images=images)
    else:
        written = write_viewer(traces, out, limit=options.limit or VIEWER_LIMIT)
    broken = [line for trace in traces for line in trace.broken]
    for line in broken[:5]:
        print(visible(str(line)), file=sys.stderr)
    if broken:
        print(f"{len(broken)} lines could not be read", file=sys.stderr)
    left = f", {written.left_out} left out by --limit" if written.left_out else ""
    print(f"{written.path}: {written.episodes} episodes, {written.with_images} with pictures{left}")
    if options.open:
        webbrowser.open(out.resolve().as_uri())
    return OK


def _print(text: str) -> None:
    print(text, flush=True)


def _question(text: str) -> int | str:
    value = read_value(text)
    return value if isinstance(value, int) and not isinstance(value, bool) else text


def _number(least: int, most: float) -> Callable[[str], int]:
    """A whole number within limits, for argparse."""

    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            limit = "" if math.isinf(most) else f" and at most {most}"
            raise argparse.ArgumentTypeError(f"got {text}, expected at least {least}{limit}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
