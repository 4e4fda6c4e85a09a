"""What is decoded of a file: headers, orientation, reduced JPEG images, levels of pyramids."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hrvision_env.images import FILTER, Budget, ImageError, ImageStore
from hrvision_env.images.decode import (
    ORIENTATIONS,
    PNG_SIGNATURE,
    Header,
    Level,
    decode,
    plan,
    read_header,
    turn,
)
from hrvision_env.images.unlimited import unlimited
from hrvision_env.records import ImageRef

from ..conftest import picture
from .tiffs import png_chunks, write_tiff

BUDGET = Budget(28, 28 * 28, 40 * 28 * 28)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def oriented(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def photograph(width: int, height: int) -> Image.Image:
    """Colours that change slowly, with fine grain on them, as a camera gives."""
    rng = np.random.default_rng(1)
    grain = rng.normal(0, 6, (height, width, 1))
    return Image.fromarray(
        np.clip(np.asarray(picture(width, height), float) + grain, 0, 255).astype(np.uint8)
    )


def psnr(a: Image.Image, b: Image.Image) -> float:
    error = np.asarray(a, float) - np.asarray(b, float)
    return float(10 * np.log10(255**2 / max(np.mean(error**2), 1e-9)))


# -- sizes


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM"])
@pytest.mark.parametrize("turned", [1, 6])
def test_the_size_is_read_from_the_header(kind, turned):
    exif = {"exif": oriented(turned)} if kind in ("JPEG", "PNG", "TIFF", "WEBP") else {}
    ref = ImageRef(data=encoded(picture(60, 40), kind, **exif), key="x")
    store = ImageStore()
    expected = (40, 60) if exif and turned == 6 else (60, 40)
    assert store.size(ref) == expected
    assert store.stats.full_decodes == 0
    assert store.open(ref).size == expected


def test_the_size_of_other_images():
    store = ImageStore()
    assert store.size(ImageRef(image=picture(60, 40), key="mine")) == (60, 40)
    assert store.size(ImageRef(make=lambda: picture(30, 20), key="made")) == (30, 20)


def late_metadata(orientation: int) -> bytes:
    """A PNG with its EXIF data behind the pixels, where some programs write them."""
    data = encoded(picture(60, 40), "PNG", exif=oriented(orientation))
    chunks = png_chunks(data)
    exif = next(chunk for chunk in chunks if chunk[4:8] == b"eXIf")
    chunks.remove(exif)
    chunks.insert(-1, exif)
    return PNG_SIGNATURE + b"".join(chunks)


def test_metadata_behind_the_pixels_of_a_png():
    ref = ImageRef(data=late_metadata(8), key="late")
    store = ImageStore()
    assert store.size(ref) == (40, 60) and store.stats.full_decodes == 0
    assert store.open(ref) == picture(60, 40).transpose(Image.Transpose.ROTATE_90)


def test_broken_metadata_do_not_turn_an_image():
    data = encoded(picture(60, 40), "JPEG", exif=b"Exif\0\0" + b"garbage" * 5)
    store = ImageStore()
    assert store.size(ImageRef(data=data, key="x")) == (60, 40)
    assert store.open(ImageRef(data=data, key="x")).size == (60, 40)


# -- reduced JPEG images


@pytest.mark.parametrize(
    ("size", "view", "scale", "decoded"),
    [
        ((7680, 4320), (1316, 728), 2, (3840, 2160)),
        ((16384, 12288), (1148, 840), 4, (4096, 3072)),
        ((16384, 12288), (512, 384), 8, (2048, 1536)),
        ((1001, 999), (250, 248), 2, (501, 500)),  # at 1/4 251 of the 500 that are needed
        ((4095, 4095), (1024, 1024), 2, (2048, 2048)),  # just enough
        ((3840, 2160), (1316, 728), None, None),
    ],
)
def test_the_scale_leaves_two_pixels_for_each_of_the_view(size, view, scale, decoded):
    way = plan(Header("JPEG", "RGB", size), view)
    assert (way and (way.scale, way.size)) == (scale and (scale, decoded))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_reduced_view_is_close_to_the_view_of_the_whole(orientation, mode):
    """Nothing is shifted, turned or of another colour: the sides are no multiples of a scale."""
    stored = photograph(1203, 801).convert(mode)
    ref = ImageRef(data=encoded(stored, "JPEG", quality=90, exif=oriented(orientation)), key="x")
    store = ImageStore()
    view, frame = store.view(ref, BUDGET)
    assert (store.stats.view_decodes, store.stats.full_decodes) == (1, 0)
    whole = store.open(ref)
    assert frame.original == whole.size == turn(stored, orientation).size
    plain = whole.resize(BUDGET.fit(*whole.size), FILTER)
    assert view.size == plain.size and view.mode == "RGB" and view.info == {}
    assert psnr(view, plain) > 42
    assert psnr(view, plain) > psnr(view, shifted(plain)) + 3


def shifted(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.roll(np.asarray(image), 1, axis=(0, 1)))


def test_the_view_does_not_depend_on_what_is_in_memory():
    ref = ImageRef(data=encoded(photograph(1200, 800), "JPEG"), key="x")
    first, second = ImageStore(), ImageStore()
    second.open(ref)  # the whole image is there already
    assert first.view(ref, BUDGET)[0] == second.view(ref, BUDGET)[0]
    tight = ImageStore(max_bytes=1)
    assert first.view(ref, BUDGET)[0] == tight.view(ref, BUDGET)[0]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_views_are_the_plain_resize(kind):
    ref = ImageRef(data=encoded(photograph(1200, 800), kind), key="x")
    store = ImageStore()
    view, _ = store.view(ref, BUDGET)
    assert view == store.open(ref).resize(BUDGET.fit(1200, 800), FILTER)
    assert (store.stats.view_decodes, store.stats.full_decodes) == (0, 1)


def test_small_jpeg_views_are_the_plain_resize():
    ref = ImageRef(data=encoded(photograph(300, 200), "JPEG"), key="x")
    store = ImageStore()
    assert store.view(ref, BUDGET)[0] == store.open(ref).resize(BUDGET.fit(300, 200), FILTER)


def test_what_decoding_takes_is_known_beforehand():
    """Bytes per pixel: RGB takes 4; turning it takes another 4; transparency a copy, the same on
    white and a mask; a progressive file holds 2 bytes for each value besides."""
    image = picture(100, 50)
    cases: list[tuple[str, dict[str, Any], int]] = [
        ("JPEG", {}, 4),
        ("JPEG", {"exif": oriented(3)}, 8),
        ("JPEG", {"progressive": True}, 10),
        ("PNG", {}, 4),
        ("WEBP", {}, 16),  # two frames and the file's own buffer
    ]
    for kind, options, expected in cases:
        header = read_header(ImageRef(data=encoded(image, kind, **options), key="x"))
        assert header.decoding_bytes == expected * 5000
    alpha = read_header(ImageRef(data=encoded(image.convert("RGBA"), "PNG"), key="x"))
    assert alpha.decoding_bytes == 17 * 5000
    grey = read_header(ImageRef(data=encoded(image.convert("L"), "PNG"), key="x"))
    assert grey.decoding_bytes == 7 * 5000


# -- pyramids

LEVELS = [np.full((400 >> k, 600 >> k, 3), 80 * k, np.uint8) for k in range(4)]
"""Each level in a grey of its own, so that it is seen which one was used."""


@pytest.mark.parametrize("subifds", [False, True])
@pytest.mark.parametrize(
    ("max_pixels", "seen", "level"),
    [
        (44_800, (256, 172), 0),  # level 1 has only 300 of the 512 pixels it needs
        (5400, (88, 60), 1),
        (2400, (60, 40), 2),  # 150 of 120
        (480, (24, 16), 3),
    ],
)
def test_the_view_comes_from_the_smallest_level_that_is_large_enough(
    tmp_path: Path, subifds, max_pixels, seen, level
):
    path = write_tiff(tmp_path / "p.tif", LEVELS, subifds)
    header = read_header(ImageRef(path=path))
    assert [lv.size for lv in header.levels] == [(300, 200), (150, 100), (75, 50)]
    assert header.size == (600, 400) and header.tiled
    store = ImageStore()
    view, frame = store.view(ImageRef(path=path), Budget(4, 16, max_pixels))
    assert view.getcolors() == [(seen[0] * seen[1], (80 * level,) * 3)]
    assert (frame.original, frame.seen) == ((600, 400), seen)
    assert store.stats.full_decodes == (level == 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("subifds", [False, True])
def test_levels_are_turned_with_the_image(tmp_path: Path, orientation, subifds):
    """The levels themselves say nothing about their orientation."""
    image = picture(600, 400)
    small = image.resize((300, 200), Image.Resampling.BOX)
    arrays = [np.asarray(image), np.asarray(small)]
    path = write_tiff(tmp_path / "p.tif", arrays, subifds, orientation)
    store, budget = ImageStore(), Budget(4, 16, 100 * 66)
    view, frame = store.view(ImageRef(path=path), budget)
    whole = store.open(ImageRef(path=path))
    assert whole == turn(image, orientation) and frame.original == whole.size
    assert store.stats.view_decodes == 1
    assert view.size == budget.fit(*whole.size)
    assert psnr(view, whole.resize(view.size, FILTER)) > 40


def test_pages_that_are_no_levels_are_left_alone(tmp_path: Path):
    unmarked = write_tiff(tmp_path / "a.tif", LEVELS, reduced=False)
    assert read_header(ImageRef(path=unmarked)).levels == ()
    other = [LEVELS[0], LEVELS[1][:150]]  # not the same shape
    assert read_header(ImageRef(path=write_tiff(tmp_path / "b.tif", other))).levels == ()
    (tmp_path / "c.tif").write_bytes(encoded(picture(60, 40), "TIFF"))
    assert read_header(ImageRef(path=tmp_path / "c.tif")).levels == ()


def test_levels_of_a_file_in_memory(tmp_path: Path):
    data = write_tiff(tmp_path / "p.tif", LEVELS).read_bytes()
    view, _ = ImageStore().view(ImageRef(data=data, key="x"), Budget(4, 16, 16 * 30))
    assert view.getpixel((0, 0)) == (240, 240, 240)
    assert read_header(ImageRef(data=data, key="x")).levels[0] == Level((300, 200), 1)


# -- limits


def test_pillows_own_limit_holds_for_no_format(tmp_path: Path, monkeypatch):
    """TIFF is checked when it is decoded, other formats when they are opened."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for kind in ("TIFF", "PNG", "JPEG"):
        ref = ImageRef(data=encoded(picture(60, 40), kind), key=kind)
        assert decode(ref).size == (60, 40)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_limit_that_is_set_while_a_file_is_opened_stays(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with unlimited:
        assert Image.MAX_IMAGE_PIXELS is None
        Image.MAX_IMAGE_PIXELS = 12_345
    assert Image.MAX_IMAGE_PIXELS == 12_345


def test_a_header_that_promises_too_much_is_refused_before_any_pixel_is_decoded():
    chunks = png_chunks(encoded(Image.new("L", (8, 8)), "PNG"))
    head = b"IHDR" + (200_000).to_bytes(4, "big") * 2 + chunks[0][16:21]
    chunks[0] = chunks[0][:4] + head + zlib.crc32(head).to_bytes(4, "big")
    ref = ImageRef(data=PNG_SIGNATURE + b"".join(chunks), key="bomb")
    store = ImageStore(use_vips=False)
    for use in (store.size, store.open, lambda ref: store.view(ref, BUDGET)):
        with pytest.raises(ImageError, match="got 200000x200000 = 40000000000 pixels"):
            use(ref)


def test_orientations_are_those_of_exif():
    assert sorted(ORIENTATIONS) == list(range(2, 9))
