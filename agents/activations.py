"""What a backward pass does when a layer is computed again: gradient checkpointing.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174: a layer keeps its
input alone, and its forward runs a second time where the gradient arrives.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any


def checkpoint_layers(model: Any) -> None:
    """Let every layer of the decoder, and of a vision tower that trains, be computed again.

    It takes effect in training mode. What the decoder attends by in the forward pass (see
    `attending`) it attends by in the second one.
    """
    text, tower = model.model.language_model.config, model.model.visual

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), attending(text, text._attn_implementation)

    model.activation_checkpointing_enable({"use_reentrant": False, "context_fn": contexts})
    # Only reentrant checkpoints need inputs with a gradient; here they would cost one.
    model.disable_input_require_grads()
    if not any(parameter.requires_grad for parameter in tower.parameters()):
        for module in tower.modules():
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = False


@contextmanager
def attending(config: Any, name: str) -> Iterator[None]:
    """Inside, a model with this text config attends by transformers' attention `name`."""
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before
