"""Images larger than the budget: streamed by libvips, the same pixels as through Pillow."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import struct
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hrvision_env.images import (
    Budget,
    ImageError,
    ImageStore,
    originals,
    regions,
    vips,
)
from hrvision_env.images.decode import PNG_SIGNATURE
from hrvision_env.images.regions import Spilled, Tiled
from hrvision_env.records import Box, ImageRef

from ..conftest import picture
from .tiffs import write_tiff

pytestmark = pytest.mark.skipif(not vips.installed(), reason="needs pyvips")

BUDGET = Budget(28, 28 * 28 * 4, 28 * 28 * 60)
BOX = Box(100.3, 77.7, 380.2, 301.4)
PHOTO = picture(700, 500)
GREY = PHOTO.convert("L")
ALPHA = Image.merge("RGBA", (*PHOTO.split(), GREY))
DEEP = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257 + 13)  # I;16
IMAGES = {
    "RGB": PHOTO,
    "L": GREY,
    "LA": Image.merge("LA", (GREY, GREY.rotate(180))),
    "RGBA": ALPHA,
    "P": PHOTO.quantize(60),
    "1": PHOTO.convert("1"),
    "CMYK": PHOTO.convert("CMYK"),
    "I;16": DEEP,
}


def deep_png(bands: int) -> bytes:
    """16 bits per sample, which Pillow does not write in colour: 2 grey + alpha, 3 RGB, 4 RGBA."""
    values = np.random.default_rng(0).integers(0, 65536, (500, 700, bands), dtype=np.uint16)
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    head = struct.pack(">IIBBBBB", 700, 500, 16, {2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def make_cases() -> dict[str, tuple[Any, dict[str, Any]]]:
    """File name -> image and options of `save`."""
    found: dict[str, tuple[Any, dict[str, Any]]] = {}
    for mode in ("RGB", "L", "LA", "RGBA", "P", "1", "I;16"):
        found[f"{mode}.png"] = (IMAGES[mode], {})
    found["keyed.png"] = (IMAGES["P"], {"transparency": 3})
    found["two_bits.png"] = (IMAGES["P"].point(lambda v: v % 4), {"bits": 2})
    for bands in (2, 3, 4):
        found[f"deep{bands}.png"] = (deep_png(bands), {})
    for mode in ("RGB", "L", "CMYK"):
        found[f"{mode}.jpg"] = (IMAGES[mode], {"quality": 90})
    found["progressive.jpg"] = (PHOTO, {"progressive": True})
    found["full_chroma.jpg"] = (PHOTO, {"subsampling": 0})
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        for mode, image in IMAGES.items():
            found[f"{compression}_{mode}.tif"] = (image, {"compression": compression})
    for mode in ("RGB", "L"):
        found[f"jpeg_{mode}.tif"] = (IMAGES[mode], {"compression": "jpeg"})
    found["group4.tif"] = (IMAGES["1"], {"compression": "group4"})
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("jpg", "png", "tif"):
            found[f"turned{orientation}.{kind}"] = (PHOTO, {"exif": exif})
    return found


CASES = make_cases()


@pytest.fixture(scope="module")
def streaming():
    """A store too small for every image here."""
    store = ImageStore(max_bytes=1000)
    yield store
    store.close()


@pytest.mark.parametrize("name", CASES)
def test_the_pixels_are_those_of_pillow(tmp_path: Path, streaming: ImageStore, name):
    image, options = CASES[name]
    path = tmp_path / name
    path.write_bytes(image) if isinstance(image, bytes) else image.save(path, **options)
    ref, plain = ImageRef(path=path), ImageStore(use_vips=False)
    before = streaming.stats.full_decodes
    assert streaming.open(ref) == plain.open(ref)
    assert streaming.view(ref, BUDGET) == plain.view(ref, BUDGET)
    assert streaming.crop(ref, BOX, BUDGET) == plain.crop(ref, BOX, BUDGET)
    assert isinstance(streaming._originals.source(ref), Spilled)
    assert streaming.stats.full_decodes == before + 1


def test_modes_that_libvips_shows_differently_stay_with_pillow(tmp_path: Path, streaming):
    cases: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (Image.fromarray(np.asarray(GREY, np.float32)), "float.tif", {}),
        (PHOTO.convert("LAB"), "lab.tif", {}),
        (GREY, "keyed.png", {"transparency": 77}),
        (PHOTO, "photo.webp", {}),
        (PHOTO, "photo.bmp", {}),
    ]
    for image, name, options in cases:
        image.save(tmp_path / name, **options)
        ref = ImageRef(path=tmp_path / name)
        assert streaming.open(ref) == ImageStore(use_vips=False).open(ref)
        assert isinstance(streaming._originals.source(ref), Image.Image)


def test_libvips_stays_out_of_this_process(streaming):
    ref = ImageRef(image=PHOTO, key="x")
    streaming.view(ref, BUDGET)
    assert streaming._originals.worker.version
    assert "pyvips" not in sys.modules


def test_encoded_bytes_are_streamed_too(tmp_path: Path, streaming):
    PHOTO.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    out, _ = streaming.crop(ImageRef(data=data, key="bytes"), BOX, BUDGET)
    assert out == ImageStore(use_vips=False).crop(ImageRef(data=data, key="b"), BOX, BUDGET)[0]
    tiled = write_tiff(tmp_path / "t.tif", [np.asarray(PHOTO)]).read_bytes()
    assert streaming.crop(ImageRef(data=tiled, key="tiled"), BOX, BUDGET)[0] == out


def test_a_group_decodes_a_streamed_image_once(tmp_path: Path):
    PHOTO.save(tmp_path / "a.png")
    ref, store = ImageRef(path=tmp_path / "a.png"), ImageStore(max_bytes=1000)
    for k in range(8):
        store.view(ref, BUDGET)
        store.crop(ref, Box(10 * k, 10 * k, 10 * k + 200, 10 * k + 100), BUDGET)
    assert (store.stats.full_decodes, store.stats.region_reads) == (1, 8)
    assert store.bytes < 28 * 28 * 60 * 4 + 1
    store.close()


# -- tiles


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiles_are_read_where_they_are_needed(tmp_path: Path, monkeypatch, orientation):
    monkeypatch.setattr(regions, "STRIP_PIXELS", 50_000)  # several strips for the whole image
    path = write_tiff(tmp_path / "t.tif", [np.asarray(PHOTO)], orientation=orientation)
    ref, store, plain = ImageRef(path=path), ImageStore(max_bytes=1000), ImageStore()
    assert store.crop(ref, BOX, BUDGET) == plain.crop(ref, BOX, BUDGET)
    assert isinstance(store._originals.source(ref), Tiled)
    assert (store.stats.full_decodes, store.stats.region_reads) == (0, 1)
    if plain.size(ref) == (700, 500):  # Pillow 13 resamples tall images in another order
        assert store.view(ref, BUDGET) == plain.view(ref, BUDGET)
    assert store.open(ref) == plain.open(ref)
    store.close()


def test_large_regions_of_huge_pyramids_come_from_a_level(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(originals, "MAX_IMAGE_PIXELS", 100_000)
    levels = [np.full((400 >> k, 600 >> k, 3), 80 * k, np.uint8) for k in range(4)]
    for subifds in (False, True):
        ref = ImageRef(path=write_tiff(tmp_path / f"{subifds}.tif", levels, subifds))
        store, budget = ImageStore(max_bytes=1000), Budget(4, 16, 2400)
        for box, size, level in [
            (Box(0, 0, 600, 400), (60, 40), 2),  # 150 x 100 for 60 x 40
            (Box(100, 100, 400, 300), (60, 40), 1),
            (Box(100, 100, 160, 140), (60, 40), 0),
        ]:
            out, frame = store.crop(ref, box, budget)
            assert out.getcolors() == [(size[0] * size[1], (80 * level,) * 3)]
            assert frame.original == (600, 400)
            assert frame.region == (box.x1, box.y1, box.x2, box.y2)
        store.close()


# -- limits


def test_more_pixels_are_allowed_where_libvips_streams(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(originals, "MAX_IMAGE_PIXELS", 1000)
    PHOTO.save(tmp_path / "a.png")
    PHOTO.save(tmp_path / "a.webp")
    ref = ImageRef(path=tmp_path / "a.png")
    store = ImageStore()
    assert store.view(ref, BUDGET)[1].original == (700, 500)
    with pytest.raises(ImageError, match=r"expected between 1 and 1000$"):
        store.open(ref)  # in memory it would be as large as without libvips
    store.close()
    with pytest.raises(ImageError, match=r"350000 pixels, expected between 1 and 1000; larger.*"
                       r"pip install 'hrvision\[vips\]'"):  # fmt: skip
        ImageStore(use_vips=False).view(ref, BUDGET)
    with pytest.raises(ImageError, match=r"expected between 1 and 1000$"):
        ImageStore().view(ImageRef(path=tmp_path / "a.webp"), BUDGET)
    with pytest.raises(ImageError, match=r"expected between 1 and 300000$"):
        ImageStore(max_image_pixels=300_000).view(ref, BUDGET)
    monkeypatch.setattr(originals, "MAX_STREAMED_PIXELS", 2000)
    with pytest.raises(ImageError, match=r"expected between 1 and 2000$"):
        ImageStore().view(ref, BUDGET)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch):
    PHOTO.save(tmp_path / "a.png")
    usage = SimpleNamespace(free=originals.DISK_RESERVE + 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    store = ImageStore(max_bytes=1000, temp_dir=tmp_path)
    with pytest.raises(ImageError, match=rf"sample 'q'.*takes up to 1 MB in {tmp_path}.*1024 MB"):
        store.view(ImageRef(path=tmp_path / "a.png"), BUDGET, "q")


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path):
    PHOTO.save(tmp_path / "a.png")
    store = ImageStore(max_bytes=1000, temp_dir=tmp_path / "gone")
    with pytest.raises(ImageError, match=r"a\.png.*FileNotFoundError.*gone"):
        store.view(ImageRef(path=tmp_path / "a.png"), BUDGET)


def test_nothing_is_left_in_the_folder(tmp_path: Path):
    folder = tmp_path / "spill"
    folder.mkdir()
    PHOTO.save(tmp_path / "a.png")
    store = ImageStore(max_bytes=1000, temp_dir=folder)
    store.view(ImageRef(path=tmp_path / "a.png"), BUDGET)
    assert list(folder.iterdir()) == []  # even while the image is in use
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:20_000])
    with pytest.raises(ImageError, match="libvips"):
        store.view(ImageRef(path=tmp_path / "b.png"), BUDGET)
    assert list(folder.iterdir()) == []
    store.close()


def test_disk_is_given_back(tmp_path: Path):
    """At most two of these images fit; their descriptors are closed when they are dropped."""
    store, before = ImageStore(max_bytes=1000, max_disk_bytes=2 * 700 * 500 * 4), spilled_files()
    for k in range(6):
        picture(700, 500, seed=k).save(tmp_path / f"{k}.png")
        store.crop(ImageRef(path=tmp_path / f"{k}.png"), BOX, BUDGET)
        assert store._originals.cache.used.disk <= 2 * 700 * 500 * 4
        gc.collect()
        assert spilled_files() - before <= 2
    store.close()
    assert spilled_files() == before


def spilled_files() -> int:
    """Open in this process; they have no names any more."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(descriptor)
            count += "/hrvision-" in target and target.endswith(".raw (deleted)")
    return count
