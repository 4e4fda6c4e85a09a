"""AdamW with warm-up, clipping, float32 masters and a guard against broken gradients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..config_sections import Optim


class TrainingError(RuntimeError):
    """Training cannot go on; the text says why and what to change."""


@dataclass(frozen=True)
class Update:
    """One call of `step`."""

    grad_norm: float
    """Before clipping; inf or nan when the update was skipped."""
    lr: float
    skipped: bool


class Optimizer:
    """Linear warm-up, then a constant rate; gradients clipped to one norm over all weights.

    A weight of bfloat16 has a float32 master that the update goes to: at a rate of 1e-6 most
    updates are smaller than half a bfloat16 step and would be lost. A non-finite gradient
    leaves the weights as they are; `max_bad_steps` of them in a row raise TrainingError.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], options: Optim) -> None:
        self.options = options
        self.weights = [parameter for _, parameter in named]
        if not self.weights:
            raise ValueError("optimizer: got no trainable parameter, expected at least one")
        self.masters: list[Tensor] = [self._master(weight) for weight in self.weights]
        matrices = [m for m in self.masters if m.ndim > 1]
        vectors = [m for m in self.masters if m.ndim <= 1]  # norms and biases do not decay
        self.adamw = torch.optim.AdamW([{"params": matrices}, {"params": vectors}], lr=options.lr)
        self._configure()
        self.updates = 0
        self.skipped = 0
        self.bad_in_a_row = 0

    @staticmethod
    def _master(weight: nn.Parameter) -> Tensor:
        if weight.dtype == torch.float32:
            return weight
        return weight.detach().float().requires_grad_()

    def _configure(self) -> None:
        decays = (self.options.weight_decay, 0.0)
        for group, decay in zip(self.adamw.param_groups, decays, strict=True):
            group |= {"weight_decay": decay, "betas": self.options.betas}

    @property
    def lr(self) -> float:
        """Of the next update."""
        return self.options.lr * min(1.0, (self.updates + 1) / max(1, self.options.warmup_steps))

    def step(self) -> Update:
        """Apply the gradients that were added up in the weights, and clear them."""
        self.collect()
        norm = float(nn.utils.clip_grad_norm_(self.masters, self.options.grad_clip))
        update = Update(norm, self.lr, skipped=not torch.isfinite(torch.tensor(norm)))
        if update.skipped:
            self._count_bad()
        else:
            self.bad_in_a_row = 0
            for group in self.adamw.param_groups:
                group["lr"] = update.lr
            self.adamw.step()
            self.updates += 1
            self._publish()
        self.clear()
        return update

    @property
    def counters(self) -> tuple[int, int, int]:
        """Updates, skipped ones, and how many of the last ones in a row were skipped."""
        return self.updates, self.skipped, self.bad_in_a_row

    @counters.setter
    def counters(self, values: tuple[int, int, int]) -> None:
        self.updates, self.skipped, self.bad_in_a_row = values

    def clear(self) -> None:
        """Forget gradients."""
        for tensor in (*self.weights, *self.masters):
            tensor.grad = None

    def collect(self) -> None:
        """Add the gradients of non-float32 weights to their masters'; after every backward pass.

        Micro-batches then add up in float32.
        """
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight and weight.grad is not None:
                gradient, weight.grad = weight.grad.float(), None
                master.grad = gradient if master.grad is None else master.grad.add_(gradient)

    @torch.no_grad()
    def _publish(self) -> None:
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight:
                weight.copy_(master)

    def _count_bad(self) -> None:
        self.skipped += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= self.options.max_bad_steps:
            raise TrainingError(
                f"{self.bad_in_a_row} updates in a row had a non-finite gradient and were skipped; "
                "lower optim.lr, or look for broken images or log-probs in the last rollout"
            )

    def state_dict(self) -> dict[str, Any]:
        """Moments, masters and counters."""
        own = [m if m is not w else None for w, m in zip(self.weights, self.masters, strict=True)]
        return {
            "adamw": self.adamw.state_dict(),
            "masters": own,
            "counters": self.counters,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError when the state belongs to other weights."""
        if len(state["masters"]) != len(self.masters):
            raise ValueError(
                f"optimizer state: got {len(state['masters'])} tensors, "
                f"expected {len(self.masters)}: the checkpoint is of another model"
            )
        self.adamw.load_state_dict(state["adamw"])
        self._configure()  # the options of now, not those that were saved
        with torch.no_grad():
            for master, saved in zip(self.masters, state["masters"], strict=True):
                if saved is not None:
                    master.copy_(saved)
        self.counters = state["counters"]
