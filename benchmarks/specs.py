"""What to evaluate: agents and datasets by their command-line names.

Agents (`NAME=AGENT` gives the column its name)
    random, oracle            scripted agents, also centre and always_a; they play by the rules of
                              the first model among the agents
    configs/mgpo_tiny.yaml    the model, engine, environment and reply length of a training config
    configs/openai_vllm.yaml  the same with a server instead of a model: `engine.name: openai`
    runs/mgpo_tiny            a finished run: its trained model with its own config
    path/to/model             a model folder or a checkpoint (not of LoRA: it has adapters alone);
                              the config of the run around it
    NAME=runs/a,runs/b        several trainings of one agent: the same but for their weights

Datasets
    synthetic, synthetic:ood  a loader by name, and a split
    jsonl:path/to/folder      a path is the loader's option `root`
    synthetic:test,seed=3     further options of the loader
    my_pkg.my_data:load       a loader of another package, by its import path (with a dot); a split
                              or a path may follow: my_pkg.my_data:load:val
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from hrvision_env.datasets import SHUFFLE, Dataset
from hrvision_env.datasets import load as load_dataset
from hrvision_env.env import HighResVQAEnv
from hrvision_env.scripted import SCRIPTED

EnvOptions = dict[str, Any]
EngineOptions = dict[str, Any]
OWN = frozenset(inspect.signature(HighResVQAEnv.__init__).parameters) - {
    *("self", "dataset", "split", "dataset_options", "render_mode", "expose_target")
}
"""Arguments of the environment that an agent brings: the rules that it plays by."""

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
    training: int = 0
    """Which of the agent's trainings (seeds) this is, counted from 0."""
    variant_of: str = ""
    """The agent that this is an ablation of; empty: none, it is played as it is."""
    condition: tuple[str, ...] = ()
    """What the ablation changes, and to what: `("crop", "blank")`; of another agent empty."""

    def env_for(self, dataset: DatasetSpec) -> EnvOptions:
        """Arguments of the environment: the agent's own and above them the dataset's. A variant
        that shuffles the options does so in its own order, though."""
        shuffled = {SHUFFLE: self.env[SHUFFLE]} if SHUFFLE in self.env and self.condition else {}
        return {**self.env, **dataset.env, **shuffled}


def parse_dataset(text: str) -> DatasetSpec:
    """Read `NAME[:SPLIT or PATH][,option=value ...]`; a NAME with a dot is the first half of an
    import path, `my_pkg.my_data:load`. Raises ValueError naming the broken part."""
    head, *options = text.split(",")
    name, _, rest = head.partition(":")
    if "." in name and all(part.isidentifier() for part in name.split(".")):
        attribute, _, rest = rest.partition(":")
        name = f"{name}:{attribute}" if attribute else name
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


def parse_agents(
    texts: Sequence[str], overrides: Mapping[str, Any] | None = None
) -> list[AgentSpec]:
    """Read all `[NAME=]AGENT` and `NAME=AGENT,AGENT,...` of a command line, in their order.

    The trainings of an agent have its name and `training` 0, 1, 2 ...; scripted agents have the
    environment of the first model, so that floor and ceiling see the same pixels.

    Raises ValueError for a name that is given twice and for trainings that differ in more than
    their weights, and what `parse_agent` raises.
    """
    agents = [spec for text in texts for spec in _trainings(text, overrides)]
    names = [agent.name for agent in agents if agent.training == 0]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"agent {name!r}: given twice, expected different names: NAME={name}")
    rules = next((agent.env for agent in agents if not agent.scripted), None)
    if rules is None:
        return agents
    return [replace(agent, env=dict(rules)) if agent.scripted else agent for agent in agents]


def _trainings(text: str, overrides: Mapping[str, Any] | None) -> list[AgentSpec]:
    """One agent, once for each of its trainings."""
    label, equals, source = text.partition("=")
    whole = Path(text).exists() or (source and Path(source).exists())
    if "," not in text or whole:
        return [parse_agent(text, overrides)]
    if not equals:
        raise ValueError(f"agent {text!r}: got several without a name, expected NAME={text}")
    paths = source.split(",")
    specs = [parse_agent(f"{label}={path}", overrides) for path in paths]
    models = [_weights(spec) for spec in specs]
    for path, spec in zip(paths, specs, strict=True):
        if spec.scripted:
            raise ValueError(
                f"agent {label!r}: got {path!r} as one of its trainings, expected a trained model"
            )
        if models.count(_weights(spec)) > 1:
            raise ValueError(f"agent {label!r}: got {spec.model} twice, expected other weights")
        if (found := _difference(specs[0], spec)) is not None:
            where, one, two = found
            raise ValueError(
                f"agent {label!r}: its trainings differ in {where}: got {one!r} in {paths[0]} and "
                f"{two!r} in {path}, expected the same but for the weights"
            )
    return [replace(spec, training=number) for number, spec in enumerate(specs)]


def _weights(spec: AgentSpec) -> str:
    """Where the weights lie, however the path is spelled; the name of what is not here."""
    path = Path(spec.model)
    return str(path.resolve()) if path.exists() else spec.model


def _difference(first: AgentSpec, other: AgentSpec) -> tuple[str, Any, Any] | None:
    """What two trainings differ in beside their weights: where, and both values."""
    one, two = _flat(first), _flat(other)
    names = (name for name in {**one, **two} if one.get(name) != two.get(name))
    return next(((name, one.get(name), two.get(name)) for name in names), None)


def _flat(spec: AgentSpec) -> dict[str, Any]:
    """Every setting that is not the name of a model, as `env.prompt` or `max_tokens`."""
    settings = asdict(spec)
    parts = {name: settings.pop(name) for name in ("env", "options")}
    settings |= {f"{part}.{key}": v for part, own in parts.items() for key, v in own.items()}
    return {name: v for name, v in settings.items() if name not in ("model", "options.model")}


def parse_agent(text: str, overrides: Mapping[str, Any] | None = None) -> AgentSpec:
    """Read `[NAME=]AGENT`; `overrides` are environment arguments on top of the agent's own.

    Raises ValueError (ConfigError for a broken config) or FileNotFoundError.
    """
    label, equals, source = text.partition("=")
    if not equals or Path(text).exists():  # a path may hold the sign as well
        label, source = "", text
    if not source:
        raise ValueError(f"agent {text!r}: got a name without an agent, expected NAME=AGENT")
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
    return {key: value for key, value in env.items() if key in OWN}
