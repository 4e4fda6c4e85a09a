"""A server on this machine, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.rollout.engines import ModelSource

from .openai_server import ChatServer


@pytest.fixture
def server() -> Iterator[ChatServer]:
    running = ChatServer()
    yield running
    running.stop()


@pytest.fixture
def connect(server: ChatServer) -> Iterator[Callable[..., Any]]:
    """connect(**options) -> OpenAIEngine on the server, closed at the end."""
    from agents.rollout.engines.openai import OpenAIEngine, Options, open_engine

    engines: list[OpenAIEngine] = []

    def make(**options: Any) -> OpenAIEngine:
        given = Options(**{"url": server.url, "model": "m", "retries": 2, **options})
        engines.append(open_engine(ModelSource(), given))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
