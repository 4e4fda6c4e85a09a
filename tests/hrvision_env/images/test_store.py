"""The store as environments use it: shared by groups, threads and forked processes."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hrvision_env.images import FILTER, Budget, Frame, ImageError, ImageStore, crop
from hrvision_env.records import Box, ImageRef

from ..conftest import picture
from .children import in_child

BUDGET = Budget(28, 28 * 28, 40 * 28 * 28)
BOX = Box(100, 50, 300.5, 200, 1)


# -- views and crops


def test_views_and_crops_come_with_their_frames():
    image = picture(800, 600)
    ref = ImageRef(image=image, key="x")
    store = ImageStore()
    view, frame = store.view(ref, BUDGET, image_index=1)
    assert view == image.resize(BUDGET.fit(800, 600), FILTER)
    assert frame == Frame((800, 600), view.size, None, 1)
    out, inner = store.crop(ref, BOX, BUDGET)
    assert out == crop(image, BOX, BUDGET.factor, BUDGET.min_pixels, BUDGET.max_pixels)
    assert inner == Frame((800, 600), out.size, (100, 50, 300.5, 200), 1)
    assert store.stats.full_decodes == 1


def test_a_crop_is_cut_to_the_image():
    ref = ImageRef(image=picture(800, 600), key="x")
    out, frame = ImageStore().crop(ref, Box(-50, 500, 100, 700), BUDGET)
    assert frame.region == (0, 500, 100, 600) and out.size == BUDGET.fit(100, 100)
    with pytest.raises(ImageError, match=r"sample 'q': image 'x': crop: Box.*outside the image"):
        ImageStore().crop(ref, Box(800, 0, 900, 100), BUDGET, "q")


def test_a_group_decodes_once(photos):
    """Eight siblings, each with its own look at the view and its own crop."""
    for ref, views in ((photos[0], 0), (photos[1], 1)):  # PNG, JPEG
        store = ImageStore()
        first = [store.view(ref, BUDGET)[0] for _ in range(8)]
        assert all(view is first[0] for view in first)
        for k in range(8):
            store.crop(ref, Box(10 * k, 10 * k, 10 * k + 200, 10 * k + 100), BUDGET)
        assert (store.stats.full_decodes, store.stats.view_decodes) == (1, views)


def test_another_budget_is_another_view(photos):
    store = ImageStore()
    small = store.view(photos[0], Budget(28, 784, 4 * 784))[0]
    large = store.view(photos[0], BUDGET)[0]
    assert small.size != large.size and store.stats.full_decodes == 1


def test_views_count_against_the_bytes(photos):
    store = ImageStore()
    view, _ = store.view(photos[1], BUDGET)
    assert (len(store), store.bytes) == (1, view.width * view.height * 4)
    whole = store.open(photos[1])
    assert store.bytes == (view.width * view.height + whole.width * whole.height) * 4
    store.clear()
    assert (len(store), store.bytes) == (0, 0)


def test_memory_does_not_grow_with_the_number_of_images(photos):
    one = 806 * 600 * 4
    store = ImageStore(max_bytes=2 * one)
    for k in range(30):
        store.view(photos[k % 6], BUDGET)
        store.crop(photos[k % 6], BOX, BUDGET)
        assert store.bytes <= 2 * one
    assert store.stats.evictions > 20


def test_the_image_is_looked_for_again_after_clear(tmp_path: Path):
    picture(80, 60).save(tmp_path / "a.png")
    ref, store = ImageRef(path=tmp_path / "a.png"), ImageStore()
    store.view(ref, BUDGET)
    store.clear()
    (tmp_path / "a.png").unlink()
    with pytest.raises(ImageError, match="the file does not exist"):
        store.crop(ref, Box(0, 0, 50, 50), BUDGET)


def test_a_closed_store_can_be_used_again(photos):
    store = ImageStore()
    store.view(photos[0], BUDGET)
    store.close()
    store.close()
    assert len(store) == 0
    assert store.view(photos[0], BUDGET)[0].size == BUDGET.fit(800, 600)


# -- threads


def race(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call all at the same time, each on a thread; what each call gave or raised."""
    results: list[Any] = [None] * len(tasks)
    together = threading.Barrier(len(tasks))

    def run(k: int) -> None:
        together.wait()
        try:
            results[k] = tasks[k]()
        except ImageError as error:
            results[k] = error

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_eight_threads_with_one_image(photos):
    for ref in photos[:2]:
        store = ImageStore()
        views = race([partial(store.view, ref, BUDGET)] * 8)
        assert all(view[0] is views[0][0] for view in views)
        crops = race([partial(store.crop, ref, BOX, BUDGET)] * 8)
        assert all(out == crops[0] for out in crops)
        assert store.stats.full_decodes == 1


