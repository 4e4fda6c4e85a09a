"""Weights from GPU to GPU by vLLM's own weight-transfer API, over CUDA IPC or NCCL.

vLLM has a sender for the trainer's process and a receiver in each worker; what the sender asks of
the receivers goes through remote calls to the workers.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

Weights = Callable[[Any], Iterable[tuple[str, Tensor]]]
"""source -> names in checkpoint format with their tensors."""


def open_sender(core: Any, way: str, workers: int, source: Any, named_weights: Weights) -> Any:
    """vLLM's sender, connected to `workers` receivers; `send_weights()` sends what `source` has.

    `way` is "ipc" or "nccl". Its `source.of` is `source`.
    """
    from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

    return WeightTransferTrainerFactory.trainer_init(
        trainer_info(way, workers, max(sizes(source))),
        client=SyncClient(core),
        source=_weight_source(source, named_weights),
    )


class SyncClient:
    """What vLLM's senders want to call on the receiving side, by remote calls to the workers."""

    def __init__(self, core: Any) -> None:
        self.core = core

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self.core.collective_rpc("init_weight_transfer_engine", args=(init_info,))

    def shutdown_weight_transfer_engine(self) -> None:
        self.core.collective_rpc("shutdown_weight_transfer_engine")

    def start_weight_update(self) -> None:
        self.core.collective_rpc("start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        self.core.collective_rpc("update_weights", args=(update_info,))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self.core.collective_rpc("finish_weight_update")


def parameters(source: Any) -> list[Tensor]:
    """Of a `VLM` or a module."""
    return list(getattr(source, "model", source).parameters())


def sizes(source: Any) -> list[int]:
    """Bytes of each whole weight, also where DeepSpeed has spread it over processes."""
    return [getattr(p, "ds_numel", p.numel()) * p.element_size() for p in parameters(source)]


def trainer_info(way: str, workers: int, largest: int) -> Any:
    """What the sender is made from. `largest`: bytes of the largest tensor, which must fit whole
    into the buffer that vLLM sends many in: embeddings of 7B models are larger than its own."""
    if way == "ipc":
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        usual = IPCTrainerInitInfo(rank=0, packed=True)
        size = max(usual.packed_buffer_size_bytes, largest)
        return replace(usual, packed_buffer_size_bytes=size)
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return NCCLTrainerInitInfo(
        rank=0, master_address="127.0.0.1", master_port=port, world_size=1 + workers, packed=True
    )


def _weight_source(source: Any, named_weights: Weights) -> Any:
    from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource

    class Source(WeightSource):
        """The trainer's weights in checkpoint format; adapters are merged on the way."""

        of = source

        @cached_property
        def declared(self) -> list[Any]:
            """Made once: weights that are spread over processes are all gathered for it."""
            return [ParamMeta(n, t.dtype, tuple(t.shape)) for n, t in named_weights(source)]

        def metadata(self) -> list[Any]:
            return list(self.declared)

        def __iter__(self) -> Iterator[tuple[str, Tensor]]:
            with torch.no_grad():
                yield from named_weights(source)

    return Source()
