"""What a run is made of: environment, questions, policy, reference and engine, from its config."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrvision_env.vector import HighResVQAVectorEnv

from ..config import Config, ConfigError, eval_env
from ..families import family_of
from ..rollout.engines import Engine, ModelSource, can_train, open_named
from ..vlm import VLM
from .checkpoint import has_adapters, load_adapters, restore_rng, rng_state
from .questions import Questions
from .reference import Reference
from .steps import ROLLOUTS, steps_in


def check_run_dir(run_dir: Path, config: Config) -> None:
    """Refuse to mix two runs in one folder."""
    if config.resume == "no" and (run_dir / "metrics.jsonl").is_file():
        raise ConfigError(
            f"run_dir {run_dir}: already holds a run; pass --resume auto to go on with it, "
            "or another --run_dir"
        )
    if config.resume == "no" and steps_in(run_dir / ROLLOUTS):
        raise ConfigError(
            f"run_dir {run_dir}: holds rollouts in {ROLLOUTS}/; pass --rollout.source "
            f"{run_dir / ROLLOUTS} and another --run_dir to train on them, or remove them"
        )


def check_factor(config: Config, policy: VLM) -> None:
    """Views and crops must consist of whole image tokens."""
    for section, env in (("env", config.env), ("eval_env", eval_env(config))):
        if env["factor"] % policy.codec.factor:
            raise ConfigError(
                f"{section}.factor: got {env['factor']}, expected a multiple of "
                f"{policy.codec.factor}, which is patch size x merge size of {config.model.path}"
            )


def dialect_warnings(config: Config, policy: VLM) -> list[str]:
    """Where the environment asks for boxes in other numbers than models of this kind write.

    That may be meant: a model that was trained here writes what it was taught.
    """
    family = family_of(policy.model.config)
    return [
        f"warning: {section}.box_dialect: got {env['box_dialect']}, but published models of type "
        f"{family.model_type} write boxes as {family.box_dialect}; unless {config.model.path} was "
        "taught otherwise, its boxes will be wrong"
        for section, env in (("env", config.env), ("eval_env", eval_env(config)))
        if env["box_dialect"] != family.box_dialect
    ]


def seed_everything(config: Config) -> None:
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    if config.model.threads:
        torch.set_num_threads(config.model.threads)


def open_env(config: Config) -> HighResVQAVectorEnv:
    """The training environment, as many groups as a step asks."""
    size = config.rollout.group_size
    members = config.rollout.groups_per_step * size
    return HighResVQAVectorEnv(num_envs=members, group_size=size, **config.env)


def open_questions(config: Config, env: HighResVQAVectorEnv) -> Questions:
    name = f"dataset {config.env['dataset']!r}, split {config.env['split']!r}"
    size = len(env.envs[0].dataset)
    return Questions(size, config.rollout.groups_per_step, config.seed, name)


def check_engine(name: str, where: str = "engine.name") -> None:
    """Refuse an engine whose replies cannot be trained on."""
    if not can_train(name):
        raise ConfigError(
            f"{where}: got {name!r}, whose replies carry no tokens and log-probs to train on; "
            "expected an engine that shows them, such as transformers or vllm"
        )


def open_engine(config: Config, policy: VLM | None = None) -> Engine:
    """The engine of a config, with the weights of `model.path`; `policy` is the trainer's own.

    Random number generators are left as they were. Raises ValueError, OSError or ImportError.
    """
    model = config.model
    codec = policy.codec if policy is not None else None
    source = ModelSource(model.path, model.dtype, model.device, policy, codec)
    before = rng_state()
    try:
        return open_named(config.engine.name, source, config.engine.options)
    finally:
        restore_rng(before)


def load_policy(config: Config, checkpoint: Path | None) -> tuple[VLM, Reference | None]:
    """The policy, from a checkpoint or fresh, and the reference that a KL term asks for."""
    model = config.model
    settings: dict[str, Any] = {
        "dtype": model.dtype,
        "device": model.device,
        "freeze_vision": model.freeze_vision,
        "lora": model.lora.peft_options() if model.lora else None,
    }
    whole = checkpoint is not None and model.lora is None
    needs_reference = config.algorithm.options.kl > 0
    reference = None
    if needs_reference or not whole:
        policy = VLM.load(model.path, **settings)
        reference = Reference(policy) if needs_reference else None
    if checkpoint is not None and whole:
        policy = VLM.load(checkpoint, **settings)
    elif checkpoint is not None:
        load_adapters(policy, checkpoint)
    # Without dropout the two modes are the same; evaluation mode keeps the prefix cache.
    policy.model.train(bool(model.lora and model.lora.dropout) and has_adapters(policy))
    return policy, reference
