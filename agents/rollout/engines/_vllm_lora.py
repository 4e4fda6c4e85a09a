"""LoRA adapters served by vLLM beside the weights they adapt, without merging.

Every version is written in peft's layout to a folder of its own and gets an id of its own, by
which vLLM also keeps the prefixes of versions apart.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from ._vllm_folders import Folder

FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What peft puts before a module's name in its adapter files."""


class Adapters:
    """The adapters that vLLM serves: none before the first `load`, then the last version."""

    def __init__(self) -> None:
        self._kept = Folder("lora")
        self.folder = self._kept.path
        self.request: Any = None
        """vLLM's `LoRARequest`, part of every request; None: the weights alone."""

    def load(self, core: Any, source: Any, version: int) -> None:
        """Serve the adapters of a `VLM`, or of a folder in peft's layout, from now on.

        Raises ValueError for adapters that vLLM would leave out.
        """
        from vllm.lora.request import LoRARequest

        number = 1 if self.request is None else self.request.lora_int_id + 1
        folder = Path(source) if isinstance(source, str | Path) else self.folder / str(number)
        if folder.parent == self.folder:
            write_adapters(source, folder)
        elif not (folder / FILE).is_file():
            raise FileNotFoundError(
                f"engine.lora: served: {folder} has no {FILE}; expected adapters in peft's layout"
            )
        request = LoRARequest(f"version-{version}-{number}", number, str(folder))
        core.add_lora(request)
        if self.request is not None:
            core.remove_lora(self.request.lora_int_id)
            self._remove_folder()
        self.request = request

    def again(self, core: Any) -> None:
        """Serve the last version in a vLLM that was opened anew."""
        if self.request is not None:
            core.add_lora(self.request)

    def close(self) -> None:
        self._kept.remove()

    def _remove_folder(self) -> None:
        old = Path(self.request.lora_path)
        if old.parent == self.folder:
            shutil.rmtree(old, ignore_errors=True)


def adapter_tensors(source: Any) -> dict[str, Tensor]:
    """The adapters of a `VLM` or module by their names in peft's files.

    Raises ValueError when there are none, or some outside the language model.
    """
    module = getattr(source, "model", source)
    found = {n: p for n, p in module.named_parameters() if ".lora_" in n}
    if not found:
        raise ValueError(
            "engine.lora: got 'served', but the model has no adapters; set model.lora, or "
            "engine.lora: merged"
        )
    if outside := [name for name in found if ".language_model." not in name]:
        raise ValueError(
            f"engine.lora: vLLM serves adapters of the language model alone, got {outside[0]}; "
            "set engine.lora: merged"
        )
    # peft's file names no adapter: `...lora_A.default.weight` is `...lora_A.weight` there.
    return {PREFIX + n.replace(".default.", "."): p.detach().cpu() for n, p in found.items()}


def check_adapters(source: Any, max_rank: int) -> None:
    """Raise ValueError for adapters of a `VLM` or module that vLLM cannot serve."""
    tensors = adapter_tensors(source)
    rank = max(tensor.shape[0] for name, tensor in tensors.items() if ".lora_A." in name)
    if rank > max_rank:
        raise ValueError(
            f"engine.max_lora_rank: got {max_rank}, but the model's adapters have rank {rank}; "
            f"expected {rank} or more, or engine.lora: merged"
        )


def write_adapters(source: Any, folder: Path) -> None:
    """Write the adapters of a `VLM` in peft's layout."""
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in adapter_tensors(source).items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / FILE, metadata={"format": "pt"})
    module = getattr(source, "model", source)
    module.peft_config["default"].save_pretrained(folder)
