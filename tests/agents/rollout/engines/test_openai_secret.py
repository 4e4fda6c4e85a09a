"""The key of a server is in no error, reply, kept file or manifest, whatever a server says."""

from __future__ import annotations

import json
import traceback

import pytest

from agents.rollout.engines import Failure, Sampling
from agents.rollout.engines._openai_secret import Secret
from agents.rollout.engines.openai import Options, ServerError

from .openai_server import GREEDY, Refuse, Say, ask, text_of

pytest.importorskip("openai")

KEY = "sk-SECRET0123456789abcdefXYZ"
PIECES = [KEY[n : n + 8] for n in range(len(KEY) - 7)]


def clean(text: str) -> bool:
    return not any(piece.lower() in text.lower() for piece in PIECES)


@pytest.fixture
def keyed(connect, monkeypatch):
    """keyed(**options): an engine whose key is KEY."""
    monkeypatch.setenv("SOME_KEY", KEY)
    return lambda **options: connect(**{"key_env": "SOME_KEY", "retries": 0, **options})


ECHOES = [
    f"<html>debug Bearer {KEY}</html>".encode(),
    json.dumps({"debug": f"Bearer {KEY}"}).encode(),
    json.dumps({"error": {"message": f"Bearer {KEY}"}}).encode(),
    Say(17, choice={"finish_reason": KEY}),
    Say({"key": KEY}),
    *(Refuse(400, {"error": {"message": "y" * pad + KEY}}) for pad in (0, 270, 285, 293)),
    Refuse(400, {"error": {"message": f"wrong key: {KEY[:14]}..."}}),
    Refuse(400, {"error": {"message": f"wrong key: ...{KEY[-9:].upper()}"}}),
    Refuse(503, {"detail": [{"headers": {"authorization": f"Bearer {KEY}"}}]}),
    Refuse(400, f"not JSON: {KEY}"),
]


@pytest.mark.parametrize("move", ECHOES)
def test_a_failure_does_not_show_the_key(server, keyed, move):
    server.moves = [move]
    (reply,) = keyed().generate([ask()], GREEDY)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert isinstance(reply, Failure) and clean(reply.reason) and len(reply.reason) < 450


@pytest.mark.parametrize("status", [401, 402, 404])
def test_what_is_raised_does_not_show_the_key(server, keyed, status):
    server.moves = [Refuse(status, {"error": {"message": f"no: {KEY}"}})]
    with pytest.raises(ServerError, match=r"no: \*\*\*") as caught:
        keyed().generate([ask()], GREEDY)
    assert clean("".join(traceback.format_exception(caught.value)))


def test_an_error_that_nobody_expected_does_not_show_the_key(server, keyed, monkeypatch):
    engine = keyed()

    def breaks(*args, **kwargs):
        raise UnicodeError(f"cannot send 'Bearer {KEY}'")

    monkeypatch.setattr(engine._client.chat.completions.with_raw_response, "create", breaks)
    with pytest.raises(ServerError, match=r"'m' at .*UnicodeError: cannot send 'Bearer \*\*\*'"):
        engine.generate([ask()], GREEDY)


