"""What goes wrong between a client and a server, and what is kept of a run that was cut short."""

from __future__ import annotations

import json
import sqlite3
import threading

import pytest

from agents.rollout.engines import Failure, Sampling
from agents.rollout.engines.openai import ServerError, Usage
from agents.rollout.messages import Messages

from ..test_messages import noise
from .openai_server import GREEDY, RESET, Refuse, Say, ask, text_of

pytest.importorskip("openai")


@pytest.mark.parametrize(
    "stumble",
    [
        Refuse(429, headers={"retry-after-ms": "1"}),
        Refuse(429, headers={"Retry-After": "0.01"}),
        Refuse(500),
        Refuse(503),
        Refuse(408),
    ],
)
def test_a_server_that_stumbles_is_asked_again(server, connect, stumble):
    server.moves = [stumble, stumble]
    engine = connect()
    assert text_of(engine.generate([ask()], GREEDY)[0]) == "A"
    assert (len(server.asked), engine.usage.requests, engine.usage.retries) == (3, 3, 2)
    assert server.asked[0] == server.asked[2]


def test_a_lost_connection_is_asked_again(server, connect):
    server.moves = [RESET]
    engine = connect()
    assert text_of(engine.generate([ask()], GREEDY)[0]) == "A"
    assert engine.usage.retries == 1


@pytest.mark.parametrize(
    ("move", "reason", "again"),
    [
        (
            Refuse(400, {"message": "maximum context length is 2048 tokens"}),
            "the server answered 400: maximum context length is 2048 tokens",
            False,
        ),
        (Refuse(403, {"error": {"message": "flagged"}}), "answered 403: flagged", False),
        (Refuse(422, {"detail": [{"msg": "x" * 900}]}), "answered 422: .*…", False),
        (Refuse(503, {}), "answered 503", True),
        (Refuse(429, {"error": {"message": "slow down"}}), "answered 429: slow down", True),
        (RESET, "lost connection: ", True),
        (b'{"choices": [', "malformed answer: got .* expected JSON", True),
        (b"[1, 2]", "malformed answer: got .*expected choices", True),
        (b'{"error": {"message": "overloaded"}}', "with an error: overloaded", True),
        (b'{"choices": []}', "expected choices", True),
        (Say(17), "got the content 17, expected a text", True),
        (Say([{"type": "text", "text": 3}]), "expected a text", True),
    ],
)
def test_a_failure_is_this_chats_alone(server, connect, move, reason, again):
    server.script = lambda request: move if "bad" in str(request) else Say("good")
    replies = connect(retries=0).generate([ask("a"), ask("bad"), ask("c")], GREEDY)
    assert (text_of(replies[0]), text_of(replies[2])) == ("good", "good")
    assert isinstance(replies[1], Failure) and replies[1].again is again
    with pytest.raises(AssertionError, match=reason):
        text_of(replies[1])
    assert len(replies[1].reason) < 450


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (Refuse(401), "look at the key"),
        (Refuse(402), "look at the account's credit"),
        (Refuse(404, {"message": "no model m"}), "answered 404: no model m; look at the address"),
        (Refuse(429, {"error": {"message": "quota", "code": "insufficient_quota"}}), "credit"),
    ],
)
def test_what_concerns_everybody_is_raised_and_forgets_the_rest(server, connect, move, message):
    gate = threading.Event()

    def script(request):
        if "bad" in str(request):
            return move
        return gate.wait(20) and Say()

    server.script = script
    engine = connect(retries=0)
    for text in ("a", "bad", "b"):
        engine.submit(ask(text), GREEDY)
    with pytest.raises(ServerError, match=message):
        while True:
            engine.collect()
    gate.set()
    assert engine.collect() == []
    server.script = lambda request: Say("well")
    assert text_of(engine.generate([ask("bad")], GREEDY)[0]) == "well"


def test_a_server_that_is_not_there_is_raised(server, connect):
    server.stop()
    engine = connect(retries=0)
    with pytest.raises(ServerError, match=r"cannot be reached: ConnectError.*is it running\?"):
        engine.generate([ask()], GREEDY)


