"""Imports only point down: hrvision_env <- agents.rollout <- agents.training <- train, benchmarks.

The graph is read from the source, so an import inside a function counts as well.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("hrvision_env", "agents", "benchmarks")

# The longest matching prefix decides. A module imports its own layer and those below it.
LAYERS = {
    "hrvision_env": 0,
    "agents.rollout": 1,
    "agents.families": 1,
    "agents.adapters": 1,
    "agents.vlm": 1,
    "agents.prefix": 1,
    "agents.activations": 1,
    "agents.features": 1,
    "agents.head": 1,
    "agents.positions": 1,
    "agents.bounded": 1,
    "agents.devices": 1,
    "agents.weight_watch": 1,
    "agents": 2,  # algorithms, training, config
    "agents.tiny": 3,
    "agents.train": 3,
    "benchmarks": 3,
}
TORCH_BELOW_TRAINING = (
    "agents.rollout.engines",
    "agents.families",
    "agents.adapters",
    "agents.vlm",
    "agents.prefix",
    "agents.activations",
    "agents.features",
    "agents.head",
    "agents.positions",
    "agents.devices",
    "agents.weight_watch",
)
ENVIRONMENT_IMPORTS = {"numpy", "gymnasium", "PIL"}
# Packages that are not always installed, and the only module that may import them.
HEAVY = {
    "wandb": "agents.training.tracking_wandb",
    "tensorboard": "agents.training.tracking_tensorboard",
    "torch.utils.tensorboard": "agents.training.tracking_tensorboard",
    "deepspeed": "agents.training.zero",
}
"""Packages of training, each imported by the one module that is named after it."""
OPTIONAL = {
    "pyvips": "hrvision_env.images._vips_worker",  # runs in a process of its own
    "pygame": "hrvision_env.rendering.window",
    "pyarrow": "hrvision_env.reading.parquet",
    "datasets": "hrvision_env.reading.hub",
    "scipy": "hrvision_env.grading._points",
    "openai": "hrvision_env.grading.judge",
}


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def imports_of(path: Path, module: str) -> Iterator[str]:
    """Absolute names that a file imports; `from a import b` gives `a.b`."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def import_graph(root: Path) -> dict[str, set[str]]:
    """Module -> names it imports; a name inside the packages is cut to an existing module."""
    files = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path

    def module_of(name: str) -> str:
        while name not in files and "." in name and name.split(".")[0] in PACKAGES:
            name = name.rpartition(".")[0]
        return name

    return {
        module: {module_of(n) for n in imports_of(path, module)} for module, path in files.items()
    }


def layer(module: str) -> int:
    prefixes = [p for p in LAYERS if is_in(module, p)]
    return LAYERS[max(prefixes, key=len)] if prefixes else -1


def upward(graph: dict[str, set[str]]) -> list[str]:
    return sorted(
        f"{module} -> {name}"
        for module, names in graph.items()
        for name in names
        if layer(name) > layer(module)
    )


def foreign_to_environment(graph: dict[str, set[str]]) -> list[str]:
    allowed = ENVIRONMENT_IMPORTS | {"hrvision_env"} | set(sys.stdlib_module_names)
    return sorted(
        f"{module} -> {name}"
        for module, names in graph.items()
        for name in names
        if is_in(module, "hrvision_env")
        and name.split(".")[0] not in allowed
        and OPTIONAL.get(name.split(".")[0]) != module
    )


def torch_in_rollout(graph: dict[str, set[str]]) -> list[str]:
    return sorted(
        f"{module} -> {name}"
        for module, names in graph.items()
        for name in names
        if layer(module) == 1
        and is_in(name, "torch")
        and not any(is_in(module, place) for place in TORCH_BELOW_TRAINING)
    )


def heavy_elsewhere(graph: dict[str, set[str]]) -> list[str]:
    return sorted(
        f"{module} -> {name}"
        for module, names in graph.items()
        for name in names
        for package, home in HEAVY.items()
        if is_in(name, package) and not is_in(module, home)
    )


TRAINS = "benchmarks.speed.training_ours"
"""Measures the trainer, in a process of its own: the only benchmark that may import it."""


def benchmarks_to_training(graph: dict[str, set[str]]) -> list[str]:
    banned = ("agents.training", "agents.train")
    return sorted(
        f"{module} -> {name}"
        for module, names in graph.items()
        for name in names
        if is_in(module, "benchmarks") and module != TRAINS and any(is_in(name, b) for b in banned)
    )


def reachable(graph: dict[str, set[str]], package: str) -> set[str]:
    seen, todo = set(), [m for m in graph if is_in(m, package)]
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo.extend(name for name in graph.get(module, ()) if name in graph)
    return seen


RULES = [
    upward,
    foreign_to_environment,
    torch_in_rollout,
    heavy_elsewhere,
    benchmarks_to_training,
]


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return import_graph(ROOT)


@pytest.mark.parametrize("rule", RULES)
def test_the_source_keeps_the_rule(graph, rule):
    assert rule(graph) == []


def test_the_graph_is_the_real_one(graph):
    """An empty graph would keep every rule."""
    assert "hrvision_env.records" in graph["agents.rollout.trajectory"]
    assert "agents.rollout.engines" in graph["agents.rollout.chat"]


def test_no_benchmark_reaches_the_trainer_through_another_module(graph):
    assert "agents.training.trainer" in graph
    others = {module: names for module, names in graph.items() if module != TRAINS}
    assert "agents.training.trainer" not in reachable(others, "benchmarks")


@pytest.mark.parametrize(
    ("module", "line", "rule", "name"),
    [
        ("hrvision_env.a", "from agents.rollout import chat", upward, "agents.rollout.chat"),
        ("agents.rollout.a", "from ..training import tree", upward, "agents.training.tree"),
        ("agents.training.a", "from .. import train", upward, "agents.train"),
        ("hrvision_env.a", "def f():\n    import torch", foreign_to_environment, "torch"),
        ("hrvision_env.a", "import PIL.Image, scipy", foreign_to_environment, "scipy"),
        ("agents.rollout.a", "from torch import nn", torch_in_rollout, "torch.nn"),
        (
            "benchmarks.a",
            "from agents.training.tree import x",
            benchmarks_to_training,
            "agents.training.tree",
        ),
        ("benchmarks.a", "import agents.train", benchmarks_to_training, "agents.train"),
        ("agents.training.a", "def f():\n    import wandb", heavy_elsewhere, "wandb"),
        ("agents.training.a", "import deepspeed.zero", heavy_elsewhere, "deepspeed.zero"),
    ],
)
def test_a_violation_is_found(tmp_path, module, line, rule, name):
    modules = (module, "agents.train", "agents.training.tree", "agents.rollout.chat")
    files = [tmp_path / (m.replace(".", "/") + ".py") for m in modules]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    files[0].write_text(line)
    assert rule(import_graph(tmp_path)) == [f"{module} -> {name}"]


@pytest.mark.parametrize("module", ["hrvision_env", "agents.rollout.loop"])
def test_torch_stays_unloaded(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
