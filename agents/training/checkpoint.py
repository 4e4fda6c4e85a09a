"""Checkpoints: the policy in Hugging Face's layout and everything else that a run needs to go on.

`checkpoints/step_000050/` holds the model folder (`from_pretrained` loads it), or with LoRA the
adapters in peft's layout (`PeftModel.from_pretrained` puts them on the base), and `trainer.pt`:
optimizer, step, random number generators. A checkpoint appears by one rename, complete or not
at all.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ..vlm import VLM

STATE = "trainer.pt"
ADAPTERS = "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
"""What peft puts before a module's name in its adapter files."""


class Checkpoints:
    """The checkpoints of one run; the newest `keep` stay."""

    def __init__(self, run_dir: Path, keep: int) -> None:
        self.folder = run_dir / "checkpoints"
        self.keep = keep
        for leftover in self.folder.glob(".unfinished*"):  # of a run that was killed while saving
            shutil.rmtree(leftover)

    def save(self, step: int, vlm: VLM, state: dict[str, Any]) -> Path:
        """Write the checkpoint of `step`, then remove the oldest. One that exists is left."""
        target = self.folder / f"step_{step:06d}"
        if target.is_dir():
            return target
        unfinished = self.folder / f".unfinished_{step:06d}"
        shutil.rmtree(unfinished, ignore_errors=True)  # of an attempt that failed
        unfinished.mkdir(parents=True)
        save_policy(vlm, unfinished)
        torch.save(state, unfinished / STATE)
        os.replace(unfinished, target)
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old)
        return target

    def all(self) -> list[Path]:
        """Oldest first."""
        return checkpoints_in(self.folder.parent)

    def latest(self) -> Path | None:
        found = self.all()
        return found[-1] if found else None


def checkpoints_in(run_dir: Path) -> list[Path]:
    """A run's complete checkpoints, oldest first."""
    found = (run_dir / "checkpoints").glob("step_*")
    return sorted(path for path in found if (path / STATE).is_file())


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The trainer's part of a checkpoint, on the CPU. Raises ValueError for a broken file."""
    path = checkpoint / STATE
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, pickle.UnpicklingError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path}: cannot be read, perhaps cut short ({type(error).__name__}: {error}); remove "
            f"{checkpoint} to go on from the checkpoint before it"
        ) from error
    return state


def has_adapters(vlm: VLM) -> bool:
    return any("lora_" in name for name, _ in vlm.trainable())


def save_policy(vlm: VLM, folder: Path) -> None:
    """Write adapters, or the whole model folder when there are none."""
    if not has_adapters(vlm):
        vlm.save(folder)
        return
    # peft's file names no adapter: `...lora_A.default.weight` is `...lora_A.weight` there.
    adapters = {
        PEFT_PREFIX + name.replace(".default.", "."): parameter.detach().cpu().contiguous()
        for name, parameter in vlm.trainable()
    }
    save_file(adapters, folder / ADAPTERS, metadata={"format": "pt"})
    config = vlm.model.peft_config["default"]
    config.base_model_name_or_path = vlm.model.config.name_or_path
    config.save_pretrained(folder)


def load_adapters(vlm: VLM, folder: Path) -> None:
    """Put saved adapters into a model that has fresh ones of the same shape.

    Raises ValueError when names differ, e.g. because `model.lora` was changed.
    """
    saved = load_file(folder / ADAPTERS)
    own = {PEFT_PREFIX + n.replace(".default.", "."): p for n, p in vlm.trainable()}
    wrong = sorted(set(saved) ^ set(own))
    wrong += [n for n in saved if n in own and saved[n].shape != own[n].shape]
    if wrong:
        raise ValueError(
            f"{folder / ADAPTERS}: its adapters are not the model's, e.g. {wrong[0]}; "
            "resume with the model.lora that the run was started with"
        )
    with torch.no_grad():
        for name, tensor in saved.items():
            own[name].copy_(tensor)


def rng_state() -> dict[str, Any]:
    """State of every random number generator: Python's, numpy's, torch's, each GPU's."""
    kind, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.array(keys)), place, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Set every generator. GPU states are left out where the number of GPUs is another."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy(), *rest))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
