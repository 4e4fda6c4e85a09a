"""Rectangles of originals that are not in memory give the pixels that Pillow gives."""

from __future__ import annotations

import os
import tempfile
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hrvision_env.images import FILTER, regions
from hrvision_env.images.decode import ORIENTATIONS, Level, turn
from hrvision_env.images.regions import Layout, Spilled, Tiled, resample, stored_rect


def noise(width: int, height: int) -> Image.Image:
    """Every pixel different from its neighbours: a shift or a margin too small is seen at once."""
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


NOISE = noise(400, 300)


def spilled(image: Image.Image, orientation: int = 1) -> Spilled:
    with tempfile.TemporaryFile() as file:
        file.write(image.tobytes())
        file.flush()
        return Spilled(os.dup(file.fileno()), Layout(image.size, image.mode), orientation)


@settings(deadline=None)
@given(
    st.floats(0, 399), st.floats(0, 299), st.floats(0.01, 400), st.floats(0.01, 300),
    st.integers(1, 500), st.integers(1, 500), st.sampled_from([1 << 23, 20_000, 1]),
)  # fmt: skip
def test_a_resampled_box_is_that_of_pillow(x, y, width, height, wide, high, strip):
    """Whole, in strips of some rows, and in strips of single rows."""
    box = (x, y, min(x + width, 400.0), min(y + height, 300.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "STRIP_PIXELS", strip)
        out = resample(SPILLED, (wide, high), box)
    rows = NOISE.resize((wide, 300), FILTER, box=(box[0], 0, box[2], 300))
    assert out == rows.resize((wide, high), FILTER, box=(0, box[1], wide, box[3]))
    if high >= 300 or 300 - high <= 2 * (400 - wide):  # else Pillow 13 takes columns first
        assert out == NOISE.resize((wide, high), FILTER, box=box)


SPILLED = spilled(NOISE)


@pytest.mark.parametrize("strip", [1 << 23, 5000])
def test_the_whole_image_is_that_of_pillow(monkeypatch, strip):
    monkeypatch.setattr(regions, "STRIP_PIXELS", strip)
    for size in [(112, 84), (400, 84), (112, 300), (400, 300), (1200, 900)]:
        assert resample(SPILLED, size, (0, 0, 400, 300)) == NOISE.resize(size, FILTER)


def test_a_large_image_is_read_in_strips_on_a_grid(monkeypatch):
    read = []

    class Spy:
        size = (400, 300)

        def read(self, rect):
            read.append(rect)
            return NOISE.crop(rect)

    monkeypatch.setattr(regions, "STRIP_PIXELS", 400 * 100)  # 64 rows: the next power of two
    box = (0, 50.5, 400, 290)
    assert resample(Spy(), (40, 40), box) == NOISE.resize((40, 40), FILTER, box=box)
    assert [rect[3] for rect in read] == [64, 128, 192, 256, 300]
    assert all(rect[::2] == (0, 400) for rect in read) and read[0][1] < 50 - 2 * 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rectangles_of_a_turned_image(orientation):
    """Against Pillow's own turning of the whole image."""
    upright = turn(NOISE, orientation)
    assert (orientation in ORIENTATIONS) == (upright is not NOISE)
    original = spilled(NOISE, orientation)
    assert original.size == upright.size
    tiled = Tiled(
        upright.size, Level(NOISE.size), orientation, lambda level, rect: NOISE.crop(rect)
    )
    for rect in [(0, 0, *upright.size), (10, 20, 77, 33), (299, 0, 300, 300), (3, 250, 30, 251)]:
        assert original.read(rect) == upright.crop(rect)
        assert tiled.read(rect) == upright.crop(rect)


def test_where_a_rectangle_lies_before_turning():
    """Orientation 6: the camera was turned; the stored left edge is the upper one."""
    assert stored_rect((0, 0, 10, 20), (400, 300), 6) == (0, 290, 20, 300)
    assert stored_rect((0, 0, 10, 20), (400, 300), 1) == (0, 0, 10, 20)


def test_threads_read_one_file_at_once():
    wrong = []

    def read(k: int) -> None:
        for i in range(50):
            rect = (k * 7, i, k * 7 + 90, i + 40)
            if SPILLED.read(rect) != NOISE.crop(rect):
                wrong.append(rect)

    threads = [threading.Thread(target=read, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_file_is_closed_with_its_last_user():
    original = spilled(NOISE)
    descriptor = original._file
    assert os.fstat(descriptor).st_nlink == 0  # nothing is left behind whatever happens
    del original
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_a_file_that_is_too_short_is_an_error():
    with tempfile.TemporaryFile() as file:
        original = Spilled(os.dup(file.fileno()), Layout((10, 10), "RGB"), 1)
    with pytest.raises(OSError, match="ends after 0 bytes"):
        original.read((0, 0, 5, 5))


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "RGB", "RGBA", "CMYK"])
def test_layouts_count_their_bytes(mode):
    image = Image.new(mode, (7, 5))
    layout = Layout((7, 5), mode)
    assert layout.n_bytes == len(image.tobytes())
    assert layout.image(image.tobytes(), (7, 5)).mode == "RGB"
