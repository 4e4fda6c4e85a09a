"""The optimizer's state in files: one entry per weight and kind, whoever computed it.

Names are those of the weights, tensors have their shapes, so that a run can be resumed with another
number of processes, with DeepSpeed or without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .optimizer import AnyOptimizer
from .saved_policy import Shard

SEPARATOR = ":"
"""Between kind and name of an entry: `exp_avg:model.language_model.norm.weight`."""


def entries(optimizer: AnyOptimizer) -> Iterator[tuple[str, Tensor]]:
    """What the optimizer keeps, as the files name it."""
    for name, kept in optimizer.states():
        for kind, tensor in kept.items():
            yield f"{kind}{SEPARATOR}{name}", tensor


def write_moments(parts: Iterable[Shard], folder: Path) -> None:
    for number, part in enumerate(parts, start=1):
        save_file(part, folder / f"optimizer-{number:05d}.safetensors")


class Moments:
    """What `write_moments` wrote, read weight by weight."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, dict[str, Path]] = {}
        for path in sorted(folder.glob("optimizer-*.safetensors")):
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 - it is no mapping
                    kind, name = key.split(SEPARATOR, 1)
                    self._files.setdefault(name, {})[kind] = path

    def read(self, name: str) -> dict[str, Tensor]:
        """Tensors by kind; none for a weight that never had a gradient."""
        found: dict[str, Tensor] = {}
        for kind, path in self._files.get(name, {}).items():
            with safe_open(path, "pt") as file:
                found[kind] = file.get_tensor(f"{kind}{SEPARATOR}{name}")
        return found
