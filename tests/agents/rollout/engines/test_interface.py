"""The common suite of the engines with tokens, run by the transformers engine."""

from collections.abc import Callable

import pytest

from agents.rollout.engines import Engine, ModelSource, _transformers_past
from agents.rollout.engines.transformers import Options, open_engine
from agents.vlm import VLM

from .interface import TokenEngineSuite


class TestTransformers(TokenEngineSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def engine_factory(cls) -> Callable[..., Engine]:
        return lambda folder, **options: open_engine(ModelSource(folder), Options(**options))

    @pytest.fixture(scope="class")
    @classmethod
    def context(cls, reference: VLM) -> int:
        return int(reference.model.config.text_config.max_position_embeddings)


class TestTransformersSharingPrefixes(TestTransformers):
    """Again, with one copy of every prefix, as if all of them were long."""

    @pytest.fixture(scope="class")
    @classmethod
    def model_folder(cls, qwen3_folder: str) -> str:
        return qwen3_folder

    @pytest.fixture(autouse=True)
    def all_prefixes_are_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_transformers_past, "SHARED_FROM", 1)
