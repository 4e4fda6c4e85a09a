"""Answers that no server should give: a failure of their chat, and nothing of them is kept."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from agents.rollout.engines import Failure
from agents.rollout.engines.openai import ServerError
from hrvision_env.text_cache import TextCache

from .openai_server import GREEDY, Refuse, Say, ask, text_of

pytest.importorskip("openai")

BOX = '[{"bbox_2d": [1, 2, 3, 4]}]'


@pytest.mark.parametrize(
    ("say", "reason", "again"),
    [
        *(
            (Say("The an", finish), f"unfinished reply: got finish_reason '{finish}'", True)
            for finish in ("abort", "error", "repetition", "tool_calls", "")
        ),
        (Say("A", "content_filter"), "got finish_reason 'content_filter', expected stop or", False),
        (Say("A", finish=None), "got finish_reason None", True),
        (Say("A", finish=["stop"]), r"got finish_reason \['stop'\]", True),
        (Say(BOX, "abort"), "unfinished reply", True),
        (
            Say("A", choice={"error": {"code": 502, "message": "provider gone"}}),
            "answered with an error: provider gone",
            True,
        ),
    ],
)
def test_a_reply_that_the_server_broke_off_is_a_failure(
    server, connect, tmp_path, say, reason, again
):
    server.moves = [say]
    engine = connect(cache=str(tmp_path))
    (reply,) = engine.generate([ask(stop=("}]",))], GREEDY)
    assert isinstance(reply, Failure) and reply.again is again
    with pytest.raises(AssertionError, match=reason):
        text_of(reply)
    assert (engine.usage.prompt_tokens, engine.usage.unmetered) == (100, 0)  # paid all the same
    (reply,) = engine.generate([ask(stop=("}]",))], GREEDY)
    assert (text_of(reply), len(server.asked), engine.usage.kept) == ("A", 2, 0)


DEEP = 50_000


@pytest.mark.parametrize(
    "move",
    [
        b"[" * 200_000,
        b'{"choices": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"error": ' * DEEP + b"1" + b"}" * DEEP,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"\xff\xfe{}",
        b"",
        b"null",
        Refuse(400, {"error": {"error": {"message": {"detail": "x"}}}}),
    ],
    ids=["open", "deep", "errors", "digits", "bytes", "empty", "null", "nested"],
)
def test_an_answer_that_cannot_be_read_is_its_own_failure(server, connect, move):
    server.script = lambda request: move if "bad" in str(request) else Say("good")
    replies = connect(retries=0, price_prompt=1.0).generate([ask("a"), ask("bad")], GREEDY)
    assert text_of(replies[0]) == "good"
    assert isinstance(replies[1], Failure) and len(replies[1].reason) < 450


def test_an_error_that_is_too_deep_to_print_is_its_own_failure(server, connect):
    body: dict[str, Any] = {"x": 1}
    for _ in range(300):
        body = {"error": body}
    server.script = lambda request: Refuse(400, body) if "bad" in str(request) else Say("good")
    replies = connect(retries=0).generate([ask("a"), ask("bad")], GREEDY)
    assert text_of(replies[0]) == "good" and isinstance(replies[1], Failure)


@pytest.mark.parametrize(
    "counts", [(-1, 1), (True, 1), (1, False), (10**400, 1), (2**40, 1), (1.5, 1), ("7", 1)]
)
def test_counts_that_are_none_are_not_believed(server, connect, counts):
    prompt, completion = counts
    server.moves = [Say(usage={"prompt_tokens": prompt, "completion_tokens": completion})]
    engine = connect(price_prompt=1.0)
    assert text_of(engine.generate([ask()], GREEDY)[0]) == "A"
    used = engine.usage
    assert (used.prompt_tokens, used.completion_tokens, used.unmetered) == (0, 0, 1)
    assert used.cost is None


@pytest.mark.parametrize(
    "row",
    [
        '{"text": "A',
        "[]",
        '"x"',
        '{"text": 3, "stop": "eos"}',
        '{"text": "A", "stop": "?"}',
        b"\0",
        7,
    ],
)
def test_a_damaged_row_is_asked_for_again_and_replaced(server, connect, tmp_path, row):
    connect(cache=str(tmp_path)).generate([ask()], GREEDY)
    with sqlite3.connect(tmp_path / "replies.sqlite3") as table:
        table.execute("UPDATE texts SET text = ?", (row,))
    table.close()
    engine = connect(cache=str(tmp_path))
    server.moves = [Say("B")]
    assert text_of(engine.generate([ask()], GREEDY)[0]) == "B"
    assert (engine.usage.requests, engine.usage.kept) == (1, 0)
    again = connect(cache=str(tmp_path))
    assert text_of(again.generate([ask()], GREEDY)[0]) == "B"
    assert (again.usage.requests, again.usage.kept) == (0, 1)


def test_a_wrong_address_is_found_before_all_retries(server, connect, monkeypatch):
    from agents.rollout.engines import _openai_http as http

    knocks = []
    knock = http.Door._try

    async def counted(door):
        knocks.append(door)
        return await knock(door)

    monkeypatch.setattr(http.Door, "_try", counted)
    monkeypatch.setattr(http, "KNOCKS", (0.0, 0.01, 0.01))
    server.stop()
    engine = connect(retries=1000, concurrency=1)
    with pytest.raises(ServerError, match=r"'m' at .* cannot be reached: ConnectError.*running\?"):
        engine.generate([ask("a"), ask("b")], GREEDY)
    assert len(knocks) >= 3 and engine.usage.requests == 0


def test_closing_hides_no_error_when_the_disk_is_locked(server, connect, tmp_path, monkeypatch):
    from agents.rollout.engines import openai

    monkeypatch.setattr(openai, "PATIENCE", 0.2)
    path = tmp_path / "replies.sqlite3"
    TextCache(path).put("a", "b")
    engine = connect(cache=str(tmp_path))
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        engine.submit(ask(), GREEDY)
        with pytest.raises(KeyboardInterrupt):
            try:
                raise KeyboardInterrupt
            finally:
                engine.close()
        assert not engine._thread.is_alive() and engine._loop.is_closed()
    finally:
        lock.close()
    assert json.dumps(engine.options.model_dump())  # nothing of it was lost
