"""What a config may set for vLLM, and the arguments that vLLM gets for it."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...devices import dtype_of
from ..codec import Codec
from . import ModelSource
from ._vllm_core import BAN, BANNED, merged_arguments, transfer_config
from ._vllm_weights import Way

CPU_CACHE_GB = 1.0
CPU_STEP = 2048
"""Tokens per step on a CPU, unless conversations are longer."""
GIB = 2**30

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Options(BaseModel):
    """What a config may set under `engine`, beside its name."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_model_len: Count | None = None
    """longest conversation in tokens; none: the model's own limit"""
    max_images: Count = 8
    """most images in one conversation"""
    max_image_tokens: Count = 16384
    """largest image in tokens; vLLM tries one of this size at the start, to know its memory"""
    max_num_seqs: Count = 256
    """most replies at a time"""
    max_num_batched_tokens: Count | None = None
    """most tokens per step; none: vLLM's choice"""
    block_size: Count | None = None
    """tokens per block of the prefix cache, which shares whole blocks; none: vLLM's choice"""
    gpu_memory_utilization: Share = 0.9
    """share of the GPU's memory for weights and KV cache together"""
    kv_cache_gb: Annotated[float, Field(gt=0)] | None = None
    """KV cache in GiB; none: what the share leaves, on a CPU 1"""
    tensor_parallel_size: Count = 1
    """GPUs that share the model"""
    enforce_eager: bool = False
    """no CUDA graphs; on a CPU always"""
    seed: int = 0
    """vLLM's own; replies are drawn by sampling.seed"""
    own_process: bool | None = None
    """run vLLM's core in a process of its own; none: VLLM_ENABLE_V1_MULTIPROCESSING if it is set,
    else only where several GPUs share the model"""
    weight_sync: Literal["auto", "reload", "folder", "ipc", "nccl"] = "auto"
    """how new weights travel: handed over, through a folder, by CUDA IPC (same GPU), by NCCL"""
    lora: Literal["merged", "served"] = "merged"
    """adapters: merged into the weights that travel, or served by vLLM beside them"""
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = 64
    """largest rank of served adapters; vLLM knows these"""
    enable_sleep_mode: bool = False
    """give the GPU's memory back while training"""
    sleep_level: Literal[1, 2] = 1
    """1: weights wait in the computer's memory; 2: they are dropped, new ones must follow"""
    max_restarts: Annotated[int, Field(ge=0)] = 3
    """how often a vLLM whose process died is opened again"""
    args: dict[str, Any] = {}
    """any other field of vLLM's EngineArgs"""

    @model_validator(mode="after")
    def _one_replica(self) -> Options:
        replicas = self.args.get("data_parallel_size", 1)
        if replicas != 1:
            raise ValueError(
                f"engine.args.data_parallel_size: got {replicas}, but an engine is one replica, "
                "which would wait for the others for ever; run one process per replica, each with "
                "GPUs (CUDA_VISIBLE_DEVICES) and questions of its own"
            )
        return self

    @property
    def workers(self) -> int:
        """Processes that hold a part of the model."""
        return self.tensor_parallel_size * int(self.args.get("pipeline_parallel_size", 1))


def in_own_process(options: Options) -> bool:
    """Whether vLLM's core gets a process of its own."""
    if options.own_process is not None:
        return options.own_process
    variable = os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING")
    if variable is not None:
        return variable == "1"
    launched = options.args.get("distributed_executor_backend") == "external_launcher"
    return options.workers > 1 and not launched


def engine_arguments(
    model: ModelSource, options: Options, codec: Codec, way: Way, on_cpu: bool, context: int
) -> dict[str, Any]:
    """Fields of vLLM's `EngineArgs`. `context`: the model's own limit, in tokens.

    Raises ValueError for a name in `args` that vLLM does not have or the engine sets itself.
    """
    largest = min(options.max_image_tokens, options.max_model_len or context)
    cache_gb = options.kv_cache_gb or (CPU_CACHE_GB if on_cpu else None)
    own: dict[str, Any] = {
        name: getattr(options, name)
        for name in (
            "max_model_len",
            "max_num_seqs",
            "max_num_batched_tokens",
            "block_size",
            "tensor_parallel_size",
            "seed",
            "enable_sleep_mode",
        )
    }
    own |= {
        "model": model.path,
        "dtype": dtype_of(model.dtype, "cpu" if on_cpu else "cuda"),
        "enforce_eager": options.enforce_eager or on_cpu,
        "gpu_memory_utilization": None if on_cpu else options.gpu_memory_utilization,
        "kv_cache_memory_bytes": int(cache_gb * GIB) if cache_gb else None,
        "logprobs_mode": "processed_logprobs",
        "logits_processors": [BAN],
        "additional_config": {BANNED: list(codec.banned)},
        "generation_config": "vllm",
        "limit_mm_per_prompt": {"image": options.max_images, "video": 0},
        # The views come in their final size; the bound is that of vLLM's trial run.
        "mm_processor_kwargs": {"min_pixels": 1, "max_pixels": largest * codec.factor**2},
    }
    if on_cpu:
        # The end of a prompt whose beginning was computed in an earlier step: vLLM then winds the
        # request's random generator back, which those of a CPU refuse.
        longest = options.max_model_len or context
        own |= {
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(options.max_num_batched_tokens or CPU_STEP, longest),
        }
    if way in ("ipc", "nccl"):
        own["weight_transfer_config"] = transfer_config(way)
    if options.lora == "served":
        own |= _served_adapters(options)
    return {"disable_log_stats": True, **merged_arguments(own, options.args)}


def _served_adapters(options: Options) -> dict[str, Any]:
    if options.enable_sleep_mode and options.sleep_level == 2:
        raise ValueError(
            "engine.sleep_level: got 2, which drops the weights that served adapters stand "
            "beside; expected 1, or engine.lora: merged"
        )
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": options.max_lora_rank}
