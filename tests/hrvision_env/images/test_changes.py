"""Files that change, and folders that do, while a store is in use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hrvision_env.images import FILTER, Budget, Frame, ImageError, ImageStore, originals, vips
from hrvision_env.images.decode import decode_reduced, plan, read_header
from hrvision_env.records import Box, ImageRef

from ..conftest import picture
from .tiffs import write_tiff

BUDGET = Budget(28, 28 * 28, 40 * 28 * 28)
BOX = Box(10, 10, 50, 40)


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("size", [(700, 1200), (1200, 700)])
def test_a_file_that_has_changed_is_read_again(tmp_path: Path, kind, size):
    ref, store = ImageRef(path=tmp_path / f"a.{kind}"), ImageStore(use_vips=False)
    picture(1200, 700, seed=1).save(tmp_path / f"a.{kind}")
    assert store.size(ref) == store.view(ref, BUDGET)[1].original == (1200, 700)
    before = store.crop(ref, BOX, BUDGET)[0]
    picture(size[0], size[1], seed=2).save(tmp_path / f"a.{kind}")
    os.utime(tmp_path / f"a.{kind}", ns=(1, 1))  # the clock of a file system may be coarse
    view, frame = store.view(ref, BUDGET)
    assert store.size(ref) == frame.original == size
    assert frame == Frame(size, BUDGET.fit(*size)) and view.size == frame.seen
    fresh = ImageStore(use_vips=False)
    assert view == fresh.view(ref, BUDGET)[0]
    assert before != store.crop(ref, BOX, BUDGET)[0] == fresh.crop(ref, BOX, BUDGET)[0]


@pytest.mark.skipif(not vips.installed(), reason="needs pyvips")
def test_tiles_of_a_file_that_has_changed_are_read_again(tmp_path: Path):
    ref, store = ImageRef(path=tmp_path / "t.tif"), ImageStore(max_bytes=1000)
    for seed in range(2):
        photo = picture(700, 500, seed=seed)
        # Another file takes its name; the one that the worker has open lives on.
        os.replace(write_tiff(tmp_path / "new.tif", [np.asarray(photo)]), tmp_path / "t.tif")
        out, _ = store.crop(ref, Box(100, 100, 200, 200), BUDGET)
        size = BUDGET.fit(100, 100)
        assert out == photo.resize(size, FILTER, box=(100, 100, 200, 200))
    assert store.stats.region_reads == 2
    store.close()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_relative_path_is_that_of_the_current_folder(tmp_path: Path, monkeypatch, streamed):
    if streamed and not vips.installed():
        pytest.skip("needs pyvips")
    store = ImageStore(max_bytes=1000 if streamed else 1 << 30, use_vips=streamed)
    for name, width in (("a", 300), ("b", 400)):
        (tmp_path / name).mkdir()
        write_tiff(tmp_path / name / "x.tif", [np.asarray(picture(width, 300))])
    for name, width in (("a", 300), ("b", 400), ("a", 300)):
        monkeypatch.chdir(tmp_path / name)
        assert store.view(ImageRef(path=Path("x.tif")), BUDGET)[1].original == (width, 300)
    monkeypatch.chdir(tmp_path)
    out, _ = store.crop(ImageRef(path=tmp_path / "a" / "x.tif"), BOX, BUDGET)
    assert out == picture(300, 300).resize(out.size, FILTER, box=(10, 10, 50, 40))
    store.close()


def test_a_file_that_changes_between_header_and_pixels_is_an_error_once(
    tmp_path: Path, monkeypatch
):
    path = tmp_path / "a.png"
    picture(80, 60).save(path)
    ref, store = ImageRef(path=path), ImageStore()

    def then_changed(ref: ImageRef) -> object:
        header = read_header(ref)
        picture(60, 90).save(path)
        return header

    with monkeypatch.context() as patched:
        patched.setattr(originals, "read_header", then_changed)
        with pytest.raises(ImageError, match=r"sample 'q': .*a\.png.*changed while it was read: "
                           r"got 60x90 pixels, expected 80x60"):  # fmt: skip
            store.open(ref, "q")
    assert store.open(ref) == picture(60, 90)


def test_a_reduced_view_is_of_the_file_that_was_planned_for(tmp_path: Path):
    path = tmp_path / "a.jpg"
    ref, seen = ImageRef(path=path), (196, 140)
    Image.new("RGB", (1200, 800)).save(path)
    header = read_header(ref)
    way = plan(header, seen)
    assert way is not None and decode_reduced(ref, header, way, seen).size == seen
    Image.new("RGB", (800, 1200)).save(path)
    with pytest.raises(ImageError, match="got 800x1200 pixels, expected 1200x800"):
        decode_reduced(ref, header, way, seen)
