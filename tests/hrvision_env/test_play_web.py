"""Playing in a browser: who is served, what is served, and a whole episode with the mouse."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hrvision_env import HighResVQAEnv
from hrvision_env.play import Game
from hrvision_env.play.server import MAX_BODY, PlayServer

from .test_rendering import HOSTILE, box, make, split_of
from .test_viewer import ATTACK

RIGHT = r"\boxed{nothing}"


class Client:
    """Talks to a server as a browser would, or not quite."""

    def __init__(self, server: PlayServer) -> None:
        self.server = server
        self.host = f"127.0.0.1:{server.server_port}"

    def ask(
        self, path: str, body: Any = None, method: str = "", token: str = "", **headers: str
    ) -> tuple[int, Any]:
        """Status, and the JSON or the bytes that came back. `Name_with_lines` are headers."""
        sent = {"Host": self.host, **{name.replace("_", "-"): v for name, v in headers.items()}}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent = {"Content-Type": "application/json", **sent}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=20)
        address = f"/{token or self.server.token}/{path}"
        connection.request(method or ("GET" if data is None else "POST"), address, data, sent)
        response = connection.getresponse()
        content = response.read()
        self.headers = response.headers
        connection.close()
        if response.headers.get_content_type() == "application/json":
            return response.status, json.loads(content)
        return response.status, content

    def state(self) -> dict[str, Any]:
        return dict(self.ask("state")[1])

    def reply(self, text: str) -> dict[str, Any]:
        status, state = self.ask("reply", {"text": text, "version": self.state()["version"]})
        assert status == 200, state
        return dict(state)


Open = Callable[..., Client]


@contextlib.contextmanager
def serving(env: HighResVQAEnv, question: int | str = "white") -> Iterator[Client]:
    with PlayServer(Game(env, question=question)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Client(server)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def opened() -> Iterator[Open]:
    """Servers on plain pictures; closed at the end."""
    with contextlib.ExitStack() as stack:

        def start(question: int | str = "white", **options: Any) -> Client:
            env = make(split=split_of(question), **options)
            return stack.enter_context(serving(env, question))

        yield start


# -- Who is served


def test_it_listens_on_the_loopback_interface_alone(opened):
    server = opened().server
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert len(server.token) >= 32 and opened().server.token != server.token


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1", "127.0.0.1:1", "evil.test:80", ""])
def test_another_host_name_is_refused(opened, host):
    client = opened()
    for path, body in (("", None), ("state", None), ("next", {"version": 1})):
        assert client.ask(path, body, Host=host)[0] == 403
    assert client.server.game.begun == 1


def test_localhost_is_served_as_well(opened):
    client = opened()
    assert client.ask("state", Host=f"localhost:{client.server.server_port}")[0] == 200


@pytest.mark.parametrize("token", ["x", "x" * 32, "..", "%2e%2e", "%C3%A9tat"])
def test_without_the_token_there_is_nothing(opened, token):
    client = opened()
    for path in ("", "state", "play.js", "image/1-0"):
        status, answer = client.ask(path, token=token)
        assert status == 404 and "token" in answer["error"]
    assert client.server.token not in json.dumps(client.ask("state", token="x")[1])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_another_page_cannot_post(opened, headers, status):
    client = opened()
    assert client.ask("next", {"version": 1}, **headers)[0] == status
    assert client.server.game.begun == 1
    assert client.ask("next", {"version": 1}, Origin=f"http://{client.host}")[0] == 200


def test_nothing_changes_by_a_get(opened):
    client = opened()
    before = client.state()
    for path in ("next", "again", "reply", "reply?text=x&version=1", "next?version=1"):
        assert client.ask(path)[0] == 404
    for method in ("PUT", "DELETE", "HEAD", "OPTIONS"):
        assert client.ask("next", method=method)[0] == 501
    assert client.state() == before


def test_every_answer_has_the_headers_that_protect_it(opened):
    client = opened()
    for path in ("", "play.css", "play.js", "state", "image/1-0", "nothing"):
        client.ask(path)
        assert client.headers["Cache-Control"] == "no-store"
        assert client.headers["X-Content-Type-Options"] == "nosniff"
        policy = client.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "Python" not in client.headers["Server"]
    assert client.ask("")[1].startswith(b"<!doctype html>")
    assert b"<script" not in client.ask("play.js")[1]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b"[" * 100_000, 400), (b"\xff", 400), ({}, 409), (b"{}", 409)],
)
def test_bodies_that_are_none(opened, body, status):
    client = opened()
    assert client.ask("reply", body)[0] == status
    assert client.server.game.running.turns == []


def test_bodies_have_a_limit(opened):
    client = opened()
    assert client.ask("reply", method="POST", Content_Type="application/json")[0] in (400, 411)
    huge = {"Content_Length": str(MAX_BODY + 1), "Content_Type": "application/json"}
    assert client.ask("reply", method="POST", **huge)[0] == 413
    assert client.ask("nothing", {"version": 1})[0] == 404
    assert client.ask("reply", {"version": 1, "text": "x" * 1_500_000})[0] == 200


# -- What is served


def test_an_episode_over_the_wire(opened):
    client = opened()
    state = client.state()
    assert (state["open"], state["asksBox"], state["score"]) == (
        True,
        True,
        {"right": 0, "done": 0},
    )
    status, made = client.ask("box?picture=0&x1=140&y1=56&x2=420&y2=280")
    assert (status, made) == (200, {"text": '[{"bbox_2d": [140, 56, 420, 280]}]', "fault": ""})
    state = client.reply(made["text"])
    (view,), (crop,) = state["episode"]["shown"]
    assert crop["region"] == [280, 112, 840, 560]
    assert view["marks"][0]["box"] == [0.25, 0.1, 0.75, 0.5]
    for number, shown in enumerate((view, crop)):
        assert shown["file"] == f"1-{number}"
        data = client.ask(f"image/{shown['file']}")[1]
        kept = np.asarray(Image.open(io.BytesIO(data)), int)
        sent = np.asarray(client.server.game.running.shown[number].image, int)
        assert kept.shape == sent.shape and np.abs(kept - sent).max() < 6
    assert client.ask("answer?text=nothing")[1] == {"text": RIGHT}
    state = client.reply(RIGHT)
    assert (state["open"], state["episode"]["outcome"]) == (False, "correct")
    assert state["score"] == {"right": 1, "done": 1}


def test_pictures_of_another_episode_are_gone(opened):
    client = opened()
    assert client.ask("next", {"version": 1})[0] == 200
    assert client.ask("image/1-0")[0] == 404 and client.ask("image/2-0")[0] == 200
    for name in ("2-7", "2-", "", "../page.html", "2-0/"):
        assert client.ask(f"image/{name}")[0] == 404


@pytest.mark.parametrize(
    "query",
    ["", "picture=0", "picture=1&x1=0&y1=0&x2=9&y2=9", "picture=0&x1=a&y1=0&x2=9&y2=9",
     "picture=0&x1=nan&y1=0&x2=9&y2=9", "picture=0&x1=inf&y1=0&x2=9&y2=9"],
)  # fmt: skip
def test_boxes_that_cannot_be(opened, query):
    status, answer = opened().ask(f"box?{query}")
    assert status == 400 and answer["error"].startswith("box: ")


def test_a_box_that_would_be_refused_is_told_before(opened):
    answer = opened().ask("box?picture=0&x1=10&y1=10&x2=20&y2=20")[1]
    assert answer == {"text": '[{"bbox_2d": [10, 10, 20, 20]}]', "fault": "too_small"}


def test_the_gold_is_hidden_until_the_end():
    env = HighResVQAEnv(max_pixels=256 * 28 * 28)
    with serving(env, 3) as client:
        state = client.state()
        assert state["episode"]["answers"] == [] and state["episode"]["options"] == {}
        assert state["hasOptions"] and "pattern" in state["episode"]["question"]
        state = client.reply("no box")
        assert state["episode"]["answers"] == [] and len(state["episode"]["options"]) == 6
        assert not [m for turn in state["episode"]["shown"] for p in turn for m in p["marks"]]
        state = client.reply("x")
        assert state["episode"]["answers"] == list(env.sample.answers)
        assert state["episode"]["shown"][0][0]["marks"][0]["kind"] == "gold"


def test_tabs_do_not_get_in_each_others_way(opened):
    client = opened()
    seen = client.state()["version"]
    client.reply("from one tab")
    for path, body in (("reply", {"text": "from the other"}), ("next", {}), ("again", {})):
        status, answer = client.ask(path, {**body, "version": seen})
        assert status == 409 and "another tab" in answer["error"]
        assert answer["state"] == client.state()
    turns = client.server.game.running.turns
    assert [turn.reply for turn in turns] == ["from one tab"]


def test_many_tabs_at_once_send_one_reply(opened):
    client = opened(dialogue="free", max_turns=9)
    version, statuses = client.state()["version"], []

    def send(n: int) -> None:
        own = Client(client.server)
        statuses.append(own.ask("reply", {"text": f"{n}", "version": version})[0])

    threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7
    assert len(client.server.game.running.turns) == 1


def test_replies_that_nobody_waits_for(opened):
    client = opened(dialogue="single_turn")
    for text in ("", " \n", None, 5):
        assert client.ask("reply", {"text": text, "version": 1})[0] == 400
    client.reply("x")
    status, answer = client.ask("reply", {"text": "y", "version": client.state()["version"]})
    assert status == 409 and "over" in answer["error"]


def test_hostile_texts_travel_as_json(opened):
    client = opened(f"q{HOSTILE}", dialogue="free")
    state = client.reply(ATTACK + HOSTILE)
    assert state["episode"]["turns"][0]["reply"] == ATTACK + HOSTILE
    assert state["episode"]["question"] == HOSTILE


def test_a_broken_image_is_an_episode_that_failed(opened):
    client = opened("broken")
    state = client.state()
    assert (state["open"], state["episode"]["outcome"], state["target"]) == (False, "error", None)
    assert client.ask("next", {"version": 1})[0] == 200


def test_what_is_hidden_from_the_agent_is_hidden_from_the_person(opened):
    client = opened(dialogue="crop_only")
    state = client.reply(box(140, 56, 420, 280))
    assert state["start"] == 1 and state["user"]["fresh"]


@pytest.mark.parametrize(
    ("dialogue", "first", "both"),
    [("mgpo", False, False), ("free", True, False), ("single_turn", True, True)],
)
def test_an_answer_is_offered_where_it_is_of_use(opened, dialogue, first, both):
    client = opened(dialogue=dialogue)
    state = client.state()
    assert (state["takesAnswer"], state["takesBoth"]) == (first, both)
    state = client.reply(box(140, 56, 420, 280))
    assert state["takesAnswer"] == state["open"] and not state["takesBoth"]
