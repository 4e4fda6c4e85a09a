"""Replies from any server that speaks OpenAI's chat API: vLLM, SGLang, hosted models.

For benchmarks: the tokens behind a reply are unknown, so nothing of it can be trained on. Requests
run side by side on a thread of their own; the package `openai` retries what is worth a retry (lost
connections, time-outs, 408, 409, 429 and 5xx, after the pause that the server asks for or growing
ones).

Stop strings. A server cuts them off, and only some say which one it was. So OpenAI's own API is not
told of them and the reply is cut here, behind the first one, which costs the tokens that follow it;
vLLM and SGLang (`server`) are told, and what they cut off is put back.

Texts are data. Half of them come from datasets, so what looks like a special token is spelled out
for vLLM and SGLang, which would obey it; see `spelled_out`.

Failures. A request that the server refuses (4xx) is this chat's failure for good, another one may
be asked again; so is a reply that the server did not finish. A server that cannot be reached, a key
or model that it does not know and an account without credit concern everybody: `collect` raises
`ServerError`. Before the first request the server is knocked at, so that a wrong address shows in
seconds and not after all retries. The key is masked in whatever a server says.

Replies are kept on disk where `cache` names a folder. A reply is found again by everything that it
depends on but the address: model, conversation (pictures by their pixels), sampling, and which draw
it is. Failures are not kept. `usage` is what this engine really sent: kept replies are counted
(`kept`) and cost nothing, replies that were cancelled or timed out cost what they cost.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import traceback
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from hrvision_env.text_cache import TextCache

from ..messages import Messages
from . import Completion, Failure, ModelSource, Reply, Sampling
from ._openai_answer import Usage, error_text, pack, read_answer, shown, tokens_of, unpack
from ._openai_http import CONNECT, LISTEN, SENT, UNREACHABLE, Door, Sent, counting_client
from ._openai_request import Ask, Options
from ._openai_secret import Secret, read_key

TRAINS = False
WAIT = 0.2
"""Seconds that `collect` waits for a reply."""
FATAL = {401: "the key", 402: "the account's credit", 404: "the address and the model's name"}
"""Refusals that concern every request, and what to look at."""
PATIENCE = 5.0
"""Seconds that closing waits for what cannot be cancelled, such as a disk that is locked."""
THREADS = 8
"""That encode pictures and read and write kept replies."""


class ServerError(RuntimeError):
    """The server is of no use to anybody; nothing that was answered before is lost."""


def open_engine(model: ModelSource, options: Options) -> OpenAIEngine:
    """The engine; `model` is the server's affair. Raises ValueError for a key that is not set and
    ImportError without the package `openai`. Nothing is sent before the first `submit`."""
    return OpenAIEngine(options)


class OpenAIEngine:
    """A client of one model on one server. `usage` is what was sent so far."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.policy_version = 0
        self.usage = Usage()
        self._usage_of: dict[str, Usage] = defaultdict(Usage)
        self._counting = threading.Lock()
        self._secret = _secret(options)
        self._client, self._door = _client(options, self._secret)
        folder = options.cache
        self._kept = TextCache(Path(folder).expanduser() / "replies.sqlite3") if folder else None
        self._tickets = count()
        self._asked: dict[int, tuple[Messages, Future[None]]] = {}
        self._done: queue.SimpleQueue[tuple[int, Reply | Exception]] = queue.SimpleQueue()
        self._slots = asyncio.Semaphore(options.concurrency)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="openai")
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(self._threads)
        self._thread = threading.Thread(target=self._loop.run_forever, name="openai", daemon=True)
        self._thread.start()

    def open_chat(self, group: str) -> Messages:
        """An empty conversation."""
        return Messages(group)

    def generate(self, chats: Sequence[Messages], sampling: Sampling) -> list[Reply]:
        """One reply per chat, in order. Not while other chats wait for theirs."""
        if self._asked:
            raise RuntimeError(f"generate: {len(self._asked)} chats still wait for their reply")
        replies: dict[int, Reply] = {}
        try:
            for chat in chats:
                self.submit(chat, sampling)
            while len(replies) < len(chats):
                replies.update((id(chat), reply) for chat, reply in self.collect())
        finally:
            self.cancel()
        return [replies[id(chat)] for chat in chats]

    def submit(self, chat: Messages, sampling: Sampling) -> None:
        """Ask for the next reply of a chat. Raises ValueError for sampling that the server is not
        known to take."""
        ask = Ask.of(chat, sampling, self.options)
        ticket = next(self._tickets)
        future = asyncio.run_coroutine_threadsafe(self._serve(ticket, chat.group, ask), self._loop)
        self._asked[ticket] = (chat, future)

    def collect(self) -> list[tuple[Messages, Reply]]:
        """What has become ready, after a short wait. Raises ServerError."""
        ready: list[tuple[Messages, Reply]] = []
        fatal: Exception | None = None
        wait = WAIT if self._asked else 0.0
        while (found := self._next(wait)) is not None:
            ticket, reply = found
            if ticket not in self._asked:  # cancelled
                continue
            wait = 0.0
            chat, _ = self._asked.pop(ticket)
            if isinstance(reply, Exception):
                fatal = fatal or reply
            else:
                ready.append((chat, reply))
        if fatal is not None:
            self.cancel()
            raise fatal
        return ready

    def _next(self, wait: float) -> tuple[int, Reply | Exception] | None:
        try:
            return self._done.get(block=wait > 0, timeout=wait or None)
        except queue.Empty:
            return None

    def cancel(self) -> None:
        """Forget what was asked for; connections are closed, so that a server stops as well."""
        for _, future in self._asked.values():
            future.cancel()
        self._asked.clear()

    def take_usage(self, group: str) -> Usage:
        """What a group's replies cost since this was last called."""
        with self._counting:
            return self._usage_of.pop(group, Usage())

    def load_weights(self, source: Any, version: int) -> NoReturn:
        """Raises RuntimeError: a server's weights are not ours."""
        raise RuntimeError(
            f"engine openai: {self.options.model!r} at {self.options.url} cannot be given weights; "
            "it is for benchmarks, train with the engine transformers or vllm"
        )

    def sleep(self) -> None:
        """Nothing to give back."""

    def wake(self) -> None:
        """Nothing to take."""

    def close(self) -> None:
        """Cancel what is asked for and end the thread. Raises nothing of its own, so that it hides
        no error that it is called for."""
        if self._loop.is_closed():
            return
        self.cancel()
        shut = asyncio.run_coroutine_threadsafe(self._shut(), self._loop)
        try:
            with suppress(Exception):
                shut.result(timeout=3 * PATIENCE)
        finally:
            self._threads.shutdown(wait=False)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=PATIENCE)
            if not self._thread.is_alive():
                self._loop.close()

    async def _shut(self) -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            _, late = await asyncio.wait(rest, timeout=PATIENCE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        with suppress(Exception):
            await asyncio.wait_for(self._client.close(), PATIENCE)

    async def _serve(self, ticket: int, group: str, ask: Ask) -> None:
        """Answer one request, or say what concerns everybody."""
        found: Reply | Exception
        sent = Sent()
        SENT.set(sent)
        try:
            async with self._slots:
                found = await self._reply(ask, sent)
        except Exception as error:
            found = self._masked(error)
        finally:  # cancelled or not
            used = sent.usage(self.options)
            with self._counting:
                self.usage += used
                self._usage_of[group] += used
        self._done.put((ticket, found))

    def _masked(self, error: Exception) -> Exception:
        """An error that nobody expected; another one where its text would show the key."""
        said = "".join(traceback.format_exception(error))
        if self._secret.hide(said) == said:
            return error
        return ServerError(f"{self._where}: {type(error).__name__}: {self._shown(str(error))}")

    async def _reply(self, ask: Ask, sent: Sent) -> Reply:
        key = await asyncio.to_thread(ask.name) if self._kept else ""
        text = await asyncio.to_thread(self._kept.get, key) if self._kept else None
        if (kept := unpack(text or "")) is not None:
            sent.kept = 1
            return kept
        try:
            async with asyncio.timeout(ask.sampling.timeout):
                reply = await self._request(ask, sent)
        except TimeoutError:
            tries = f"; {sent.requests} requests, {sent.cause} before" if sent.cause else ""
            return Failure(f"timed out after {ask.sampling.timeout:g} s{tries}")
        if self._kept and isinstance(reply, Completion):
            # Paid for: it is written even if nobody waits for it any more.
            put = asyncio.to_thread(self._kept.put, key, pack(reply))
            await asyncio.shield(asyncio.ensure_future(put))
        return reply

    async def _request(self, ask: Ask, sent: Sent) -> Reply:
        """Raises ServerError."""
        import openai

        body = await asyncio.to_thread(ask.body)
        if failed := await self._door.knock():
            raise self._unreachable(failed)
        try:
            raw = await self._client.chat.completions.with_raw_response.create(
                model=body.pop("model"), messages=body.pop("messages"), extra_body=body
            )
        except openai.APIError as error:
            refused = error
        except Exception as error:
            if not sent.status:
                raise
            # The package choked on an answer.
            return Failure(f"malformed answer: {type(error).__name__}: {self._shown(str(error))}")
        else:
            return self._read(raw.http_response, ask, sent)
        # Not inside of `except`: a traceback would show the error, and the key with it.
        return self._failure(refused)

    def _read(self, response: Any, ask: Ask, sent: Sent) -> Reply:
        """The reply in what a server answered; whatever is odd about it is a failure."""
        try:
            answer = json.loads(response.content)
        except Exception:  # RecursionError is no ValueError
            return Failure(f"malformed answer: got {self._shown(response.text)!r}, expected JSON")
        try:
            sent.measured(tokens_of(answer))
            return read_answer(answer, ask.stop, self._secret)
        except Exception as error:
            return Failure(f"malformed answer: {type(error).__name__}: {self._shown(str(error))}")

    def _failure(self, error: Any) -> Failure:
        """What an error of the package means for this chat. Raises ServerError."""
        tries = 1 + int(error.request.headers.get("x-stainless-retry-count") or 0)
        after = f" after {tries} tries" if tries > 1 else ""
        status = getattr(error, "status_code", None)
        if status is None:
            cause = error.__cause__ or error
            what = f"{type(cause).__name__}: {self._shown(str(cause) or str(error))}{after}"
            if type(cause).__name__ in UNREACHABLE:
                raise self._unreachable(what)
            if type(error).__name__ == "APITimeoutError":
                return Failure(f"timed out after {tries} x {self.options.timeout:g} s")
            return Failure(f"lost connection: {what}")
        said = error_text(error.body, str(error), self._secret)
        if error.code == "insufficient_quota":
            status = 402
        if status in FATAL:
            raise ServerError(f"{self._where} answered {status}: {said}; look at {FATAL[status]}")
        again = status >= 500 or status in (408, 409, 429)
        return Failure(f"the server answered {status}{after}: {said}", again=again)

    @property
    def _where(self) -> str:
        return f"{self.options.model!r} at {self.options.url}"

    def _unreachable(self, what: str) -> ServerError:
        return ServerError(f"{self._where} cannot be reached: {what}; is it running?")

    def _shown(self, text: str) -> str:
        return shown(text, self._secret)


def _secret(options: Options) -> Secret:
    """Raises ValueError for a key that is not set, cannot be sent or stands in the options."""
    secret = Secret(read_key(options.key_env, options.url))
    if secret.telling and secret.key in json.dumps(options.model_dump(mode="json")):
        raise ValueError(
            f"engine openai: the options hold the key of {options.key_env} itself, which would be "
            "written to manifests; expected only the variable's name, in key_env"
        )
    return secret


def _client(options: Options, secret: Secret) -> tuple[Any, Door]:
    """The client, and what finds out whether there is a server."""
    try:
        import openai
    except ImportError as error:
        raise ImportError(
            "the engine openai needs the package: pip install 'hrvision[openai]'"
        ) from error
    http = counting_client(openai)
    connect = min(CONNECT, options.timeout)
    client = openai.AsyncOpenAI(
        base_url=options.url,
        api_key=secret.key or "none",  # one is always sent; servers without keys ignore it
        timeout=openai.Timeout(options.timeout, connect=connect),
        max_retries=options.retries,
        http_client=http,
    )
    # Read from the environment, where they are meant for OpenAI and not for any server.
    client.organization = client.project = None
    return client, Door(http, openai.Timeout(LISTEN, connect=connect), options, secret)
