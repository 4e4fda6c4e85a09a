"""A real HTTP server on this machine that plays an OpenAI-compatible one, as a test tells it to."""

from __future__ import annotations

import base64
import http.server
import io
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from agents.rollout.engines import Failure, Sampling
from agents.rollout.messages import Messages


@dataclass
class Say:
    """A whole reply."""

    text: Any = "A"
    finish: Any = "stop"
    message: dict[str, Any] = field(default_factory=dict)
    choice: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] | None = field(
        default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 10}
    )

    def body(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": self.text, **self.message}
        choice = {"index": 0, "finish_reason": self.finish, "message": message, **self.choice}
        out = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
        return {**out, "choices": [choice], **({"usage": self.usage} if self.usage else {})}


@dataclass
class Refuse:
    """An error of a server."""

    status: int
    body: Any = field(default_factory=lambda: {"error": {"message": "no"}})
    headers: dict[str, str] = field(default_factory=lambda: {"retry-after-ms": "1"})


RESET = object()
"""Close the connection without a word."""

Move = Say | Refuse | bytes | object
Script = Callable[[dict[str, Any]], Move]


class ChatServer:
    """`moves` are made first, one per request; then `script(request)` decides."""

    def __init__(self, script: Script = lambda request: Say()) -> None:
        self.script = script
        self.moves: list[Move] = []
        self.asked: list[dict[str, Any]] = []
        """Bodies of the requests, in order of arrival."""
        self.headers: list[dict[str, str]] = []
        self.busy = self.peak = 0
        self._lock = threading.Lock()
        self.http = _server(self)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def decide(self, request: dict[str, Any], headers: dict[str, str]) -> Move:
        with self._lock:
            self.asked.append(request)
            self.headers.append(headers)
            self.busy += 1
            self.peak = max(self.peak, self.busy)
            move = self.moves.pop(0) if self.moves else None
        return self.script(request) if move is None else move

    def left(self) -> None:
        with self._lock:
            self.busy -= 1

    def stop(self) -> None:
        if self.thread.is_alive():
            self.http.shutdown()
            self.http.server_close()
            self.thread.join()


def _server(owner: ChatServer) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {**{k.lower(): v for k, v in self.headers.items()}, ":path": self.path}
            try:
                move = owner.decide(json.loads(body), headers)
            finally:
                owner.left()
            try:
                self.make(move)
            except OSError:  # the client is gone
                self.close_connection = True

        def make(self, move: Move) -> None:
            if move is RESET:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                raise ConnectionResetError
            status, headers = 200, {}
            if isinstance(move, Refuse):
                status, headers = move.status, move.headers
                move = json.dumps(move.body).encode()
            elif isinstance(move, Say):
                move = json.dumps(move.body()).encode()
            assert isinstance(move, bytes)
            self.send_response(status)
            for key, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(move)))
            self.end_headers()
            self.wfile.write(move)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *args: Any) -> None:
            pass  # a connection that was reset on purpose

    return Server(("127.0.0.1", 0), Handler)


def parts_of(request: dict[str, Any], message: int = -1) -> list[str | Image.Image]:
    """Texts and decoded pictures of one message, in order."""
    content = request["messages"][message]["content"]
    if isinstance(content, str):
        return [content]
    return [
        part["text"] if part["type"] == "text" else image_of(part["image_url"]["url"])
        for part in content
    ]


def image_of(url: str) -> Image.Image:
    head, data = url.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/jpeg;base64"), head
    return Image.open(io.BytesIO(base64.b64decode(data)))


GREEDY = Sampling(max_tokens=32, temperature=0)


def ask(text: str = "q", group: str = "g", stop: tuple[str, ...] = ()) -> Messages:
    chat = Messages(group)
    chat.stop = stop
    chat.observe(text)
    return chat


def text_of(reply: Any) -> str:
    assert not isinstance(reply, Failure), reply
    return reply.text


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not happen")
