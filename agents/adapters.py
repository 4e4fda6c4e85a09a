"""LoRA adapters inside a model, and the plain weights that a model with or without them stands for.

W + BA is all that an adapter may be, so that its model can always be written as a plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

Gather = Callable[[Sequence[nn.Parameter]], AbstractContextManager[Any]]
"""A region in which weights that are spread over processes are whole here, for reading."""

BUCKET = 2**28
"""Numbers that are gathered at once: half a gigabyte of bfloat16."""

LORA_TARGETS = r".*language_model\..*\.(q|k|v|o|gate|up|down)_proj"
"""What LoRA adapts unless told otherwise: every linear layer of the language model."""

LORA_OPTIONS = (
    "r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "exclude_modules",
    "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern",
)  # fmt: skip
"""What `LoraConfig` may be given: with these alone an adapter is W + BA."""


def add_lora(model: Any, options: dict[str, Any], *, freeze_vision: bool) -> Any:
    """Freeze a model and put trainable low-rank adapters inside it; returns it.

    With `freeze_vision` adapters in the vision tower are not trained. Raises ValueError for an
    option outside `LORA_OPTIONS`, and for an adapted head or embedding where the two are tied.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if unknown := sorted(options.keys() - LORA_OPTIONS):
        raise ValueError(f"lora: got {', '.join(unknown)}, expected some of {LORA_OPTIONS}")
    config = LoraConfig(**{"target_modules": LORA_TARGETS, **options})
    model = inject_adapter_in_model(config, model)
    if is_tied(model) and {model.lm_head, model.get_input_embeddings()} & set(_adapted(model)):
        raise ValueError(
            f"lora.target_modules: got {options.get('target_modules')!r}, which adapts the head or "
            "the embedding; the two are one tensor in this model and would no longer be"
        )
    for name, parameter in model.named_parameters():
        frozen = freeze_vision and ".visual." in name
        parameter.requires_grad_("lora_" in name and not frozen)
    return model


def is_tied(model: Any) -> bool:
    """Whether the head's weights are the embedding's."""
    return model.lm_head.weight is model.get_input_embeddings().weight


def merged(model: Any, gather: Gather | None = None) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of everything in a model's state, adapters added to what they adapt.

    The names are those of the model without adapters. Tensors that nothing adapts are the model's
    own, not copies; of tied weights there is only the embedding. `gather` is given where weights
    are spread over processes: a region in which those named are whole. All processes then go
    through all of them, `BUCKET` numbers at a time.
    """
    owners = {f"{name}.": layer for layer, name in _adapted(model).items()}
    state = model.state_dict(keep_vars=True)
    if is_tied(model):
        state.pop("lm_head.weight", None)
    for bucket in _buckets(state, BUCKET) if gather else [state]:
        needed: dict[int, Any] = {id(tensor): tensor for tensor in bucket.values()}
        for name in bucket:
            layer = owners.get(_owner(name, owners))
            needed |= {id(p): p for p in layer.parameters()} if layer else {}
        with gather(list(needed.values())) if gather else nullcontext():
            for name, tensor in bucket.items():
                yield from _plain(name, tensor.detach(), owners)


def _plain(name: str, tensor: Tensor, owners: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """What a tensor of the state is in the model without adapters; nothing for an adapter."""
    owner = _owner(name, owners)
    if not owner:
        yield name, tensor
    elif ".base_layer." in name:
        if name.endswith(".weight"):
            layer = owners[owner]
            with torch.no_grad():
                tensor = tensor + sum(layer.get_delta_weight(a) for a in layer.active_adapters)
        yield name.replace(".base_layer.", "."), tensor


def _owner(name: str, owners: Iterable[str]) -> str:
    """The adapted layer that a tensor belongs to, or ""."""
    return next((prefix for prefix in owners if name.startswith(prefix)), "")


def _buckets(state: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
    """Consecutive tensors of at most `size` numbers together, or a single larger one."""
    bucket: dict[str, Any] = {}
    filled = 0
    for name, tensor in state.items():
        numbers = getattr(tensor, "ds_numel", tensor.numel())  # of the whole, where it is spread
        if bucket and filled + numbers > size:
            yield bucket
            bucket, filled = {}, 0
        bucket[name] = tensor
        filled += numbers
    if bucket:
        yield bucket


def whole(
    named: Iterable[tuple[str, nn.Parameter]], gather: Gather | None
) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of some weights, gathered where they are spread over processes."""
    if gather is None:
        yield from ((name, weight.detach()) for name, weight in named)
        return
    for bucket in _buckets(dict(named), BUCKET):
        with gather(list(bucket.values())):
            yield from ((name, weight.detach()) for name, weight in bucket.items())


def checkpoint_weights(model: Any, gather: Gather | None = None) -> Iterator[tuple[str, Tensor]]:
    """`merged` with the names that `save_pretrained` writes, one tensor at a time.

    transformers renames some weights when it reads a checkpoint, and back when it writes one; other
    engines know the names of the checkpoint.
    """
    from transformers.core_model_loading import revert_weight_conversion

    for name, tensor in merged(model, gather):
        yield from revert_weight_conversion(model, {name: tensor}).items()


def _adapted(model: Any) -> dict[Any, str]:
    """The adapted layers, with their names."""
    return {m: name for name, m in model.named_modules() if hasattr(m, "get_delta_weight")}
