"""The vLLM engine does what every engine with tokens does."""

from __future__ import annotations

from typing import Any

import pytest

from ..agents.rollout.engines.interface import TokenEngineSuite
from .conftest import CONTEXT, Opener


class TestVllm(TokenEngineSuite):
    @pytest.fixture(scope="class")
    def engine_factory(self, open_vllm: Opener) -> Any:
        return open_vllm

    @pytest.fixture(scope="class")
    def context(self) -> int:
        return CONTEXT
