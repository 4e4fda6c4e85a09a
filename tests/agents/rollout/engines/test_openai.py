"""The client of OpenAI-compatible servers against a real one on this machine."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from agents.rollout.engines import ContinuousEngine, StopReason
from agents.rollout.engines.openai import ServerError

from .openai_server import GREEDY, Refuse, Say, ask, text_of, wait_for

pytest.importorskip("openai")


def test_it_is_a_continuous_engine(connect):
    engine = connect()
    assert isinstance(engine, ContinuousEngine)
    assert (engine.policy_version, engine.open_chat("g").group) == (0, "g")


def test_replies_come_in_order_whatever_the_server_does(server, connect):
    last = threading.Event()

    def script(request):
        text = request["messages"][0]["content"]
        if text == "0":  # the first one answers last
            assert last.wait(20)
        if text == "7":
            last.set()
        return Say(f"reply {text}")

    server.script = script
    replies = connect().generate([ask(str(n)) for n in range(8)], GREEDY)
    assert [text_of(reply) for reply in replies] == [f"reply {n}" for n in range(8)]
    assert all(r.token_ids == [] and r.stop_reason is StopReason.EOS for r in replies)


def test_no_more_requests_at_once_than_allowed(server, connect):
    gate = threading.Event()
    server.script = lambda request: gate.wait(20) and Say()
    engine = connect(concurrency=3)
    for n in range(9):
        engine.submit(ask(str(n)), GREEDY)
    wait_for(lambda: server.busy == 3)
    assert engine.collect() == []
    gate.set()
    got: list[Any] = []
    while len(got) < 9:
        got += engine.collect()
    assert server.peak == 3 and len(server.asked) == 9


def test_a_chat_gets_its_next_reply_while_others_wait(server, connect):
    gate = threading.Event()

    def script(request):
        if request["messages"][0]["content"] == "slow":
            assert gate.wait(20)
        return Say("done")

    server.script = script
    engine, slow, quick = connect(), ask("slow"), ask("quick")
    engine.submit(slow, GREEDY)
    for turn in range(3):
        engine.submit(quick, GREEDY)
        ready: list[Any] = []
        while not ready:
            ready = engine.collect()
        assert [chat for chat, _ in ready] == [quick]
        quick.reply(ready[0][1])
        quick.observe(f"turn {turn}")
    gate.set()
    ready = []
    while not ready:
        ready = engine.collect()
    assert ready[0][0] is slow


BOX = '[{"bbox_2d": [1, 2, 3, 4]}]'


@pytest.mark.parametrize(
    ("say", "text", "reason"),
    [
        (Say(BOX + " and so on"), BOX, StopReason.STOP),
        (Say(BOX + " and", finish="length"), BOX, StopReason.STOP),
        (Say(BOX[:-2], choice={"stop_reason": "}]"}), BOX, StopReason.STOP),
        (Say(BOX[:-2], choice={"matched_stop": "}]"}), BOX, StopReason.STOP),
        (Say(BOX[:-2], choice={"stop_reason": 151645}), BOX[:-2], StopReason.EOS),
        (Say(BOX[:9], finish="length"), BOX[:9], StopReason.LENGTH),
    ],
)
def test_where_a_reply_ends(server, connect, say, text, reason):
    server.moves = [say]
    (reply,) = connect().generate([ask(stop=("}]", "]\n```"))], GREEDY)
    assert (reply.text, reply.stop_reason) == (text, reason)
    assert "stop" not in server.asked[0]


@pytest.mark.parametrize(
    "say",
    [
        Say(None, message={"refusal": "I cannot help with that."}),
        Say("", message={"reasoning_content": "It is B."}),
    ],
)
def test_a_reply_without_text_is_a_reply(server, connect, say):
    server.moves = [say]
    chat = ask()
    (reply,) = connect().generate([chat], GREEDY)
    assert (reply.text, chat.reply(reply)) == ("", "")


def test_a_text_in_parts_is_read_without_the_thoughts(server, connect):
    parts = [{"type": "thinking", "thinking": []}, *({"type": "text", "text": t} for t in "AB")]
    server.moves = [Say(parts)]
    assert text_of(connect().generate([ask()], GREEDY)[0]) == "AB"


def test_half_a_surrogate_pair_in_a_reply_can_be_written_to_a_file(server, connect):
    server.moves = [Say("a\ud800b")]  # as json.dumps writes it: an escape
    assert text_of(connect().generate([ask()], GREEDY)[0]) == "a?b"


def test_costs_add_up_and_are_told_by_group(server, connect):
    engine = connect(price_prompt=2.0, price_completion=10.0)
    chats = [ask("1", "a"), ask("2", "a"), ask("3", "b")]
    server.moves = [Refuse(503)]
    engine.generate(chats, GREEDY)
    total = engine.usage
    assert (total.requests, total.retries, total.kept, total.unmetered) == (4, 1, 0, 0)
    assert (total.prompt_tokens, total.completion_tokens) == (300, 30)
    assert total.cost == pytest.approx(3 * (100 * 2 + 10 * 10) / 1e6)
    assert engine.take_usage("b").prompt_tokens == 100
    assert engine.take_usage("a").prompt_tokens == 200
    assert engine.take_usage("a").requests == 0


def test_without_prices_or_counts_there_is_no_cost(server, connect):
    server.moves = [Say(), Say(usage=None), Say(usage={"prompt_tokens": "many"})]
    engine = connect()
    engine.generate([ask()], GREEDY)
    assert engine.usage.cost is None and engine.usage.prompt_tokens == 100
    engine.generate([ask(), ask()], GREEDY)
    assert (engine.usage.unmetered, engine.usage.prompt_tokens) == (2, 100)


def test_it_cannot_be_trained(connect):
    with pytest.raises(RuntimeError, match=r"'m' at .* cannot be given weights"):
        connect().load_weights("some/folder", 1)


def test_cancelled_requests_are_forgotten(server, connect):
    gate = threading.Event()
    server.script = lambda request: gate.wait(20) and Say("late")
    engine = connect()
    engine.submit(ask("1"), GREEDY)
    with pytest.raises(RuntimeError, match="1 chats still wait"):
        engine.generate([ask("2")], GREEDY)
    wait_for(lambda: server.busy == 1)
    engine.cancel()
    gate.set()
    server.script = lambda request: Say("new")
    assert [text_of(r) for r in engine.generate([ask("3")], GREEDY)] == ["new"]
    assert engine.collect() == []


def test_closing_ends_the_thread_twice_is_no_matter(server, connect):
    engine = connect()
    gate = threading.Event()
    server.script = lambda request: gate.wait(20) and Say()
    engine.submit(ask(), GREEDY)
    wait_for(lambda: server.busy == 1)
    engine.close()
    engine.close()
    gate.set()
    assert not engine._thread.is_alive()


def test_without_the_package_the_error_says_what_to_install(connect, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r"pip install 'hrvision\[openai\]'"):
        connect()


def test_a_server_of_no_use_is_raised(server, connect):
    server.moves = [Refuse(401, {"error": {"message": "bad key"}})]
    with pytest.raises(ServerError, match=r"'m' at .* answered 401: bad key; look at the key"):
        connect().generate([ask()], GREEDY)
