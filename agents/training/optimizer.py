"""AdamW with a schedule, clipping, float32 masters and a guard against broken gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ..config_sections import Optim
from .schedule import rate


class TrainingError(RuntimeError):
    """Training cannot go on; the text says why and what to change."""


@dataclass(frozen=True)
class Update:
    """One call of `step`."""

    grad_norm: float
    """Before clipping; inf or nan when the update was skipped."""
    lr: float
    skipped: bool


class AnyOptimizer(Protocol):
    """What an update asks of an optimizer: `Optimizer`, or DeepSpeed's (`zero.ZeroOptimizer`).

    Over several processes all of them call every method at the same time.
    """

    names: list[str]
    """Of the weights, as `VLM.trainable` has them."""
    counters: tuple[int, int, int]
    """Updates, skipped ones, and how many of the last ones in a row were skipped."""
    skipped: int
    last: Update | None
    """The newest update, also when `step` raised."""
    changing: bool
    """Whether `step` has begun to change weights and moments and has not ended."""
    steps: int
    """Of the whole run, for the schedule of the learning rate."""
    place: float
    """How many of them are done with the next update; see `schedule.rate`."""

    @property
    def lr(self) -> float:
        """Of the next update."""
        ...

    def backward(self, loss: Tensor, last: bool = True) -> None:
        """Add the gradient of a loss; `last`: that `step` comes next."""
        ...

    def step(self) -> Update:
        """Apply the gradients that were added up, and clear them."""
        ...

    def skip(self) -> Update:
        """Leave an update out whose loss is not finite; counts as one with such a gradient."""
        ...

    def clear(self) -> None:
        """Forget gradients."""
        ...

    def states(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """What a checkpoint keeps of every weight; see `Optimizer.states`."""
        ...

    def load_states(self, read: Callable[[str], dict[str, Tensor]]) -> None:
        """Put back what `states` gave."""
        ...


class Counted:
    """The numbers of updates that both optimizers keep, and the rate that follows from them."""

    def __init__(self, options: Optim) -> None:
        self.options = options
        self.updates = 0
        self.skipped = 0
        self.bad_in_a_row = 0
        self.steps = 0
        self.place = 0.0
        self.last: Update | None = None
        """The newest update, also when `step` raised."""
        self.changing = False
        """Whether `step` has begun to change weights and moments and has not ended."""

    @property
    def lr(self) -> float:
        """Of the next update."""
        return rate(self.options, self.updates, self.place, self.steps)

    @property
    def counters(self) -> tuple[int, int, int]:
        """Updates, skipped ones, and how many of the last ones in a row were skipped."""
        return self.updates, self.skipped, self.bad_in_a_row

    @counters.setter
    def counters(self, values: tuple[int, int, int]) -> None:
        self.updates, self.skipped, self.bad_in_a_row = values

    def skip(self) -> Update:
        """Leave an update out whose loss is not finite."""
        update = Update(math.nan, self.lr, skipped=True)
        self.clear()
        self._count(update)
        return update

    def clear(self) -> None:
        """Forget gradients."""
        raise NotImplementedError

    def _count(self, update: Update) -> None:
        self.last, self.changing = update, False
        if not update.skipped:
            self.updates += 1
            self.bad_in_a_row = 0
            return
        self.skipped += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= self.options.max_bad_steps:
            raise TrainingError(
                f"{self.bad_in_a_row} updates in a row had a non-finite loss or gradient and were "
                "skipped; lower optim.lr, or look for broken images or log-probs in the rollout"
            )


class Optimizer(Counted):
    """AdamW in one process; gradients clipped to one norm over all weights.

    A weight of bfloat16 has a float32 master that the update goes to: at a rate of 1e-6 most
    updates are smaller than half a bfloat16 step and would be lost. A non-finite gradient
    leaves the weights as they are; `max_bad_steps` of them in a row raise TrainingError.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], options: Optim) -> None:
        super().__init__(options)
        self.names, self.weights = [], []
        for name, parameter in named:
            self.names.append(name)
            self.weights.append(parameter)
        if not self.weights:
            raise ValueError("optimizer: got no trainable parameter, expected at least one")
        self.masters: list[Tensor] = [self._master(weight) for weight in self.weights]
        matrices = [m for m in self.masters if m.ndim > 1]
        vectors = [m for m in self.masters if m.ndim <= 1]  # norms and biases do not decay
        self.adamw = torch.optim.AdamW([{"params": matrices}, {"params": vectors}], lr=options.lr)
        self._configure()

    @staticmethod
    def _master(weight: nn.Parameter) -> Tensor:
        if weight.dtype == torch.float32:
            return weight
        return weight.detach().float().requires_grad_()

    def _configure(self) -> None:
        decays = (self.options.weight_decay, 0.0)
        for group, decay in zip(self.adamw.param_groups, decays, strict=True):
            group |= {"weight_decay": decay, "betas": self.options.betas}

    def backward(self, loss: Tensor, last: bool = True) -> None:
        """Add the gradient of a loss."""
        loss.backward()
        self.collect()

    def step(self) -> Update:
        """Apply the gradients that were added up in the weights, and clear them."""
        self.collect()
        norm = float(nn.utils.clip_grad_norm_(self.masters, self.options.grad_clip))
        update = Update(norm, self.lr, skipped=not math.isfinite(norm))
        if not update.skipped:
            for group in self.adamw.param_groups:
                group["lr"] = update.lr
            self.changing = True
            self.adamw.step()
            self._publish()
        self.clear()
        self._count(update)
        return update

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

    def states(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """What a checkpoint keeps of every weight, by the name it has in `VLM.trainable`.

        Tensors in the weight's shape: `exp_avg` and `exp_avg_sq` (AdamW's moments, float32), `step`
        (0-d, the updates that it took part in; left out where that is the number of all) and for a
        weight that is not float32 itself its `master`. Nothing for one that never had a gradient.
        They are the optimizer's own: copy what has to last. Over several processes every one has
        to go through all of them, gathered one weight at a time.
        """
        for name, weight, master in zip(self.names, self.weights, self.masters, strict=True):
            kept = dict(self.adamw.state.get(master, {}))
            if master is not weight:
                kept["master"] = master.detach()
            yield name, kept

    @torch.no_grad()
    def load_states(self, read: Callable[[str], dict[str, Tensor]]) -> None:
        """Put back what `states` gave; `read` has it by name, on the CPU. Set `counters` first."""
        for name, weight, master in zip(self.names, self.weights, self.masters, strict=True):
            kept = read(name)
            if "master" in kept:
                master.copy_(kept["master"])
            elif master is not weight:
                master.copy_(weight)
            self.adamw.state.pop(master, None)
            if "exp_avg" in kept:
                state = {k: kept[k].to(master, copy=True) for k in ("exp_avg", "exp_avg_sq")}
                step = kept.get("step", torch.tensor(float(self.updates)))
                self.adamw.state[master] = {"step": step.clone(), **state}
