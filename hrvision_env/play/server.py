"""Playing in a browser: a small server on the loopback interface alone.

Who may talk to it: a browser on this machine that knows the address with its random token. The
`Host` header is checked, so that a page elsewhere cannot get here by a name that it lets point to
127.0.0.1, and so is `Origin`. Nothing changes by a GET.

One game is played, in as many tabs as somebody likes: every state has a version, and what a tab
sends on an old version is refused with the state as it is now.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from ..replies import write_answer
from ..trace import encode
from ..viewer import read_assets
from .game import Game
from .state import describe_game, picture_name

HOST = "127.0.0.1"
MAX_BODY = 2_000_000
"""Bytes of a request."""
TIMEOUT = 30
"""Seconds after which a connection that says nothing is dropped."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "jpg": "image/jpeg",
}


class Refused(Exception):
    """A request that gets no answer but an error."""

    def __init__(self, status: HTTPStatus, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.more = status, more


class PlayServer(ThreadingHTTPServer):
    """Serves one game at `url` until `shutdown`. Raises OSError when the port is taken."""

    daemon_threads = True

    def __init__(self, game: Game, port: int = 0) -> None:
        self.game = game
        self.token = secrets.token_urlsafe(24)
        self.version = 1
        self.lock = threading.Lock()
        """Held while the game is read or changed."""
        self._files = {"": _file("page.html"), "play.css": _style(), "play.js": _script()}
        self._encoded: dict[str, tuple[bytes, str]] = {}
        super().__init__((HOST, port), Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a browser that was given the address says in its `Host` header."""
        return f"{HOST}:{self.server_port}", f"localhost:{self.server_port}"

    def state(self) -> dict[str, Any]:
        with self.lock:
            return describe_game(self.game, self.version)

    def change(self, action: Callable[[], None], version: Any) -> dict[str, Any]:
        """Do something on the version that a tab has seen. Raises Refused for an old one."""
        with self.lock:
            if version != self.version:
                state = describe_game(self.game, self.version)
                message = "another tab went on in the meantime, so nothing was sent"
                raise Refused(HTTPStatus.CONFLICT, message, state=state)
            action()
            self.version += 1
            return describe_game(self.game, self.version)

    def file(self, name: str) -> tuple[str, str]:
        """Text and ending of one of the page's files. Raises Refused."""
        if name not in self._files:
            raise Refused(HTTPStatus.NOT_FOUND, "no such page")
        return self._files[name], name.rpartition(".")[2] or "html"

    def picture(self, name: str) -> tuple[bytes, str]:
        """A picture of the current episode and the ending of its name. Raises Refused."""
        with self.lock:
            shown = self.game.running.shown
            names = {picture_name(self.game, number): number for number in range(len(shown))}
            if name not in names:
                raise Refused(HTTPStatus.NOT_FOUND, "no such picture")
            if name not in self._encoded:
                kept = {other: self._encoded[other] for other in names if other in self._encoded}
                self._encoded = kept | {name: encode(shown[names[name]].image)}
            return self._encoded[name]

    def box(self, query: dict[str, Any]) -> dict[str, str]:
        """The reply that points at a part of a picture, and why it would be refused if it would.

        Raises Refused for a query that is not `picture`, `x1`, `y1`, `x2`, `y2`.
        """
        try:
            picture = int(query["picture"])
            corners = tuple(float(query[name]) for name in ("x1", "y1", "x2", "y2"))
            with self.lock:
                x1, y1, x2, y2 = corners
                text = self.game.write_box(picture, (x1, y1, x2, y2))
                return {"text": text, "fault": self.game.fault(text)}
        except (KeyError, ValueError, OverflowError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, f"box: {error}") from error


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server_version, sys_version = "hrvision", ""
    timeout = TIMEOUT

    @property
    def play(self) -> PlayServer:
        return cast(PlayServer, self.server)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _get(self, name: str, query: dict[str, Any]) -> tuple[Any, str]:
        if name == "state":
            return self.play.state(), "json"
        if name == "box":
            return self.play.box(query), "json"
        if name == "answer":
            return {"text": write_answer(query.get("text", "").strip())}, "json"
        if name.startswith("image/"):
            return self.play.picture(name.removeprefix("image/"))
        return self.play.file(name)

    def _post(self, name: str, query: dict[str, Any]) -> tuple[Any, str]:
        body, game = self._body(), self.play.game
        actions: dict[str, Callable[[], None]] = {
            "next": game.next,
            "again": game.again,
            "reply": partial(_reply, game, body),
        }
        if name not in actions:
            raise Refused(HTTPStatus.NOT_FOUND, "no such action")
        return self.play.change(actions[name], body.get("version")), "json"

    def _answer(self, find: Callable[[str, dict[str, Any]], tuple[Any, str]]) -> None:
        status = HTTPStatus.OK
        try:
            content, ending = find(*self._address())
        except Refused as refused:
            status, ending = refused.status, "json"
            content = {"error": str(refused), **refused.more}
        except Exception as error:  # the page says so; the server goes on
            status, ending = HTTPStatus.INTERNAL_SERVER_ERROR, "json"
            content = {"error": f"{type(error).__name__}: {error}"}
        if ending == "json":
            content = json.dumps(content)
        self._send(status, content if isinstance(content, bytes) else content.encode(), ending)

    def _address(self) -> tuple[str, dict[str, Any]]:
        """What is asked for, behind the token. Raises Refused for who has no business here."""
        if self.headers.get("Host", "") not in self.play.hosts:
            raise Refused(HTTPStatus.FORBIDDEN, f"Host: expected {self.play.hosts[0]}")
        parts = urlsplit(self.path)
        _, _, path = parts.path.partition("/")
        token, slash, name = path.partition("/")
        known = hmac.compare_digest(token.encode(), self.play.token.encode())
        if not known or not slash:
            raise Refused(
                HTTPStatus.NOT_FOUND, "no such page: open the whole address, with its token"
            )
        return name, {key: values[-1] for key, values in parse_qs(parts.query).items()}

    def _body(self) -> dict[str, Any]:
        """The JSON object of a request. Raises Refused for what a page elsewhere could send."""
        origin = self.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in self.play.hosts}:
            raise Refused(HTTPStatus.FORBIDDEN, "Origin: expected this page")
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if int(length) > MAX_BODY:
            self.close_connection = True
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MAX_BODY} bytes")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "expected JSON") from error
        if not isinstance(body, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "expected a JSON object")
        return body

    def _send(self, status: HTTPStatus, content: bytes, ending: str) -> None:
        try:
            self.send_response(status)
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", _TYPES[ending])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):  # the tab was closed
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is for the address and the score."""


def serve(
    game: Game, port: int, write: Callable[[str], None], opened: Callable[[str], Any]
) -> None:
    """Serve a game until KeyboardInterrupt, which is passed on. `opened` is given the address.

    Raises OSError when the port is taken.
    """
    with PlayServer(game, port) as server:
        write(f"Play at {server.url}\nCtrl-C ends it.")
        opened(server.url)
        server.serve_forever()


def _reply(game: Game, body: dict[str, Any]) -> None:
    """Raises Refused for a reply that is none, or that nobody waits for."""
    text = body.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Refused(HTTPStatus.BAD_REQUEST, "text: expected a reply that is not empty")
    if not game.running.open:
        raise Refused(HTTPStatus.CONFLICT, "this question is over")
    game.reply(text)


def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


def _style() -> str:
    return read_assets("base.css", "episode.css") + _file("play.css")


def _script() -> str:
    return read_assets("elements.js", "episode.js") + _file("board.js") + _file("play.js")
