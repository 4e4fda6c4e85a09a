"""Banned ids inside vLLM: its own interface for changing logits, before temperature and cuts.

vLLM imports this by name in the process that samples, which may be a worker; nothing else does.
Both of its model runners are served: they have interfaces of the same name that differ.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from vllm.v1.sample.logits_processor import LogitsProcessor

from ._vllm_core import BANNED

try:
    from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as SecondInterface
except ImportError:  # a version with one model runner
    SecondInterface = LogitsProcessor

BASES: tuple[Any, ...] = tuple(dict.fromkeys((LogitsProcessor, SecondInterface)))


class Ban(*BASES):  # type: ignore[misc]
    """Sets the logits of the banned ids to -inf in every row, so that log-probs leave them out."""

    def __init__(self, vllm_config: Any, where: Any, *_: Any) -> None:
        """`where` is a device (first interface) or the state of the requests, which has one."""
        device = getattr(where, "device", where)
        self.ids = torch.tensor(vllm_config.additional_config[BANNED], device=device)

    def apply(self, logits: Tensor, *_: Any) -> Tensor:
        """[rows, V] in place."""
        return logits.index_fill_(-1, self.ids, float("-inf"))

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        """Every request is treated alike: there is no state."""
