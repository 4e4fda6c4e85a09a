"""Images that are opened ahead of need, on threads."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest
from PIL import Image

from hrvision_env.images import Budget, ImageError, ImageStore
from hrvision_env.records import Box, ImageRef

from ..conftest import picture

BUDGET = Budget(28, 28 * 28, 40 * 28 * 28)
BOX = Box(100, 50, 300.5, 200, 1)


def wait_until(condition, seconds: float = 30) -> bool:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.005)
    return True


def nobody_prefetches() -> bool:
    return not any(t.name == "hrvision-prefetch" for t in threading.enumerate())


def test_prefetched_views_are_there(photos):
    store = ImageStore()
    assert nobody_prefetches()
    store.prefetch(photos, BUDGET)
    assert wait_until(lambda: len(store) >= 9)  # three PNG: original and view; three JPEG: view
    before = store.stats
    for ref in photos:
        store.view(ref, BUDGET)
    assert store.stats.full_decodes == before.full_decodes == 3
    assert store.stats.view_decodes == before.view_decodes == 3
    assert wait_until(nobody_prefetches)


def test_originals_are_opened_ahead_on_demand(photos):
    store = ImageStore()
    store.prefetch([photos[1]], BUDGET, originals=True)
    assert wait_until(lambda: len(store) == 2)
    store.crop(photos[1], BOX, BUDGET)
    assert (store.stats.full_decodes, store.stats.view_decodes) == (1, 1)


def test_a_view_joins_the_prefetch_that_is_making_it():
    begun, go_on, made = threading.Event(), threading.Event(), []

    def make() -> Image.Image:
        made.append(1)
        begun.set()
        go_on.wait(30)
        return picture(60, 40)

    ref = ImageRef(make=make, key="slow")
    store = ImageStore()
    store.prefetch([ref], BUDGET)
    begun.wait(30)
    threading.Timer(0.05, go_on.set).start()
    view, _ = store.view(ref, BUDGET)
    assert view.size == BUDGET.fit(60, 40) and made == [1]


def test_a_failed_prefetch_is_reported_by_who_asks(tmp_path):
    missing = ImageRef(path=tmp_path / "later.png")
    store = ImageStore()
    store.prefetch([missing], BUDGET)
    assert wait_until(nobody_prefetches)
    with pytest.raises(ImageError, match=r"sample 'q1'.*does not exist"):
        store.view(missing, BUDGET, "q1")
    picture(60, 40).save(tmp_path / "later.png")
    assert store.view(missing, BUDGET)[1].original == (60, 40)


def test_the_queue_of_the_prefetch_is_bounded(monkeypatch):
    go_on, made = threading.Event(), []

    def make(k: int) -> Image.Image:
        go_on.wait(30)
        made.append(k)
        return picture(60, 40)

    monkeypatch.setattr("hrvision_env.images.store.PREFETCHED", 10)
    store = ImageStore(threads=2)
    store.prefetch([ImageRef(make=partial(make, k), key=str(k)) for k in range(50)], BUDGET)
    go_on.set()
    assert wait_until(lambda: len(made) >= 10)
    time.sleep(0.05)
    assert 10 <= len(made) <= 12  # ten waited, two were on their way


def test_the_prefetch_drives_nothing_out(photos):
    """Six originals where two and a half fit: each is decoded once, by the prefetch or on demand.

    All is asked for ahead before anything is looked at, so that what is prefetched is the oldest.
    """
    for max_bytes in (5 * 806 * 600 * 4 // 2, 9 * 806 * 600 * 4 // 2):
        store = ImageStore(max_bytes, threads=1)
        store.prefetch(photos, BUDGET, originals=True)
        assert wait_until(nobody_prefetches)
        assert store.stats.evictions == 0 < len(store) and store.bytes <= max_bytes
        for ref in photos:
            for k in range(4):
                store.view(ref, BUDGET)
                store.crop(ref, Box(k, k, k + 200, k + 100), BUDGET)
        assert store.stats.full_decodes == 6


def test_a_view_and_an_original_stay_beside_each_other(photos):
    """A group looks at the view and at a crop in turn, of a JPEG larger than the cache."""
    store = ImageStore(max_bytes=800 * 600, use_vips=False)
    for k in range(8):
        store.view(photos[1], BUDGET)
        store.crop(photos[1], Box(k, k, k + 200, k + 100), BUDGET)
    stats = store.stats
    assert (stats.full_decodes, stats.view_decodes, stats.hits) == (1, 1, 14)


@pytest.mark.parametrize("forget", [ImageStore.clear, ImageStore.close])
def test_what_is_being_prefetched_is_forgotten_too(forget):
    begun, go_on = threading.Event(), threading.Event()

    def make() -> Image.Image:
        begun.set()
        go_on.wait(30)
        return picture(60, 40)

    store = ImageStore()
    store.prefetch([ImageRef(make=make, key="slow")], BUDGET)
    begun.wait(30)
    forget(store)
    go_on.set()
    assert wait_until(nobody_prefetches)
    assert (len(store), store.bytes) == (0, 0)


def test_the_prefetch_survives_a_system_without_threads(photos, monkeypatch):
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    store = ImageStore()
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", fail)
        for _ in range(3):
            store.prefetch([photos[1]], BUDGET)
    assert len(store) == 0
    store.prefetch([photos[1]], BUDGET)
    assert wait_until(lambda: len(store) == 1)


ONE = 400 * 300 * 4 + 40 * 28 * 28 * 4
"""Bytes of an original of 400 x 300 pixels and of its view."""


@pytest.fixture
def pngs(tmp_path) -> list[ImageRef]:
    for n in range(12):
        picture(400, 300, seed=n).save(tmp_path / f"{n}.png")
    return [ImageRef(path=tmp_path / f"{n}.png") for n in range(12)]


def test_batch_after_batch_is_opened_ahead_in_a_small_cache(pngs):
    """What nobody uses any more makes way; every image is decoded once."""
    store = ImageStore(max_bytes=7 * ONE, use_vips=False)
    for n in range(0, 12, 2):
        for ref in pngs[n : n + 2]:
            store.view(ref, BUDGET)
        before = store.stats.full_decodes
        store.prefetch(pngs[n + 2 : n + 4], BUDGET, originals=True)
        assert wait_until(nobody_prefetches)
        assert store.stats.full_decodes == before + len(pngs[n + 2 : n + 4])
        for ref in pngs[n : n + 2]:
            store.crop(ref, BOX, BUDGET)
    assert store.stats.full_decodes == 12 and store.stats.evictions > 4


def test_what_is_in_use_does_not_make_way(pngs):
    store = ImageStore(max_bytes=3 * ONE, use_vips=False)
    for ref in pngs[:2]:
        store.view(ref, BUDGET)
    store.prefetch(pngs[2:], BUDGET, originals=True)
    assert wait_until(nobody_prefetches)
    before = store.stats
    for ref in pngs[:2]:
        store.view(ref, BUDGET)
        store.crop(ref, BOX, BUDGET)
    after = store.stats
    assert after.full_decodes == before.full_decodes and after.hits >= before.hits + 4
