"""The HTTP client under the package `openai`, which says what was really sent for a reply.

The package retries by itself and tells of it only at the end, which a time-out never lets it reach.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ._openai_answer import Usage, shown
from ._openai_request import Options
from ._openai_secret import Secret

UNREACHABLE = ("ConnectError", "ConnectTimeout", "UnsupportedProtocol")
"""Errors of the HTTP library by name: which library it is depends on the version of `openai`."""

CONNECT = 10.0
"""Seconds for a connection."""
KNOCKS = (0.0, 0.5, 1.0)
"""Seconds before each try to reach a server for the first time; `retries` may allow fewer."""
LISTEN = 2.0
"""Seconds for an answer to a knock; a server that is silent is there all the same."""


@dataclass
class Sent:
    """What one reply took so far."""

    requests: int = 0
    redirects: int = 0
    """Requests of those that the server sent elsewhere: no retries."""
    unknown: int = 0
    """Requests that may have cost tokens which nobody counted."""
    tokens: tuple[int, int] | None = None
    kept: int = 0
    status: int = 0
    """Of the last answer, 0 before the first."""
    cause: str = ""
    """What came of the last request that has ended."""

    def measured(self, tokens: tuple[int, int] | None) -> None:
        """The tokens of the answer that came, where the server says them."""
        if tokens is not None:
            self.tokens = tokens
            self.unknown -= 1

    def usage(self, options: Options) -> Usage:
        prompt, completion = self.tokens or (0, 0)
        return Usage(
            requests=self.requests,
            retries=max(self.requests - self.redirects - 1, 0),
            prompt_tokens=prompt,
            completion_tokens=completion,
            cost=options.cost(prompt, completion) if self.tokens or self.kept else None,
            kept=self.kept,
            unmetered=self.unknown,
        )


SENT: ContextVar[Sent | None] = ContextVar("sent", default=None)
"""Of the reply that the running task is about."""


def counting_client(openai: Any) -> Any:
    """An HTTP client as the package `openai` makes it, which counts in `SENT`."""

    class Counting(openai.DefaultAsyncHttpxClient):
        async def send(self, request: Any, **how: Any) -> Any:
            sent = SENT.get()
            if sent is None or request.method != "POST":
                return await super().send(request, **how)
            sent.requests += 1
            sent.unknown += 1
            try:
                response = await super().send(request, **how)
            except Exception as error:
                sent.cause = type(error).__name__
                if sent.cause in UNREACHABLE:
                    sent.requests -= 1
                    sent.unknown -= 1
                raise
            sent.redirects += len(response.history)
            sent.requests += len(response.history)
            sent.status = response.status_code
            sent.cause = f"the server answered {sent.status}"
            if sent.status >= 400:
                sent.unknown -= 1
            return response

    return Counting()


class Door:
    """Whether something answers at the address: found out once, before the first request.

    The retries of requests are for servers that stumble; a wrong address would use them all up
    before anybody heard of it.
    """

    def __init__(self, http: Any, wait: Any, options: Options, secret: Secret) -> None:
        self.http = http
        self.wait = wait
        """How long, in the HTTP library's words."""
        self.options = options
        self.secret = secret
        self.reached = False
        self._one = asyncio.Lock()

    async def knock(self) -> str:
        """Why nothing answers; empty if something does, whatever it says."""
        async with self._one:
            failed = ""
            for pause in () if self.reached else KNOCKS[: self.options.retries + 1]:
                await asyncio.sleep(pause)
                failed = await self._try()
                if not failed:
                    break
            self.reached = not failed
            return failed

    async def _try(self) -> str:
        try:
            url = f"{self.options.url}/models"
            request = self.http.build_request("GET", url, timeout=self.wait)
            response = await self.http.send(request, stream=True, follow_redirects=False)
            await response.aclose()
        except Exception as error:
            name = type(error).__name__
            return f"{name}: {shown(str(error), self.secret)}" if name in UNREACHABLE else ""
        return ""
