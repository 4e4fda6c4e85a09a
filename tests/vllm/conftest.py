"""vLLM engines on random models of every family, each opened once for all tests that need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.families.random_model import write_random_model
from agents.rollout.engines import ModelSource
from agents.vlm import VLM

CONTEXT = 512
FACTOR = 16
"""Pixels along a side of an image token of the models here."""

MODELS: dict[str, dict[str, Any]] = {
    "qwen2_vl": {"tied": True, "special_first": True},
    "qwen25_vl": {"tied": False, "special_first": True},
    "qwen3_vl": {"tied": True},
    "qwen2_vl untied": {"tied": False},
    "qwen25_vl tied": {"tied": True},
    "qwen3_vl untied": {"tied": False, "special_first": True},
}
"""Tied and untied embeddings of every family; special tokens at either end of the vocabulary."""

OPTIONS: dict[str, Any] = {
    "max_model_len": CONTEXT,
    "max_images": 4,
    "max_num_seqs": 64,
    "block_size": 32,  # the smallest that vLLM has on a CPU
    "kv_cache_gb": 0.25,
    "args": {"disable_log_stats": False},
}

Opener = Callable[..., Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs vLLM; tests that need a GPU have a target of their own."""
    for item in items:
        if item.path.parent.name == "vllm" and item.get_closest_marker("gpu") is None:
            item.add_marker(pytest.mark.vllm)


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """folder_of(name) -> model folder of one of MODELS."""
    written: dict[str, str] = {}

    def folder(name: str) -> str:
        if name not in written:
            path = tmp_path_factory.mktemp(name.replace(" ", "_"))
            written[name] = write_random_model(path, name.split()[0], **MODELS[name])
        return written[name]

    return folder


@pytest.fixture(scope="session")
def open_vllm() -> Iterator[Opener]:
    """open_vllm(folder, **options) -> VllmEngine; the same one for the same arguments."""
    from agents.rollout.engines.vllm import Options, open_engine

    opened: dict[str, Any] = {}

    def opener(folder: str, **options: Any) -> Any:
        key = f"{folder} {sorted(options.items())}"
        if key not in opened:
            given = Options(**{**OPTIONS, **options})
            opened[key] = open_engine(ModelSource(path=folder), given)
        return opened[key]

    yield opener
    for engine in opened.values():
        engine.close()


@pytest.fixture(scope="session", params=["qwen2_vl", "qwen25_vl", "qwen3_vl"])
def model_folder(request: pytest.FixtureRequest, folder_of: Callable[[str], str]) -> str:
    """Every family in turn."""
    return folder_of(request.param)


@pytest.fixture
def engine(open_vllm: Opener, model_folder: str) -> Iterator[Any]:
    """The family's engine; the weights of its folder are put back where a test loaded others."""
    shared = open_vllm(model_folder)
    version = shared.policy_version
    yield shared
    shared.cancel()
    if shared.policy_version != version:
        shared.load_weights(model_folder, version)


@pytest.fixture(scope="session")
def policy(model_folder: str) -> VLM:
    """The same weights in transformers; not to be changed."""
    return VLM.load(model_folder)
