"""The cache: what is dropped when, and what happens when many ask at once."""

from __future__ import annotations

import threading
import time

import pytest

from hrvision_env.images.cache import Cache, Costs, NoRoom


def put(cache: Cache, kind: str, name: str, memory: int = 0, disk: int = 0) -> str:
    return cache.once((kind, name), lambda: (name, Costs(memory, disk)))


def held(cache: Cache) -> list[str]:
    return [key[1] for key in cache._entries]


def test_the_oldest_goes_first():
    cache = Cache(100)
    for name in "abc":
        put(cache, "view", name, 40)
    assert held(cache) == ["b", "c"] and cache.used == (80, 0)
    put(cache, "view", "b", 40)
    put(cache, "view", "d", 40)
    assert held(cache) == ["b", "d"]
    assert (cache.hits, cache.evictions) == (1, 2)


def test_the_newest_of_each_kind_stays():
    cache = Cache(100)
    put(cache, "original", "large", 500)
    put(cache, "view", "small", 10)
    assert held(cache) == ["large", "small"]
    put(cache, "view", "other", 10)  # too much is held, but only an old view is dropped for it
    assert held(cache) == ["large", "other"]
    put(cache, "original", "next", 50)
    assert held(cache) == ["other", "next"]


def test_memory_and_disk_are_counted_apart():
    cache = Cache(100, max_disk=100)
    put(cache, "original", "a", memory=60)
    put(cache, "original", "b", disk=60)
    put(cache, "original", "c", disk=60)  # drops b, not the older a
    assert held(cache) == ["a", "c"] and cache.used == (60, 60)


def test_room_is_made_before_it_is_needed():
    cache = Cache(100, max_disk=100)
    put(cache, "original", "a", memory=60)
    put(cache, "original", "b", disk=60)
    with cache.room("original", memory=50):
        assert held(cache) == ["b"]
    with cache.room("original", memory=0, disk=50):
        assert held(cache) == []
    with cache.room("original", memory=1000):  # larger than everything: alone
        pass
    assert cache._reserved == (0, 0)


def test_room_for_one_kind_spares_the_newest_of_the_others():
    cache = Cache(100)
    put(cache, "view", "old", 10)
    put(cache, "view", "new", 10)
    put(cache, "original", "a", 70)
    with cache.room("view", memory=95):
        assert held(cache) == ["a"]
    put(cache, "view", "b", 10)
    with cache.room("original", memory=95):
        assert held(cache) == ["b"]


def test_room_ahead_of_need_evicts_nothing():
    cache = Cache(100, max_disk=100)
    put(cache, "original", "a", memory=60)
    for memory, disk in ((41, 0), (0, 101)):
        with pytest.raises(NoRoom), cache.room("original", memory, disk, ahead=True):
            pass
    with cache.room("original", 30, ahead=True):
        with pytest.raises(NoRoom), cache.room("original", 11, ahead=True):
            pass
        with cache.room("original", 10, ahead=True):
            pass
    assert held(cache) == ["a"] and cache._reserved == (0, 0)


def test_who_waits_for_one_that_found_no_room_ahead_takes_over():
    cache, got = Cache(100), []
    begun, go_on = threading.Event(), threading.Event()

    def ahead() -> tuple[object, Costs]:
        begun.set()
        go_on.wait(10)
        with cache.room("view", 1000, ahead=True):
            raise AssertionError("there is no room")

    def first() -> None:
        with pytest.raises(NoRoom):
            cache.once(("view", "x"), ahead)

    threads = [
        threading.Thread(target=first),
        threading.Thread(target=lambda: got.append(put(cache, "view", "x", 1000))),
    ]
    threads[0].start()
    begun.wait(10)
    threads[1].start()
    time.sleep(0.05)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert got == ["x"] and held(cache) == ["x"]


def test_what_was_being_made_when_the_cache_was_cleared_is_not_kept():
    cache, got = Cache(100), []
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> tuple[object, Costs]:
        begun.set()
        go_on.wait(10)
        return "old", Costs(60)

    thread = threading.Thread(target=lambda: got.append(cache.once(("view", "x"), slow)))
    thread.start()
    begun.wait(10)
    cache.clear()
    assert cache.once(("view", "x"), lambda: ("new", Costs(30))) == "new"  # does not wait for it
    go_on.set()
    thread.join(10)
    assert got == ["old"] and cache.used == (30, 0)
    assert cache.once(("view", "x"), lambda: ("newer", Costs(30))) == "new"


def test_room_waits_for_those_who_have_it():
    cache = Cache(100)
    order = []
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with cache.room("view", 70):
            entered.set()
            leave.wait(10)
            order.append("first leaves")

    def second() -> None:
        with cache.room("view", 70):
            order.append("second enters")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    entered.wait(10)
    with cache.room("view", 30):  # there is room for that beside it
        order.append("small enters")
    threads[1].start()
    time.sleep(0.05)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert order == ["small enters", "first leaves", "second enters"]


def test_what_many_threads_ask_for_is_made_once():
    cache, made, got = Cache(1000), [], []
    together = threading.Barrier(8)

    def make() -> tuple[object, Costs]:
        time.sleep(0.02)
        made.append(object())
        return made[-1], Costs(1)

    def ask() -> None:
        together.wait()
        got.append(cache.once(("x",), make))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(made) == 1 and got == made * 8


def test_an_error_reaches_all_who_wait_and_is_not_kept():
    cache, errors = Cache(1000), []
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> tuple[object, Costs]:
        begun.set()
        go_on.wait(10)
        raise ValueError("broken")

    def ask() -> None:
        try:
            cache.once(("x",), fail)
        except ValueError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    threads[0].start()
    begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.05)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert errors == ["broken"] * 3 and len(cache) == 0
    assert cache.once(("x",), lambda: (1, Costs())) == 1


def test_who_waits_for_one_that_was_interrupted_takes_over():
    cache, got = Cache(1000), []
    begun, go_on = threading.Event(), threading.Event()

    def interrupted() -> tuple[object, Costs]:
        begun.set()
        go_on.wait(10)
        raise KeyboardInterrupt

    def first() -> None:
        with pytest.raises(KeyboardInterrupt):
            cache.once(("x",), interrupted)

    def second() -> None:
        got.append(cache.once(("x",), lambda: ("made", Costs())))

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    begun.wait(10)
    threads[1].start()
    time.sleep(0.05)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert got == ["made"]