@pytest.mark.parametrize("max_bytes", [1 << 30, 3 * 800 * 600 * 4, 1])
def test_eight_threads_with_many_images(photos, max_bytes):
    """Whatever is evicted while others work, everybody gets the right pixels."""
    store, plain = ImageStore(max_bytes), ImageStore()
    expected = [plain.crop(ref, BOX, BUDGET) for ref in photos]

    def work(k: int) -> list[bool]:
        right = []
        for i in range(12):
            n = (k + i) % 6
            store.view(photos[n], BUDGET)
            right.append(store.crop(photos[n], BOX, BUDGET) == expected[n])
        return right

    assert race([partial(work, k) for k in range(8)]) == [[True] * 12] * 8


def test_all_threads_are_told_of_a_broken_image(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    ref = ImageRef(path=tmp_path / "bad.png")
    store = ImageStore()
    errors = race([partial(store.view, ref, BUDGET, f"q{k}") for k in range(8)])
    assert all(isinstance(error, ImageError) for error in errors)
    assert [f"sample 'q{k}'" in str(error) for k, error in enumerate(errors)] == [True] * 8


# -- fork, copies, pickles


def test_a_forked_child_goes_on(photos):
    store = ImageStore()
    expected = [store.crop(ref, BOX, BUDGET) for ref in photos[:3]]
    store.prefetch(photos, BUDGET)

    def check() -> None:
        decoded = store.stats.full_decodes
        for ref, out in zip(photos[:3], expected, strict=True):
            assert store.crop(ref, BOX, BUDGET) == out
        assert store.stats.full_decodes == decoded  # they were inherited
        store.view(photos[4], BUDGET)
        store.prefetch([photos[5]], Budget(28, 784, 4 * 784))
        store.close()

    assert in_child(check) == ""
    assert store.crop(photos[0], BOX, BUDGET) == expected[0]


def test_a_fork_in_the_middle_of_other_threads_work(photos):
    """Locks that are held and images that are being made at the fork must not stop the child."""
    store, stop, limit = ImageStore(max_bytes=1), threading.Event(), Image.MAX_IMAGE_PIXELS

    def work(k: int) -> None:
        while not stop.is_set():
            store.view(photos[k], BUDGET)
            store.crop(photos[k], BOX, BUDGET)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()

    def check() -> None:
        for ref in photos:
            store.view(ref, BUDGET)
        assert limit == Image.MAX_IMAGE_PIXELS

    try:
        reports = [in_child(check) for _ in range(10)]
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert reports == [""] * 10


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_begin_empty_and_keep_their_settings(photos, clone):
    store = ImageStore(max_bytes=12_345, max_image_pixels=480_000, threads=1)
    store.view(photos[0], BUDGET)
    twin = clone(store)
    assert len(twin) == 0 and twin.stats.full_decodes == 0
    assert twin.view(photos[0], BUDGET) == store.view(photos[0], BUDGET)
    with pytest.raises(ImageError, match="expected between 1 and 480000"):
        twin.view(photos[1], BUDGET)


def test_bytes_need_no_file():
    out = io.BytesIO()
    picture(800, 600).save(out, "PNG")
    store = ImageStore()
    assert store.crop(ImageRef(data=out.getvalue(), key="x"), BOX, BUDGET)[0] == crop(
        picture(800, 600), BOX, 28, BUDGET.min_pixels, BUDGET.max_pixels
    )
