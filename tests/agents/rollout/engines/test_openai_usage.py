"""What an engine says that was sent is what the server saw, however a reply ended."""

from __future__ import annotations

import threading

import pytest

from agents.rollout.engines import Failure, Sampling
from agents.rollout.engines.openai import ServerError, Usage

from .openai_server import GREEDY, RESET, Refuse, Say, ask, text_of, wait_for

pytest.importorskip("openai")


@pytest.mark.parametrize(
    ("moves", "unmetered"),
    [
        ([Say()], 0),
        ([Refuse(503), Refuse(502), Say()], 0),
        ([RESET, Say()], 1),  # it may have been generated before the connection was lost
        ([Refuse(503)] * 3, 0),
        ([RESET] * 3, 3),
        ([b"no JSON"], 1),
        ([Say(usage=None)], 1),
        ([Refuse(400)], 0),
        ([Say(17)], 0),
    ],
)
def test_requests_are_those_that_the_server_saw(server, connect, moves, unmetered):
    server.moves = list(moves)
    engine = connect()
    engine.generate([ask()], GREEDY)
    used = engine.usage
    assert (used.requests, used.retries) == (len(server.asked), len(server.asked) - 1)
    assert (used.unmetered, server.moves) == (unmetered, [])
    assert engine.take_usage("g") == used


def test_a_time_out_counts_what_was_sent_and_names_the_cause(server, connect):
    """Time runs out while the next attempt is waited for: none is under way then."""
    waits = iter(("20", "60000"))
    server.script = lambda request: Refuse(502, headers={"retry-after-ms": next(waits)})
    engine = connect(retries=1000)
    (reply,) = engine.generate([ask()], Sampling(temperature=0, timeout=1.5))
    assert engine.usage == Usage(requests=2, retries=1) and len(server.asked) == 2
    assert isinstance(reply, Failure) and reply.again
    assert reply.reason == "timed out after 1.5 s; 2 requests, the server answered 502 before"


def test_a_time_out_counts_the_request_that_is_under_way(server, connect):
    gate = threading.Event()
    server.script = lambda request: gate.wait(20) and Say("late")
    engine = connect(retries=1000)
    (reply,) = engine.generate([ask()], Sampling(temperature=0, timeout=1.5))
    gate.set()
    assert isinstance(reply, Failure) and reply.reason.startswith("timed out after 1.5 s")
    assert engine.usage == Usage(requests=1, unmetered=1)


def test_what_was_cancelled_was_sent(server, connect):
    gate = threading.Event()
    server.script = lambda request: gate.wait(20) and Say("late")
    engine = connect()
    engine.submit(ask(), GREEDY)
    wait_for(lambda: server.busy == 1)
    engine.cancel()
    wait_for(lambda: engine.usage.requests == 1)
    gate.set()
    assert engine.usage == Usage(requests=1, unmetered=1)


def test_what_was_raised_was_sent(server, connect):
    server.moves = [Refuse(401)]
    engine = connect()
    with pytest.raises(ServerError):
        engine.generate([ask()], GREEDY)
    assert engine.usage == Usage(requests=1)


def test_a_kept_reply_costs_nothing_again(server, connect, tmp_path):
    engine = connect(cache=str(tmp_path), price_prompt=1.0)
    for _ in range(3):
        assert text_of(engine.generate([ask()], GREEDY)[0]) == "A"
    paid = Usage(requests=1, prompt_tokens=100, completion_tokens=10, cost=100 / 1e6, kept=2)
    assert (engine.usage, engine.take_usage("g"), len(server.asked)) == (paid, paid, 1)
    dearer = connect(cache=str(tmp_path), price_prompt=1000.0)
    dearer.generate([ask()], GREEDY)
    assert dearer.usage == Usage(kept=1, cost=0.0)


def test_what_was_paid_for_is_kept_though_it_was_cancelled(server, connect, tmp_path):
    """The reply is written even if nobody waits for it when it comes."""
    engine = connect(cache=str(tmp_path))
    writing, gate = threading.Event(), threading.Event()
    put = engine._kept.put

    def slow(key, text):
        writing.set()
        assert gate.wait(20)
        put(key, text)

    engine._kept.put = slow
    engine.submit(ask(), GREEDY)
    assert writing.wait(20)
    engine.cancel()
    gate.set()
    engine.close()
    again = connect(cache=str(tmp_path))
    assert text_of(again.generate([ask()], GREEDY)[0]) == "A"
    assert (again.usage.kept, len(server.asked)) == (1, 1)
