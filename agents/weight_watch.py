"""`WeightWatch`: whether the weights of a module are still those of the last look."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SAMPLED = 4
"""Numbers of each weight that a look inside compares, spread over it."""


class WeightWatch:
    """Remembers what it saw of one module's parameters, which are not copied.

    A look at the outside finds every new tensor and every change that autograd counts (most
    optimizers, `load_state_dict`, `copy_`). What writes past autograd (`.data`, fused optimizers)
    shows only inside, where a few numbers of each parameter are compared: an optimizer's step
    moves nearly all of them, but a change of single numbers may go unseen.
    """

    def __init__(self) -> None:
        self._outside = 0
        self._inside = b""

    def changed(self, module: nn.Module, inside: bool = False) -> bool:
        """Whether a change is seen since the last call, the first included.

        A look inside copies a few kilobytes from the device, the other touches no tensor.
        """
        outside = hash(tuple(map(_mark, module.parameters())))
        if outside == self._outside and not inside:
            return False
        numbers = _numbers(module)
        changed = (outside, numbers) != (self._outside, self._inside)
        self._outside, self._inside = outside, numbers
        return changed


def _mark(parameter: Tensor) -> tuple[int, int, int]:
    version = 0 if parameter.is_inference() else parameter._version
    return id(parameter), parameter.data_ptr(), version


def _numbers(module: nn.Module) -> bytes:
    parts = []
    for parameter in module.parameters():
        flat = parameter.detach().reshape(-1)
        parts.append(flat[:: max(1, flat.numel() // SAMPLED)])
    return torch.cat(parts).float().cpu().numpy().tobytes() if parts else b""
