"""The frozen first policy that a KL term holds on to."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from ..config_sections import Form
from ..vlm import VLM
from .tree import MicroBatch, TokenScores, token_logprobs


class Reference:
    """With LoRA the policy itself, its adapters off; otherwise a copy of the weights.

    Make it before the first update, and only where the KL coefficient is not 0: the copy costs
    the memory of the model (a frozen vision tower is shared, not copied).
    """

    def __init__(self, policy: VLM, first: VLM | None = None) -> None:
        """`first`: where `policy` was trained before, the policy that it began as; not copied."""
        self.policy = policy
        self.adapters = [m for m in policy.model.modules() if hasattr(m, "lora_A")]
        self.copy: VLM | None = None
        if first is not None:
            self.copy = _frozen(first, policy)
        elif not self.adapters:
            self.copy = _frozen_copy(policy)
        self.run: Callable[..., TokenScores] = partial(token_logprobs, policy)
        """How the policy is run, its adapters off."""

    @torch.no_grad()
    def score(self, batch: MicroBatch, *, form: Form = "cache") -> TokenScores:
        """Log-probs of the batch's sampled tokens under the first policy."""
        if self.copy is not None:
            return token_logprobs(self.copy, batch, form=form, entropy=False)
        with self._adapters_off():
            return self.run(batch, form=form, entropy=False)

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


def _frozen(first: VLM, policy: VLM) -> VLM:
    if policy.freeze_vision:  # the towers are equal
        first.body.visual = policy.body.visual
    return VLM(first.model.requires_grad_(False), first.codec, freeze_vision=True)


def _frozen_copy(policy: VLM) -> VLM:
    shared = {}
    if policy.freeze_vision:
        shared[id(policy.body.visual)] = policy.body.visual
    model = copy.deepcopy(policy.model, memo=shared).requires_grad_(False)
    return VLM(model, policy.codec, freeze_vision=True)
