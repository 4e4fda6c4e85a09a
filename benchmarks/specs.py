"""What to evaluate: agents and datasets by their command-line names.

Agents (`NAME=AGENT` gives the column its name)
    random, oracle            scripted agents, also centre and always_a
    configs/mgpo_tiny.yaml    the model, engine, environment and reply length of a training config
    configs/openai_vllm.yaml  the same with a server instead of a model: `engine.name: openai`
    runs/mgpo_tiny            a finished run: its trained model with its own config
    path/to/model             a model folder or a checkpoint (not of LoRA: it has adapters alone);
                              the config of the run around it

Datasets
    synthetic, synthetic:ood  a loader by name, and a split
    jsonl:path/to/folder      a path is the loader's option `root`
    synthetic:test,seed=3     further options of the loader
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hrvision_env.datasets import Dataset
from hrvision_env.datasets import load as load_dataset
from hrvision_env.env import HighResVQAEnv
from hrvision_env.scripted import SCRIPTED

EnvOptions = dict[str, Any]
EngineOptions = dict[str, Any]
BATCH = 64
"""Episodes at once, where the engine does not say how many it works on."""

AT_ONCE = ("concurrency", "max_num_seqs")
"""Options in which engines say how many replies they work on at once."""


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset to be loaded: `env` holds `dataset`, `split` and the loader's options."""

    name: str
    env: EnvOptions

    def load(self) -> Dataset:
        """The questions, as an environment of these arguments has them."""
        own = inspect.signature(HighResVQAEnv.__init__).parameters
        options = {key: value for key, value in self.env.items() if key not in own}
        split = self.env.get("split", own["split"].default)
        return load_dataset(self.env["dataset"], split, **options)


@dataclass(frozen=True)
class AgentSpec:
    """An agent to be made, in this process or in another one."""

    name: str
    scripted: str = ""
    """A name in `hrvision_env.scripted.SCRIPTED`; empty for a model."""
    model: str = ""
    """Model folder or hub id; of a server, the model's name there."""
    engine: str = "transformers"
    """File under agents/rollout/engines, or an import path."""
    options: EngineOptions = field(default_factory=dict)
    """The engine's own options."""
    batch: int = BATCH
    """Episodes at once."""
    env: EnvOptions = field(default_factory=dict)
    """Arguments of the environment without those of the dataset."""
    max_tokens: int = 64
    temperature: float = 1.0
    """Of sampled episodes, as the next three; the others are greedy."""
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    dtype: str = "auto"
    """float32, bfloat16, or auto: see `agents.devices`."""
    device: str = "auto"
    threads: int = 1
    """CPU threads of torch; 0 leaves torch's own choice."""
    retries: int = 1
    """Times that an episode is played again after a failure of engine or environment."""
    timeout: float | None = None
    """Seconds that a reply may take."""

    def env_for(self, dataset: DatasetSpec) -> EnvOptions:
        return {**self.env, **dataset.env}


def parse_dataset(text: str) -> DatasetSpec:
    """Read `NAME[:SPLIT or PATH][,option=value ...]`. Raises ValueError naming the broken part."""
    head, *options = text.split(",")
    name, _, rest = head.partition(":")
    env: EnvOptions = {"dataset": name}
    if rest:
        env["root" if "/" in rest or Path(rest).exists() else "split"] = rest
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise ValueError(f"dataset {text!r}: got {option!r}, expected option=value")
        env[key] = yaml.safe_load(value)
    if not name:
        raise ValueError(f"dataset {text!r}: got no name, expected NAME[:SPLIT][,option=value]")
    return DatasetSpec(text, env)


def parse_agent(text: str, overrides: Mapping[str, Any] | None = None) -> AgentSpec:
    """Read `[NAME=]AGENT`; `overrides` are environment arguments on top of the agent's own.

    Raises ValueError (ConfigError for a broken config) or FileNotFoundError.
    """
    label, equals, source = text.partition("=")
    if not equals or Path(text).exists():  # a path may hold the sign as well
        label, source = "", text
    if source in SCRIPTED:
        return AgentSpec(label or source, scripted=source, env=dict(overrides or {}))
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        return _from_config(label or path.stem, path, "", overrides)
    if not path.is_dir():
        raise FileNotFoundError(
            f"agent {text!r}: expected {', '.join(SCRIPTED)}, a config file (.yaml), "
            "a run folder or a model folder"
        )
    model = path / "model" if (path / "model").is_dir() else path
    config = next((p / "config.yaml" for p in (path, *path.parents) if _is_run(p)), None)
    if config is None:
        return AgentSpec(label or path.name, model=str(model), env=dict(overrides or {}))
    if path == config.parent and model == path:
        raise FileNotFoundError(f"agent {text!r}: the run has no model yet (expected {path}/model)")
    return _from_config(label or path.name, config, str(model), overrides)


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() and (folder / "metrics.jsonl").is_file()


def _from_config(
    label: str, path: Path, model: str, overrides: Mapping[str, Any] | None
) -> AgentSpec:
    from agents.config import eval_env, load

    config = load(path)
    options = config.engine.options.model_dump(mode="json")
    if model and options.get("model"):
        raise ValueError(
            f"agent {label!r}: {path} names the model {options['model']!r} on a server "
            f"(engine.name {config.engine.name}), so {model} cannot be played by it"
        )
    return AgentSpec(
        name=label,
        model=model or options.get("model") or config.model.path,
        engine=config.engine.name,
        options=options,
        batch=next((options[key] for key in AT_ONCE if options.get(key)), BATCH),
        env={**own_arguments(eval_env(config)), **(overrides or {})},
        max_tokens=config.rollout.max_tokens,
        temperature=config.rollout.temperature,
        top_p=config.eval.top_p,
        top_k=config.eval.top_k,
        min_p=config.eval.min_p,
        dtype=config.model.dtype,
        device=config.model.device,
        threads=config.model.threads,
        retries=config.rollout.retries,
        timeout=config.rollout.timeout,
    )


def own_arguments(env: Mapping[str, Any]) -> EnvOptions:
    """The environment's own arguments, without the dataset, its split and its loader's options."""
    own = set(inspect.signature(HighResVQAEnv.__init__).parameters)
    own -= {"self", "dataset", "split", "dataset_options", "render_mode", "expose_target"}
    return {key: value for key, value in env.items() if key in own}
