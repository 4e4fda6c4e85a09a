"""What a run is made of: environment, questions, policy, reference and engine, from its config."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrvision_env.dialogues import Dialogue, Setup
from hrvision_env.plugins import resolve
from hrvision_env.vector import HighResVQAVectorEnv

from ..config import Config, ConfigError, eval_env
from ..families import family_of
from ..rollout.engines import Engine, ModelSource, can_train, open_named
from ..vlm import VLM
from .checkpoint import checkpoints_in
from .optimizer import AnyOptimizer, Optimizer
from .questions import Questions
from .ranks import ALONE, Ranks
from .reference import Reference
from .rng import restore_rng, rng_state
from .saved_policy import ADAPTERS, has_adapters, load_adapters
from .steps import ROLLOUTS, steps_in
from .tree import TokenScores, token_logprobs


def check_run_dir(run_dir: Path, config: Config) -> None:
    """Refuse to mix two runs in one folder."""
    holds = (run_dir / "metrics.jsonl").is_file() or checkpoints_in(run_dir)
    if config.resume == "no" and holds:
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


def meet(config: Config) -> Ranks:
    """The processes that a launcher has started to train together, this one among them.

    Raises ConfigError for several without `scale.deepspeed`, for a vLLM inside one of them, and for
    more than a machine has GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if not config.scale.deepspeed:
        if count > 1:
            raise ConfigError(
                f"scale.deepspeed: is empty, but {count} processes were started; name a file such "
                "as configs/deepspeed/zero2.json, or start one process"
            )
        return ALONE
    check_engine_of(config, count)
    from .zero import join

    return join(config.scale.timeout_minutes, config.model.device)


def open_env(config: Config, ranks: Ranks = ALONE) -> HighResVQAVectorEnv:
    """The training environment, as many groups as a step asks of one process."""
    size = config.rollout.group_size
    members = max(1, len(ranks.share(range(config.rollout.groups_per_step)))) * size
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


def check_engine_of(config: Config, count: int) -> None:
    """Refuse a vLLM that runs inside of one of several processes."""
    inside = not getattr(config.engine.options, "own_process", False)
    if count > 1 and config.engine.name == "vllm" and inside:
        raise ConfigError(
            f"engine.own_process: expected true: with {count} processes a vLLM inside of one would "
            "take them for its own workers"
        )


def open_engine(config: Config, policy: VLM | None = None) -> Engine:
    """The engine of a config, with the weights of `model.path`; `policy` is the trainer's own.

    Random number generators are left as they were. Raises ValueError, OSError or ImportError.
    """
    model = config.model
    codec = policy.codec if policy is not None else None
    if policy is not None and policy.is_partitioned:  # only a model of its own can generate alone
        policy = None
    source = ModelSource(model.path, model.dtype, model.device, policy, codec)
    before = rng_state()
    try:
        return open_named(config.engine.name, source, config.engine.options)
    finally:
        restore_rng(before)


def turns_of(config: Config) -> int:
    """Replies that an episode of the training environment has at most."""
    env = config.env
    setup = Setup(
        env["prompt"],
        env["max_turns"],
        env["box_dialect"],
        env["box_form"],
        env["box_frame"],
        env["max_boxes"],
        env["show_options"],
        points=env["point_side"] is not None,
    )
    talk: Dialogue = resolve("hrvision_env.dialogues", env["dialogue"], "Dialogue")(setup)
    return talk.max_turns


def open_optimizer(
    config: Config, policy: VLM, ranks: Ranks = ALONE
) -> tuple[AnyOptimizer, Callable[..., TokenScores]]:
    """The optimizer of a config, and how the policy is scored where it is trained.

    Raises ConfigError for a DeepSpeed file that cannot be used.
    """
    if not config.scale.deepspeed:
        return Optimizer(policy.trainable(), config.optim), partial(token_logprobs, policy)
    from .zero import ZeroOptimizer

    optimizer = ZeroOptimizer(policy, config.optim, config.scale.deepspeed, ranks)
    return optimizer, optimizer.score


def _check_adapters(config: Config, checkpoint: Path) -> None:
    """Refuse to go on with adapters from a whole model, and the other way round."""
    holds = (checkpoint / ADAPTERS).is_file()
    if holds != (config.model.lora is not None):
        kind, asked = ("adapters", "none") if holds else ("a whole model", "adapters")
        raise ValueError(
            f"{checkpoint}: holds {kind}, and model.lora asks for {asked}; resume with the "
            "model.lora that the run was started with"
        )


def load_policy(config: Config, checkpoint: Path | None) -> tuple[VLM, Reference | None]:
    """The policy, from a checkpoint or fresh, and the reference that a KL term asks for."""
    model = config.model
    settings: dict[str, Any] = {
        "dtype": model.dtype,
        "device": model.device,
        "freeze_vision": model.freeze_vision,
        "feature_cache_mb": model.feature_cache_mb,
        "lora": model.lora.peft_options() if model.lora else None,
    }
    whole = checkpoint is not None and model.lora is None
    needs_reference = config.algorithm.options.kl > 0
    reference = None
    if checkpoint is not None:
        _check_adapters(config, checkpoint)
    if checkpoint is not None and whole:
        first = VLM.load(model.path, **settings) if needs_reference else None
        policy = VLM.load(checkpoint, **settings)
        reference = Reference(policy, first) if needs_reference else None
    else:
        policy = VLM.load(model.path, **settings)
        reference = Reference(policy) if needs_reference else None
        if checkpoint is not None:
            load_adapters(policy, checkpoint)
    if model.gradient_checkpointing:
        policy.checkpoint_activations()
    # Without dropout the two modes are the same; evaluation mode keeps the prefix cache.
    dropout = bool(model.lora and model.lora.dropout) and has_adapters(policy)
    policy.model.train(dropout or policy.checkpointing)
    return policy, reference