def test_a_reply_and_what_is_kept_of_it_do_not_show_the_key(server, keyed, tmp_path):
    server.moves = [Say(f"Your header was Bearer {KEY}"), Say(f"cut: {KEY[:20]}", "length")]
    replies = keyed(cache=str(tmp_path), concurrency=1).generate([ask("1"), ask("2")], GREEDY)
    assert [text_of(reply) for reply in replies] == ["Your header was Bearer ***", "cut: ***"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and all(clean(path.read_bytes().decode("latin-1")) for path in files)


@pytest.mark.parametrize("key", ["EMPTY", "none", "A", "password"])
def test_a_stand_in_for_a_key_changes_no_reply(server, connect, monkeypatch, key):
    monkeypatch.setenv("SOME_KEY", key)
    said = "The glass is EMPTY, none is left: A. My password?"
    server.moves = [Say(said)]
    assert text_of(connect(key_env="SOME_KEY").generate([ask()], GREEDY)[0]) == said


@pytest.mark.parametrize("around", ["\n", "\r\n", " ", "\t"])
def test_white_space_around_a_key_is_not_part_of_it(server, connect, monkeypatch, around):
    monkeypatch.setenv("SOME_KEY", around + KEY + around)
    assert text_of(connect(key_env="SOME_KEY").generate([ask()], GREEDY)[0]) == "A"
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("odd", ["ü", "…", "\x07", " inside ", "\ninside\n"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(connect, monkeypatch, odd):
    monkeypatch.setenv("SOME_KEY", KEY[:12] + odd + KEY[12:])
    with pytest.raises(ValueError, match="environment variable SOME_KEY holds char") as caught:
        connect(key_env="SOME_KEY")
    assert clean("".join(traceback.format_exception(caught.value)))


def test_pieces_of_a_key_are_masked_and_words_are_not():
    secret = Secret(KEY)
    shown = secret.hide(f"{KEY}, {KEY.upper()}, {KEY[3:17]}x, {KEY[:7]}, {KEY[-8:]}")
    assert shown == f"***, ***, ***x, {KEY[:7]}, ***"
    assert secret.hide("nothing of it") == "nothing of it"
    assert Secret("").hide("sk-x") == "sk-x" and KEY not in repr(secret)
    assert Secret("abc-123").hide("abc-123, abc") == "***, abc"
    assert secret.hide("İ" + KEY) == "İ***"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        *(({name: 1}, f"got {name}, which") for name in ("stream", "n", "messages", "model")),
        *(({name: 1}, f"got {name}, which") for name in ("stop", "temperature", "max_tokens")),
        ({"api_key": KEY}, "extra_body.api_key: looks like a key"),
        ({"provider": {"apiKey": KEY}}, r"extra_body.provider.apiKey"),
        ({"a": [{"Authorization": KEY}]}, r"extra_body.a.0.Authorization"),
        ({"extra_headers": {"x-mine": KEY}}, r"extra_body.extra_headers"),
        ({"access_token": KEY}, "extra_body.access_token"),
        ({"mine": f"Bearer {KEY}"}, "extra_body.mine"),
        ({"mine": ["sk-1234"]}, "extra_body.mine.0"),
    ],
)
def test_extra_fields_that_are_taken_or_secret_are_refused(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        Options(model="m", extra_body=given)
    assert clean(str(caught.value))


@pytest.mark.parametrize(
    "given",
    [
        {"logit_bias": {"5": -100}, "stop_token_ids": [1], "min_tokens": 3},
        {"prompt_cache_key": "users-1", "chat_template_kwargs": {"enable_thinking": False}},
        {"provider": {"order": ["a"], "allow_fallbacks": False}, "eos_token": "<|end|>"},
        {"repetition_penalty": 1.05, "top_k": 5},
    ],
)
def test_other_extra_fields_are_taken(given):
    assert Options(model="m", extra_body=given).extra_body == given


def test_what_a_server_of_this_kind_is_told_by_the_sampling_is_taken():
    with pytest.raises(ValueError, match="got min_p, top_k, which the engine sets"):
        Options(model="m", server="vllm", extra_body={"top_k": 5, "min_p": 0.1})


def test_a_key_in_the_options_is_found_by_its_value(connect, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "0123-4567-89ab")
    with pytest.raises(ValueError, match="the options hold the key of SOME_KEY itself") as caught:
        connect(key_env="SOME_KEY", extra_body={"user": "0123-4567-89ab"})
    assert "4567" not in str(caught.value)


def test_a_short_key_is_masked_in_messages(server, connect, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret-1234")
    server.moves = [Refuse(400, {"error": {"message": "wrong: secret-1234, secret-1…"}})]
    (reply,) = connect(key_env="SOME_KEY").generate([ask()], Sampling())
    assert reply.reason == "the server answered 400: wrong: ***, ***…"
