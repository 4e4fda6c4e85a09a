"""What may be changed in a config so that it needs less memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...config import Config
from ...config_sections import EngineSection, Lora
from .zero import Zero, zero_of

FILES = Path(__file__).parents[3] / "configs" / "deepspeed"
SMALLEST = 2048
"""Tokens of a micro-batch that is worth proposing."""
FEWEST = 8
"""Episodes at once that are worth proposing."""


def changes(config: Config, zero: Zero) -> Iterator[tuple[str, Config, Zero]]:
    """(as it is written on the command line, the config with it, its DeepSpeed settings)."""
    if not config.model.gradient_checkpointing:
        yield (
            "--model.gradient_checkpointing true",
            _with(config, "model", gradient_checkpointing=True),
            zero,
        )
    tokens = config.optim.micro_batch_tokens // 2
    if tokens >= SMALLEST:
        words = f"--optim.micro_batch_tokens {tokens}"
        yield words, _with(config, "optim", micro_batch_tokens=tokens), zero
    if config.model.lora is None:
        lora = _with(config, "model", lora=Lora(rank=64, alpha=128.0))
        yield '--model.lora "{rank: 64, alpha: 128}"', lora, zero
    if not config.model.freeze_vision:
        frozen = _with(config, "model", freeze_vision=True)
        yield "--model.freeze_vision true", frozen, zero
    batch = min(config.eval.batch, config.eval.n) // 2
    if config.eval.every and batch >= FEWEST:
        yield f"--eval.batch {batch}", _with(config, "eval", batch=batch), zero
    yield from _other_files(config, zero)
    yield from _smaller_engine(config, zero)


def _with(config: Config, section: str, **values: Any) -> Config:
    changed = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: changed})


def _other_files(config: Config, zero: Zero) -> Iterator[tuple[str, Config, Zero]]:
    """Those of `configs/deepspeed`, with the settings that stand there."""
    stage = max(2, zero.stage)
    names = []
    if config.scale.processes > 1 and zero.stage < 3:
        names.append("zero3")
    if not zero.optimizer_on_host:
        names.append(f"zero{stage}_offload")
    elif zero.stage < 3:
        names.append("zero3_offload")
    for name in names:
        if (path := FILES / f"{name}.json").is_file():
            words = f"--scale.deepspeed configs/deepspeed/{name}.json"
            yield words, config, zero_of(str(path))


def _smaller_engine(config: Config, zero: Zero) -> Iterator[tuple[str, Config, Zero]]:
    options: Any = config.engine.options
    section = dict(options)
    questions = math.ceil(config.rollout.groups_per_step / config.scale.processes)
    rows = min(getattr(options, "max_rows", 0), questions * config.rollout.group_size)
    if config.engine.name == "transformers" and rows >= 2 * FEWEST:
        section["max_rows"] = rows // 2
    elif config.engine.name == "vllm" and not options.enable_sleep_mode:
        section["enable_sleep_mode"] = True
    else:
        return
    key = next(k for k, value in section.items() if value != getattr(options, k))
    engine = EngineSection(name=config.engine.name, **section)
    words = f"--engine.{key} {str(section[key]).lower()}"
    yield words, config.model_copy(update={"engine": engine}), zero
