"""What every test gets."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Indices of data sets are kept in a folder that goes with the tests, also by subprocesses."""
    before = os.environ.get("HRVISION_CACHE")
    os.environ["HRVISION_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["HRVISION_CACHE"]
    else:
        os.environ["HRVISION_CACHE"] = before


@pytest.fixture(autouse=True)
def process_is_left_as_it_was() -> Iterator[None]:
    """Handlers of signals and the folder: a test that leaves others behind breaks a later one."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers], os.getcwd()
    yield
    assert ([signal.getsignal(number) for number in numbers], os.getcwd()) == before
