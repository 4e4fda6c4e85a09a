"""The frozen first policy that a KL term holds on to."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..vlm import VLM
from .tree import MicroBatch, TokenScores, token_logprobs


class Reference:
    """With LoRA the policy itself, its adapters off; otherwise a copy of the weights.

    Make it before the first update, and only where the KL coefficient is not 0: the copy costs
    the memory of the model (a frozen vision tower is shared, not copied).
    """

    def __init__(self, policy: VLM) -> None:
        self.policy = policy
        self.adapters = [m for m in policy.model.modules() if hasattr(m, "lora_A")]
        self.copy = None if self.adapters else _frozen_copy(policy)

    @torch.no_grad()
    def score(self, batch: MicroBatch, *, shared: bool = True) -> TokenScores:
        """Log-probs of the batch's sampled tokens under the first policy."""
        if self.copy is not None:
            return token_logprobs(self.copy, batch, shared=shared, entropy=False)
        with self._adapters_off():
            return token_logprobs(self.policy, batch, shared=shared, entropy=False)

    @contextmanager
    def _adapters_off(self) -> Iterator[None]:
        # `enable_adapters` also switches gradients, which the policy's own must get back.
        trained = [name for name, _ in self.policy.trainable()]
        for module in self.adapters:
            module.enable_adapters(False)
        try:
            yield
        finally:
            for module in self.adapters:
                module.enable_adapters(True)
            for name in trained:
                self.policy.model.get_parameter(name).requires_grad_(True)


def _frozen_copy(policy: VLM) -> VLM:
    shared = {}
    if policy.freeze_vision:
        shared[id(policy.body.visual)] = policy.body.visual
    model = copy.deepcopy(policy.model, memo=shared).requires_grad_(False)
    return VLM(model, policy.codec, freeze_vision=True)
