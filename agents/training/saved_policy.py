"""The policy in files: Hugging Face's layout, or with LoRA the adapters in peft's.

`from_pretrained` of transformers and vLLM load the one, `PeftModel.from_pretrained` puts the other
on the base. Tensors come one at a time, so that weights that are spread over processes are gathered
without a full extra copy, and files hold at most `FILE_BYTES`.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..vlm import VLM

ADAPTERS = "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
"""What peft puts before a module's name in its adapter files."""
FILE_BYTES = 4_000_000_000
"""Largest file of tensors; a tensor that is larger is alone in one."""
Shard = dict[str, Tensor]


def has_adapters(vlm: VLM) -> bool:
    return any("lora_" in name for name, _ in vlm.trainable())


def shards(named: Iterable[tuple[str, Tensor]]) -> Iterator[Shard]:
    """Copies of tensors in main memory, as many at once as fit into a file."""
    part: Shard = {}
    size = 0
    for name, tensor in named:
        if part and size + tensor.nbytes > FILE_BYTES:
            yield part
            part, size = {}, 0
        part[name] = tensor.detach().to("cpu", copy=True).contiguous()
        size += tensor.nbytes
    if part:
        yield part


def policy_tensors(vlm: VLM) -> Iterator[tuple[str, Tensor]]:
    """Adapters under peft's names, or the whole model's weights where there are none.

    Over several processes every one has to go through all of them.
    """
    if not has_adapters(vlm):
        yield from vlm.weights()
        return
    for name, tensor in vlm.trained():
        yield _peft_name(name), tensor


def _peft_name(name: str) -> str:
    # peft's file names no adapter: `...lora_A.default.weight` is `...lora_A.weight` there.
    return PEFT_PREFIX + name.replace(".default.", ".")


def write_settings(vlm: VLM, folder: Path, *, adapters: bool) -> None:
    """All of the layout but its tensors: configuration, tokenizer, image processor."""
    if adapters:
        settings = vlm.model.peft_config["default"]
        settings.base_model_name_or_path = vlm.model.config.name_or_path
        settings.save_pretrained(folder)
        return
    config = copy.deepcopy(vlm.model.config)
    config.dtype = str(vlm.model.dtype).removeprefix("torch.")
    config.architectures = [type(vlm.model).__name__]
    config.save_pretrained(folder)
    vlm.model.generation_config.save_pretrained(folder)
    vlm.codec.tokenizer.save_pretrained(folder)
    vlm.codec.image_processor.save_pretrained(folder)


def write_tensors(parts: Iterable[Shard], folder: Path, *, adapters: bool) -> None:
    """The layout's tensors, with an index where there are several files."""
    if adapters:
        whole: Shard = {name: tensor for part in parts for name, tensor in part.items()}
        save_file(whole, folder / ADAPTERS, metadata={"format": "pt"})
        return
    owner: dict[str, int] = {}
    size = 0
    for number, part in enumerate(parts, start=1):
        save_file(part, folder / f"model-{number:05d}.safetensors", metadata={"format": "pt"})
        owner.update(dict.fromkeys(part, number))
        size += sum(tensor.nbytes for tensor in part.values())
    _name_files(folder, owner, size)


def _name_files(folder: Path, owner: dict[str, int], size: int) -> None:
    """Give the files their final names, which tell how many there are."""
    count = max(owner.values())
    single = count == 1
    final = {
        n: "model.safetensors" if single else f"model-{n:05d}-of-{count:05d}.safetensors"
        for n in range(1, count + 1)
    }
    for number, name in final.items():
        (folder / f"model-{number:05d}.safetensors").rename(folder / name)
    if not single:
        weight_map = {name: final[number] for name, number in owner.items()}
        index: dict[str, Any] = {"metadata": {"total_size": size}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def save_model(vlm: VLM, folder: Path, *, main: bool = True) -> None:
    """Write the whole model, adapters merged in, as a plain model folder.

    Over several processes all call it, and the `main` one writes.
    """
    _save(vlm, vlm.weights(), folder, adapters=False, main=main)


def export(vlm: VLM, target: Path, *, main: bool = True) -> Path:
    """`save_model` that replaces the folder `target` in one piece; returns it."""
    unfinished = target.with_name(f".unfinished_{target.name}")
    if main:
        shutil.rmtree(unfinished, ignore_errors=True)
    save_model(vlm, unfinished, main=main)
    if main:
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
    return target


def save_policy(vlm: VLM, folder: Path, *, main: bool = True) -> None:
    """Write the adapters alone where there are some, otherwise as `save_model`."""
    _save(vlm, policy_tensors(vlm), folder, adapters=has_adapters(vlm), main=main)


def _save(
    vlm: VLM, tensors: Iterable[tuple[str, Tensor]], folder: Path, *, adapters: bool, main: bool
) -> None:
    try:
        if main:
            folder.mkdir(parents=True, exist_ok=True)
            write_settings(vlm, folder, adapters=adapters)
            write_tensors(shards(tensors), folder, adapters=adapters)
    finally:
        exhaust(tensors)


def exhaust(items: Iterable[Any]) -> None:
    """Go through the rest: what all processes gather together, each has to go through."""
    for _ in items:
        pass


def load_adapters(vlm: VLM, folder: Path) -> None:
    """Put saved adapters into a model that has fresh ones of the same shape.

    Raises ValueError when names differ, e.g. because `model.lora` was changed.
    """
    saved = load_file(folder / ADAPTERS)
    own = {_peft_name(name): parameter for name, parameter in vlm.trainable()}
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
