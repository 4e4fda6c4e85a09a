"""Texts on disk, when the disk is there and when it is not."""

from __future__ import annotations

import sqlite3
import threading
import warnings

import pytest

from hrvision_env import text_cache
from hrvision_env.text_cache import TextCache


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "texts.sqlite3"


class Locked:
    """Another process that writes to the file."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.table = sqlite3.connect(self.path, isolation_level=None)
        self.table.execute("BEGIN IMMEDIATE")

    def __exit__(self, *error):
        self.table.close()


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(text_cache, "PATIENCE", 0.05)
    monkeypatch.setattr(text_cache, "HASTE", 0.01)


def test_texts_are_there_for_the_next_one(path):
    first = TextCache(path)
    assert first.get("a") is None
    first.put("a", "one")
    first.put("a", "two ü\0")
    assert (first.get("a"), TextCache(path).get("a"), first.get("b")) == (
        "two ü\0",
        "two ü\0",
        None,
    )


def test_what_is_on_disk_is_found_when_nothing_can_be_written(path):
    cache = TextCache(path)
    cache.put("a", "kept")
    with Locked(path):
        with pytest.warns(UserWarning, match=r"texts.sqlite3: database is locked; .* in memory"):
            cache.put("b", "new")
        with warnings.catch_warnings(action="error"):  # it is said once
            cache.put("c", "newer")
            assert [cache.get(key) for key in "abc"] == ["kept", "new", "newer"]
        assert TextCache(path).get("b") is None
    cache.put("d", "last")  # takes along what could not be written
    assert [TextCache(path).get(key) for key in "abcd"] == ["kept", "new", "newer", "last"]


def test_a_file_that_is_none_is_said_once_and_memory_serves(path):
    path.parent.mkdir()
    path.write_bytes(b"no database, " * 999)
    cache = TextCache(path)
    with pytest.warns(UserWarning, match="not a database"):
        assert cache.get("a") is None
    with warnings.catch_warnings(action="error"):
        cache.put("a", "b")
        assert cache.get("a") == "b"


@pytest.mark.parametrize("value", [None, 7, b"A"])
def test_what_is_no_text_is_not_there(path, value):
    cache = TextCache(path)
    cache.put("a", "b")
    with sqlite3.connect(path) as table:
        table.execute("UPDATE texts SET text = ?", (value,))
    table.close()
    assert cache.get("a") in (None, "7")


def test_threads_that_fail_together_lose_nothing(path):
    cache = TextCache(path)
    cache.put("a", "kept")
    with Locked(path), warnings.catch_warnings(action="ignore"):
        threads = [threading.Thread(target=cache.put, args=(f"k{n}", str(n))) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [cache.get(f"k{n}") for n in range(8)] == [str(n) for n in range(8)]
    cache.put("z", "z")
    assert [TextCache(path).get(f"k{n}") for n in range(8)] == [str(n) for n in range(8)]
