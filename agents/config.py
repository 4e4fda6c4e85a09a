"""The typed configuration of a training run: sparse YAML plus dotted command-line overrides.

`load("configs/mgpo_tiny.yaml", ["--optim.lr", "1e-4"])` merges defaults, file and overrides, in
that order, and checks every key and type. Keys under `env` are the keyword arguments of
`HighResVQAEnv` and the options of its dataset's loader; keys under `algorithm` are the options
of the algorithm, those under `engine` the engine's. Every error names where the value came from,
the key, what was got and what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, ValidationError

from .config_env import dataset_of, env_fields, env_kwargs, env_schema, merge_env
from .config_sections import (
    AlgorithmSection,
    Amount,
    Checkpoint,
    EngineSection,
    Eval,
    Model,
    Optim,
    Rollout,
    Scale,
    Section,
    Tracking,
    preset_of,
)
from .config_text import explain, field_table
from .rollout.engines import engine_options
from .training.algorithm import get_algorithm

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be used; the text lists every fault, one per line."""


class Config(Section):
    """One training run. `load` and `parse` make it; the environment's section is complete."""

    model: Model = Model()
    env: dict[str, Any] = Field(default_factory=dict)
    """keyword arguments of HighResVQA-v0, and options of the dataset"""
    eval_env: dict[str, Any] = Field(default_factory=dict)
    """what differs from `env` in evaluation"""
    engine: EngineSection = EngineSection()
    rollout: Rollout = Rollout()
    algorithm: AlgorithmSection = AlgorithmSection()
    optim: Optim = Optim()
    scale: Scale = Scale()
    eval: Eval = Eval()
    tracking: Tracking = Tracking()
    checkpoint: Checkpoint = Checkpoint()
    seed: Amount = 0
    """of questions, sampling and initialisation"""
    run_dir: str = ""
    """folder of the run; empty: runs/NAME-OF-THE-CONFIG"""
    resume: Literal["no", "auto"] = "no"
    """auto: go on from the newest checkpoint in run_dir, or start when there is none"""

    def to_yaml(self) -> str:
        """Every value, defaults included; `load` reads it back to an equal config."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """A config from a YAML file and overrides `--section.key value` (or `--section.key=value`).

    Raises ConfigError.

    >>> load("configs/mgpo_tiny.yaml", ["--optim.lr", "1e-4"]).optim.lr
    0.0001
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"config {path}: no such file")
    try:
        base = OmegaConf.load(path)
    except (yaml.YAMLError, OSError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not OmegaConf.is_dict(base):
        raise ConfigError(f"{path}: got a list, expected `section: {{key: value}}`")
    pairs = _pairs(overrides)
    try:
        raw: Any = OmegaConf.to_container(OmegaConf.merge(base, *_trees(pairs)), resolve=True)
    except OmegaConfBaseException as error:  # e.g. ${key} of a key that does not exist
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}") from error
    raw["run_dir"] = raw.get("run_dir") or f"runs/{path.stem}"
    return parse(raw, str(path), overridden=tuple(pairs))


def parse(raw: Mapping[str, Any], source: str, overridden: Sequence[str] = ()) -> Config:
    """Check a nested mapping; complete its `env`, `engine` and `algorithm` sections.

    `source` is named in errors, or the command line for the dotted keys in `overridden`.
    Raises ConfigError.
    """

    def check(at: str, keys: Sequence[str], make: Callable[[], T]) -> T:
        try:
            return make()
        except (ValidationError, ValueError, TypeError) as error:
            raise ConfigError(explain(error, at, keys, source, overridden)) from None

    config = check("", [key for key, *_ in field_table(Config)], lambda: Config.model_validate(raw))
    section, engine = config.algorithm, config.engine
    schema = check("engine.name", (), lambda: engine_options(engine.name))
    keys = ["engine.name", *(key for key, *_ in field_table(schema, "engine."))]
    played = check("engine", keys, lambda: engine.options)
    check("optim.prefix", (), lambda: config.optim.form(config.model.gradient_checkpointing))
    algorithm = check("algorithm.name", (), lambda: get_algorithm(section.name))
    preset = check("algorithm.preset", (), lambda: preset_of(algorithm, section.preset))
    known = [f"algorithm.{name}" for name in type(preset).model_fields]
    options = check("algorithm", known, lambda: section.options)
    env = {"dialogue": algorithm.dialogue, **config.env}
    check("env.dataset", (), lambda: env_schema(dataset_of(env)))
    env = check("env", env_fields(env, "env"), lambda: env_kwargs(env))
    merged = merge_env(env, config.eval_env)
    check("eval_env.dataset", (), lambda: env_schema(dataset_of(merged)))
    check("eval_env", env_fields(merged, "eval_env"), lambda: env_kwargs(merged))
    complete = {
        "env": env,
        "engine": EngineSection(name=engine.name, **dict(played)),
        "algorithm": AlgorithmSection(name=section.name, preset=section.preset, **dict(options)),
    }
    return config.model_copy(update=complete)


def eval_env(config: Config) -> dict[str, Any]:
    """Keyword arguments of the evaluation environment: `env` with `eval_env` on top."""
    return env_kwargs(merge_env(config.env, config.eval_env))


def changed(path: Path, config: Config) -> list[str]:
    """Differences between a run's config.yaml and a config, as `key = old, now new`.

    Keys that may change without another result are left out, and those of defaults that the run
    did not know yet. Raises ValueError for a file that cannot be read.
    """
    if not path.is_file():
        return []
    try:
        old = _flat(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: cannot be read ({type(error).__name__})") from error
    new = _flat(yaml.safe_load(config.to_yaml()))
    free = (
        "resume",
        "run_dir",
        "optim.steps",
        "eval.",
        "tracking.",
        "checkpoint.",
        "rollout.archive",
        "scale.",
        "model.feature_cache_mb",
    )
    known = _flat(yaml.safe_load(parse({}, "defaults").to_yaml()))
    old = {**{key: value for key, value in known.items() if key not in old}, **old}
    return [
        f"{key} = {old.get(key)!r}, now {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) and not key.startswith(free)
    ]


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        inner = (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
        flat.update(inner)
    return flat


def _pairs(overrides: Sequence[str]) -> dict[str, str]:
    """`["--a.b", "1", "--c=2"]` -> `{"a.b": "1", "c": "2"}`."""
    pairs: dict[str, str] = {}
    words = iter(overrides)
    for word in words:
        if not word.startswith("--"):
            raise ConfigError(f"command line: got {word!r}, expected --section.key value")
        key, equals, value = word[2:].partition("=")
        pairs[key] = value if equals else next(words, "--")
        if not equals and pairs[key].startswith("--"):
            raise ConfigError(f"command line: --{key}: got no value, expected one after it")
    return pairs


def _trees(pairs: Mapping[str, str]) -> Iterator[DictConfig]:
    """`{"a.b": "1"}` -> a tree `{a: {b: 1}}` each; values are read as YAML."""
    for key, value in pairs.items():
        try:
            yield OmegaConf.from_dotlist([f"{key}={value}"])
        except yaml.YAMLError:
            raise ConfigError(f"command line: --{key}: got {value!r}, expected YAML") from None
