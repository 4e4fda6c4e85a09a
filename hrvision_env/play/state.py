"""What the page for playing shows, as JSON: never more than an agent would know before the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..rendering.transcript import options_shown, outcome
from ..replies import INDEXED
from ..running import Running
from ..trace import record_of
from ..viewer.rows import clip, describe
from .game import Game


def describe_game(game: Game, version: int) -> dict[str, Any]:
    """The current episode in the form of `viewer.rows.describe`, and what belongs to playing.

    The gold answer and the gold boxes are in it only when the episode has ended, the options only
    when a user turn has shown them.
    """
    running, rules = game.running, game.env.referee.rules
    files = [picture_name(game, number) for number in range(len(running.shown))]
    record = record_of(running, files, rules)
    if running.open:
        options = record.options if options_shown(running) else {}
        record = replace(record, options=options, answers=(), gold=())
    return {
        "version": version,
        "score": {"right": game.score.right, "done": game.score.done},
        "episode": describe(record),
        "open": running.open,
        "standing": outcome(running),
        "user": {"text": clip(running.user.text), "fresh": running.user.fresh},
        "asksBox": running.open and running.user.wants_box,
        "hasOptions": bool(running.sample.options),
        "takesAnswer": _takes_answer(running),
        "takesBoth": running.open and running.user.wants_box and _is_last(running),
        # Pictures are counted through the episode; those before `start` are hidden by now.
        "start": running.start,
        "target": _target(running, rules.box_frame),
        "canName": rules.form in INDEXED,
    }


def picture_name(game: Game, number: int) -> str:
    """How a picture of the current episode is called; no other episode has the same name."""
    return f"{game.begun}-{number}"


def _takes_answer(running: Running) -> bool:
    """Is an answer of any use now? Not where the reply is read for a box and nothing else."""
    user = running.user
    return running.open and (not user.wants_box or user.may_answer or _is_last(running))


def _is_last(running: Running) -> bool:
    return len(running.turns) + 1 >= running.setting.max_turns


def _target(running: Running, box_frame: str) -> int | None:
    """The picture that a box refers to when it names none, counted through the episode."""
    if not running.frames:
        return None
    return running.start if box_frame == "original" else len(running.shown) - 1
