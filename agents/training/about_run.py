"""What made a run: `config.yaml` with every value, `versions.json` with everything else."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import Config
from .metrics_file import replace_text

VERSIONS = "versions.json"
PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "deepspeed",
    "numpy",
    "pillow",
    "gymnasium",
    "vllm",
    "wandb",
    "tensorboard",
)


def describe_run(
    run_dir: Path,
    config: Config,
    data: Mapping[str, Mapping[str, Any]],
    env: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write config.yaml and versions.json: what is needed to make the run again.

    `data`: what is to be said of the questions, `curation.facts`: "dataset" those of training,
    "evaluation" the others. `env`: the environment of the rollouts, where it is not the config's.
    `more` is noted besides. Returns warnings of what differs from the versions.json that was there,
    which is kept then, as versions.1.json and so on.
    """
    env = config.env if env is None else env
    run_dir.mkdir(parents=True, exist_ok=True)
    replace_text(run_dir / "config.yaml", config.to_yaml())
    text = json.dumps(env, sort_keys=True, default=str)
    record = {
        **versions(),
        "seed": config.seed,
        "dataset": {
            "name": env.get("dataset"),
            "split": env.get("split"),
            **data["dataset"],
            "env_hash": hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
        },
        "evaluation": dict(data.get("evaluation", {})),
        **(more or {}),
    }
    path = run_dir / VERSIONS
    before = _read(path)
    differences = [
        f"warning: the run began with {name} {before[name]}, now {value}"
        for name, value in _compared(record).items()
        if name in before and before[name] != value
    ]
    if differences:
        number = 1 + len(list(run_dir.glob("versions.*.json")))
        os.replace(path, run_dir / f"versions.{number}.json")
    replace_text(path, json.dumps(record, indent=2) + "\n")
    return differences


def _read(path: Path) -> dict[str, Any]:
    """What is compared in an older versions.json; nothing where there is none that can be read."""
    try:
        return _compared(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _compared(record: Mapping[str, Any]) -> dict[str, Any]:
    """What makes another run of the same config, by name."""
    found = {name: record[name] for name in ("python", "git_commit", "dtype") if name in record}
    found |= record.get("packages", {})
    for name in ("dataset", "evaluation"):
        found[f"{name}.hash"] = record.get(name, {}).get("hash")
    found["weights in model.path"] = record.get("model")
    return {name: value for name, value in found.items() if value is not None}


def versions() -> dict[str, Any]:
    """What this program runs on: machine, packages, the checkout's commit."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The checkout's commit, with "+changes" when files differ from it; None outside of git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