@pytest.mark.parametrize("limit", ["sampling", "option"])
def test_a_reply_that_takes_too_long_is_a_failure(server, connect, limit):
    gate = threading.Event()
    server.script = lambda request: (
        gate.wait(20) and Say("late") if "slow" in str(request) else Say("quick")
    )
    engine = connect(retries=0, timeout=0.3 if limit == "option" else 60)
    sampling = Sampling(temperature=0, timeout=0.3 if limit == "sampling" else None)
    quick, slow = engine.generate([ask("quick"), ask("slow")], sampling)
    gate.set()
    assert text_of(quick) == "quick"
    assert isinstance(slow, Failure) and slow.again
    assert slow.reason.startswith("timed out after") and slow.reason.endswith("0.3 s")
    assert (engine.usage.requests, engine.usage.unmetered) == (2, 1)


def dialogue(engine, name="g", member=0, sampling=GREEDY):
    """Two turns with a picture each; the second shows what the first reply was."""
    chat = Messages(name).fork(member)
    chat.observe("<image>one", [noise(1)], system="S")
    first = text_of(engine.generate([chat], sampling)[0])
    chat.reply(engine.generate([chat], sampling)[0])
    chat.observe("<image>two", [noise(2)])
    return first, text_of(engine.generate([chat], sampling)[0])


def test_a_second_run_asks_for_nothing(server, connect, tmp_path):
    server.script = lambda request: Say(f"reply {len(request['messages'])} ü")
    first = connect(cache=str(tmp_path / "kept"), price_prompt=1.0)
    assert dialogue(first) == ("reply 2 ü", "reply 4 ü")
    assert len(server.asked) == 2  # the same reply was asked for twice
    paid = first.usage
    assert (paid.requests, paid.prompt_tokens, paid.kept) == (2, 200, 1)
    assert paid.cost == pytest.approx(200 / 1e6)
    server.script = lambda request: Refuse(500)
    second = connect(cache=str(tmp_path / "kept"), url="http://127.0.0.1:9/v1", price_prompt=1.0)
    assert dialogue(second) == ("reply 2 ü", "reply 4 ü")
    assert len(server.asked) == 2
    assert second.usage == Usage(kept=3, cost=0.0)
    with sqlite3.connect(tmp_path / "kept" / "replies.sqlite3") as table:
        rows = [json.loads(text) for (text,) in table.execute("SELECT text FROM texts")]
    table.close()
    assert sorted(row["text"] for row in rows) == ["reply 2 ü", "reply 4 ü"]


def test_a_kept_reply_is_of_this_model_conversation_sampling_and_draw(server, connect, tmp_path):
    def asked(chat=None, sampling=GREEDY, **options):
        connect(cache=str(tmp_path), **options).generate([chat or seen()], sampling)
        return len(server.asked)

    def seen(image=1, text="q", member=0, name="g", stop=()):
        chat = Messages(name).fork(member)
        chat.stop = stop
        chat.observe(f"<image>{text}", [noise(image)])
        return chat

    assert [asked(), asked()] == [1, 1]
    differ = [
        *(seen(image=2), seen(text="r"), seen(member=1), seen(name="h"), seen(stop=("]",))),
    ]
    assert [asked(chat) for chat in differ] == [2, 3, 4, 5, 6]
    assert asked(sampling=Sampling(max_tokens=31, temperature=0)) == 7
    assert asked(sampling=Sampling(max_tokens=32, temperature=0, seed=1)) == 8
    assert asked(model="n") == 9
    assert asked(image_format="jpeg") == 10
    assert asked(extra_body={"x": 1}) == 11
    assert [asked(chat) for chat in differ] == [11] * 5
    assert asked(sampling=Sampling(max_tokens=32, temperature=0, timeout=9)) == 11


def test_failures_are_not_kept(server, connect, tmp_path):
    server.moves = [Refuse(400), b"{}"]
    for _ in range(2):
        (reply,) = connect(cache=str(tmp_path)).generate([ask()], GREEDY)
        assert isinstance(reply, Failure)
    assert text_of(connect(cache=str(tmp_path)).generate([ask()], GREEDY)[0]) == "A"


def test_replies_before_a_raised_error_are_not_paid_twice(server, connect, tmp_path):
    server.script = lambda request: Refuse(401) if "3" in str(request["messages"]) else Say()
    engine = connect(cache=str(tmp_path), concurrency=1)
    with pytest.raises(ServerError):
        engine.generate([ask(str(n)) for n in range(5)], GREEDY)
    server.script = lambda request: Say()
    before = len(server.asked)
    connect(cache=str(tmp_path)).generate([ask(str(n)) for n in range(5)], GREEDY)
    assert len(server.asked) - before == 2
