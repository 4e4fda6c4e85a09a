"""Train: `python -m agents.train configs/NAME.yaml --section.key value ...`.

`--help` lists every setting. Ctrl-C and SIGTERM save a checkpoint; `--resume auto` goes on.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence

# Before torch is loaded: threads that spin while they wait slow down whatever runs beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from hrvision_env.datasets import options_of
from hrvision_env.env import HighResVQAEnv
from hrvision_env.plugins import available, resolve

from .config import Config, load
from .config_env import env_defaults
from .config_text import argument_docs, field_table, format_table
from .failures import FAILURES, told
from .rollout.engines import engine_options
from .training.algorithm import algorithms, get_algorithm
from .training.optimizer import TrainingError
from .training.plan.command import is_asked, plan_command
from .training.ranks import SharedFailure
from .training.trainer import Trainer

USAGE = """\
usage: python -m agents.train CONFIG [--section.key value ...]
       python -m agents.train CONFIG --plan [GPU] [--json] [--section.key value ...]

CONFIG is a YAML file of sections and keys; those not named keep their defaults. Values are read
as YAML: 1e-4, true, null, [1, 2]. --plan prints what the run needs and how long a step takes, by
estimate, on a kind of GPU (h100-80, a100-80, ...), and starts nothing.
"""
SPREAD = ("env", "eval_env")
"""Shown key by key further down."""


def main(words: Sequence[str] | None = None) -> int:
    """Exit code: 0 done or interrupted with a checkpoint, 1 training failed, 2 bad input."""
    words = sys.argv[1:] if words is None else words
    # The deepspeed launcher adds what its environment says, too.
    words = [word for word in words if not word.startswith("--local_rank=")]
    if not words or {"-h", "--help"} & set(words):
        print(help_text())
        return 0 if words else 2
    if is_asked(words):
        return plan_command(words)
    try:
        trainer = Trainer(load(words[0], words[1:]))
    except FAILURES as error:
        return _failed(error, 2)
    try:
        trainer.fit()
    except FAILURES as error:
        return _failed(error, 1)
    return 0


def _failed(error: BaseException, code: int) -> int:
    """Say why, once: a TrainingError is raised by all processes, and the first says it.

    Returns `code`.
    """
    first = os.environ.get("RANK", "0") == "0"
    if isinstance(error, SharedFailure):
        first = error.main
    if first or not isinstance(error, TrainingError):
        print(f"error: {told(error)}", file=sys.stderr, flush=True)
    return code


def help_text() -> str:
    """Usage, and every setting with its default and meaning."""
    parts = [USAGE]
    parts += [format_table([row for row in field_table(Config) if row[0] not in SPREAD])]
    parts += ["\nThe environment. eval_env takes the same keys, for what differs in evaluation."]
    docs = argument_docs(HighResVQAEnv)
    parts += [format_table([(f"env.{k}", d, docs[k]) for k, d in env_defaults().items()])]
    parts += ["\nOptions of the datasets, e.g. --env.dataset jsonl --env.root photos:"]
    parts += [_dataset_help(name) for name in available("hrvision_env.datasets")]
    for name in available("agents.rollout.engines"):
        rows = list(field_table(engine_options(name), "engine."))
        parts += [f"\n--engine.name {name}:", format_table(rows)] if rows else []
    for name in algorithms():
        for preset, options in get_algorithm(name).presets.items():
            parts.append(f"\n--algorithm.name {name} --algorithm.preset {preset}:")
            meanings = {key: meaning for key, _, meaning in field_table(type(options))}
            rows = [(f"algorithm.{k}", repr(v), meanings[k]) for k, v in dict(options).items()]
            parts.append(format_table(rows))
    return "\n".join(parts)


def _dataset_help(name: str) -> str:
    loader = resolve("hrvision_env.datasets", name, "load")
    options, _ = options_of(name)
    meaning = " ".join((inspect.getdoc(loader) or "").split("\n\n")[0].split())
    return f"  {name}: {', '.join(f'--env.{option}' for option in options)}\n    {meaning}"


if __name__ == "__main__":
    from transformers.utils import logging

    logging.disable_progress_bar()
    code = main()
    if code and int(os.environ.get("WORLD_SIZE", "1")) > 1:  # the others may wait for this one
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
