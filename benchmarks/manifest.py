"""`manifest.json`: everything that a benchmark's numbers depend on.

versions            of Python and the packages
machine             system, cores, model of the CPU; `gpus`, their names, where a model may use one
git                 {"commit", "dirty"} of the checkout that played; null outside of one
command             as it was typed
seed, limit, samples, pictures, workers
datasets            {label: the loader's arguments, questions, hash of the data, skipped, notes}
agents              {name: what played by which rules}: model or scripted agent, the models of
                    all its trainings and the hashes of their files (`fingerprints`), environment
                    with its defaults (pixel budget, prompt, dialogue, form of boxes, grader, crop),
                    engine, number type, `device` (cpu, cuda; null: a server's), sampling; of an
                    ablation also `variant_of` and `condition`
ablations           as they were asked for
sufficiency         who answers from the crops alone; null: nobody
published           {file: hash} of the numbers of --published, where there are any
earlier             what was different when an interrupted run began, see `resume`
"""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrvision_env.curation.facts import facts
from hrvision_env.curation.wrapping import Subset
from hrvision_env.datasets import Dataset
from hrvision_env.env import HighResVQAEnv

from .specs import AgentSpec, DatasetSpec

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("gymnasium", "numpy", "pillow", "torch", "transformers", "scipy")
NOT_PROTOCOL = ("self", "dataset", "split", "dataset_options", "render_mode", "expose_target")
GIT_SECONDS = 10
CODE = (
    *(
        f"{package}/*.{kind}"
        for package in ("hrvision_env", "agents", "benchmarks", "configs")
        for kind in ("py", "yaml", "json")
    ),
    ":!benchmarks/results",
)
"""What decides numbers, as git's patterns (`*` goes into folders too); results do not."""


def make_manifest(
    agents: Sequence[AgentSpec],
    datasets: Sequence[DatasetSpec],
    limit: int | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """The manifest of a run; `settings` are what else it was told, such as its seed.

    Raises ValueError or OSError for a dataset that cannot be loaded.
    """
    return {
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "machine": machine(with_gpus=any(not agent.scripted for agent in agents)),
        "git": git_state(ROOT),
        "limit": limit,
        **settings,
        "datasets": {spec.name: {**spec.env, **facts(asked(spec, limit))} for spec in datasets},
        "agents": {
            name: protocol_of(*(agent for agent in agents if agent.name == name))
            for name in dict.fromkeys(agent.name for agent in agents)
        },
    }


def asked(spec: DatasetSpec, limit: int | None) -> Dataset:
    """The questions that are played: the data hash is of these."""
    dataset = spec.load()
    if limit is None or limit >= len(dataset):
        return dataset
    return Subset(dataset, range(limit), (f"the first {limit} of {len(dataset)} questions",))


def protocol_of(*trainings: AgentSpec) -> dict[str, Any]:
    """What an agent is and the rules that it plays by: its environment, defaults included.

    Of an agent that was trained several times, all of them; they differ by the model alone.
    """
    agent = trainings[0]
    rules = inspect.signature(HighResVQAEnv.__init__).bind(None, **agent.env)
    rules.apply_defaults()
    env = {**rules.arguments, **rules.arguments.get("dataset_options", {})}
    kept = {key: value for key, value in env.items() if key not in NOT_PROTOCOL}
    who = {"variant_of": agent.variant_of, "condition": list(agent.condition), "env": kept}
    if agent.scripted:
        return {"agent": agent.scripted, **who}
    from agents.devices import device_of, dtype_of
    from agents.fingerprint import fingerprint
    from agents.rollout.engines import can_train

    drawn = {name: getattr(agent, name) for name in ("temperature", "top_p", "top_k", "min_p")}
    sampling = {f"sampled_{name}": value for name, value in drawn.items()}
    sampling["max_tokens"] = agent.max_tokens
    engine = {"name": agent.engine, **agent.options}
    # A server's arithmetic is its own; here "auto" must not mean another thing on another machine.
    here = can_train(agent.engine)
    dtype = dtype_of(agent.dtype, agent.device) if here else agent.dtype
    device = device_of(agent.device) if here else None
    models = [training.model for training in trainings]
    # A path may hold another model tomorrow; a name on the hub or a server is all there is to know.
    hashes = [fingerprint(model) if Path(model).is_dir() else None for model in models]
    named = {"agent": agent.model, "trainings": models, "fingerprints": hashes}
    return {**named, **who, **sampling, "dtype": dtype, "device": device, "engine": engine}


def machine(with_gpus: bool = False) -> dict[str, Any]:
    """What seconds depend on. `with_gpus` loads torch.

    >>> machine()
    {'system': 'Linux-6.1-x86_64-with-glibc2.36', 'cores': 2, 'cpu': 'AMD EPYC 7B13'}
    """
    found = {"system": platform.platform(), "cores": os.cpu_count(), "cpu": _cpu()}
    return {**found, "gpus": _gpus()} if with_gpus else found


def _cpu() -> str:
    """The processor's name, as far as the system tells it."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text("utf-8", "replace").splitlines() if known.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit of a checkout and whether what is run differs from it: tracked files, and new ones
    of `CODE`, which a loader's or a grader's name may find. None outside of one.

    >>> git_state(ROOT)
    {'commit': '0ef2146c…', 'dirty': False}
    """
    if not (folder / ".git").exists():  # a folder inside of somebody else's checkout
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
        new = _git(folder, "ls-files", "--others", "--exclude-standard", "--", *CODE)
    except (OSError, subprocess.SubprocessError):  # no git here, or nothing committed yet
        return None
    return {"commit": commit, "dirty": bool(changed or new)}


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=GIT_SECONDS,
    )
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
