"""Originals beside a trace: every pixel of them, each once, and no more memory than tiles take."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hrvision_env.images import ImageStore
from hrvision_env.records import ImageRef, Sample
from hrvision_env.trace import EPISODES, IMAGES, ORIGINALS, Original, Tiles, Trace, TraceWriter
from hrvision_env.trace import originals as originals_module

from .test_rendering import begin, box


def sample(*refs: ImageRef) -> Sample:
    return Sample("q", "What is it?", tuple(refs), ("nothing",))


def picture(wide: int, high: int) -> Image.Image:
    """Smooth, so that JPEG hardly changes it, and different everywhere."""
    y, x = np.mgrid[0:high, 0:wide]
    values = np.stack([x * 255 / wide, y * 255 / high, (x + y) * 255 / (wide + high)], -1)
    return Image.fromarray(values.astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "ending"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif")]
)
def test_files_that_browsers_show_are_copied_as_they_are(tmp_path, kind, ending):
    data = encoded(picture(80, 60), kind)
    path = tmp_path / "photo.bin"
    path.write_bytes(data)
    writer = TraceWriter(tmp_path / "trace")
    from_disk, from_memory, from_cell = writer.keep_originals(
        sample(
            ImageRef(path=path),
            ImageRef(data=data, key="b"),
            ImageRef(read=path.read_bytes, key="c"),
        )
    )
    assert from_disk == from_memory == from_cell and from_disk.size == (80, 60)
    assert from_disk.file.endswith(f".{ending}") and from_disk.tiles is None
    assert (tmp_path / "trace" / ORIGINALS / from_disk.file).read_bytes() == data
    assert len(list((tmp_path / "trace" / ORIGINALS).iterdir())) == 1


@pytest.mark.parametrize("kind", ["TIFF", "BMP"])
def test_other_formats_become_one_that_browsers_show(tmp_path, kind):
    image = picture(80, 60)
    (kept,) = TraceWriter(tmp_path).keep_originals(
        sample(ImageRef(data=encoded(image, kind), key="a"))
    )
    shown = Image.open(tmp_path / ORIGINALS / kept.file)
    assert shown.format == "PNG" and shown.tobytes() == image.tobytes()


def test_an_image_made_in_memory_is_kept_pixel_by_pixel(tmp_path):
    image = picture(90, 70)
    writer = TraceWriter(tmp_path)
    made, given = writer.keep_originals(
        sample(ImageRef(make=partial(picture, 90, 70), key="a"), ImageRef(image=image, key="b"))
    )
    assert (
        made == given and Image.open(tmp_path / ORIGINALS / made.file).tobytes() == image.tobytes()
    )


def test_what_browsers_turn_differently_is_turned_before(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    image = picture(80, 60)
    jpeg, png = (encoded(image, kind, exif=exif) for kind in ("JPEG", "PNG"))
    as_it_is, turned = TraceWriter(tmp_path).keep_originals(
        sample(ImageRef(data=jpeg, key="a"), ImageRef(data=png, key="b"))
    )
    assert as_it_is.size == turned.size == (60, 80)
    assert (tmp_path / ORIGINALS / as_it_is.file).read_bytes() == jpeg
    upright = image.transpose(Image.Transpose.ROTATE_270)
    assert Image.open(tmp_path / ORIGINALS / turned.file).tobytes() == upright.tobytes()


def see_through(mode: str) -> Image.Image:
    """A black cross on nothing."""
    image = Image.new("RGBA", (80, 60), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (30, 0, 50, 60))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("WEBP", "RGBA"), ("GIF", "P")],
)
def test_what_is_transparent_is_kept_on_white_as_agents_see_it(tmp_path, kind, mode):
    options = {"transparency": 0} if mode == "P" else {}
    if mode == "P":
        image = Image.new("P", (80, 60), 0)
        image.putpalette([255, 0, 0, 0, 0, 0])
        image.paste(1, (30, 0, 50, 60))
    else:
        image = see_through(mode)
    ref = ImageRef(data=encoded(image, kind, **options), key="a")
    (kept,) = TraceWriter(tmp_path).keep_originals(sample(ref))
    shown = Image.open(tmp_path / ORIGINALS / kept.file)
    assert shown.format == "PNG" and shown.mode == "RGB"
    assert shown.tobytes() == ImageStore().open(ref).tobytes()
    assert (shown.getpixel((2, 2)), shown.getpixel((40, 30))) == ((255,) * 3, (0,) * 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_a_film_the_first_frame_is_kept_as_agents_see_it(tmp_path, kind):
    red, green = (Image.new("RGB", (40, 30), colour) for colour in ("red", "lime"))
    data = encoded(red, kind, save_all=True, append_images=[green], duration=100, loop=0)
    ref = ImageRef(data=data, key="a")
    (kept,) = TraceWriter(tmp_path).keep_originals(sample(ref))
    shown = Image.open(tmp_path / ORIGINALS / kept.file)
    assert getattr(shown, "n_frames", 1) == 1
    assert shown.tobytes() == ImageStore().open(ref).tobytes()
    red_part, green_part, _ = np.asarray(shown.convert("RGB"))[9, 9]
    assert red_part > 240 and green_part < 20


def test_an_image_that_cannot_be_opened_has_no_file(tmp_path):
    lost, broken = TraceWriter(tmp_path).keep_originals(
        sample(ImageRef(path=tmp_path / "lost.png"), ImageRef(data=b"no picture", key="b"))
    )
    assert lost == broken == Original("", (0, 0))


# -- Tiles


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(originals_module, "MAX_PIXELS", 100_000)
    monkeypatch.setattr(originals_module, "TILE", 64)


def tiled(folder: Path, image: Image.Image) -> tuple[Original, Path]:
    ref = ImageRef(data=encoded(image, "PNG"), key="a")
    (kept,) = TraceWriter(folder).keep_originals(sample(ref))
    return kept, folder / ORIGINALS / kept.file


def test_a_large_image_is_cut_into_tiles_of_every_level(tmp_path, small_limits):
    image = picture(501, 333)
    kept, folder = tiled(tmp_path, image)
    assert kept.size == (501, 333) and kept.tiles == Tiles(64, 4, "jpg")
    for level in range(4):
        wide, high = -(-501 // 2**level), -(-333 // 2**level)
        names = {f"{x}_{y}.jpg" for x in range(-(-wide // 64)) for y in range(-(-high // 64))}
        assert {path.name for path in (folder / str(level)).iterdir()} == names
        whole = Image.new("RGB", (wide, high))
        for name in names:
            x, y = (int(n) for n in name.removesuffix(".jpg").split("_"))
            whole.paste(Image.open(folder / str(level) / name), (64 * x, 64 * y))
        expected = np.asarray(image.resize((wide, high), Image.Resampling.BOX), int)
        assert np.abs(np.asarray(whole, int) - expected).mean() < 2
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1", "2", "3"]


def test_tiles_are_made_once(tmp_path, small_limits, monkeypatch):
    image = picture(500, 300)
    kept, folder = tiled(tmp_path, image)
    monkeypatch.setattr(originals_module, "_tile", lambda *_: pytest.fail("made again"))
    assert tiled(tmp_path, image)[0] == kept
    assert [path.name for path in (tmp_path / ORIGINALS).iterdir()] == [folder.name]


def test_tiles_are_read_from_the_original_in_parts(tmp_path, small_limits):
    """A store too small for the image: no more than a strip of it is asked for at a time."""
    data = encoded(picture(600, 400), "TIFF", tile=(64, 64))
    path = tmp_path / "large.tif"
    path.write_bytes(data)
    asked: list[tuple[float, float]] = []

    class Counting(ImageStore):
        def crop(self, ref, box, budget, sample_id=""):
            asked.append((box.width, box.height))
            return super().crop(ref, box, budget, sample_id)

        def open(self, ref, sample_id=""):
            raise AssertionError("the whole image is asked for")

    store = Counting(max_bytes=1 << 20)
    (kept,) = TraceWriter(tmp_path).keep_originals(sample(ImageRef(path=path)), store)
    assert kept.tiles is not None and len(asked) == 10 * 7
    assert max(wide * high for wide, high in asked) == 64 * 64


def test_a_broken_large_image_leaves_nothing_behind(tmp_path, small_limits):
    data = encoded(picture(500, 400), "PNG")[:3000]
    (kept,) = TraceWriter(tmp_path).keep_originals(sample(ImageRef(data=data, key="a")))
    assert kept.file == "" and list((tmp_path / ORIGINALS).iterdir()) == []


# -- With an episode


def test_keep_saves_pictures_and_writes_no_line(tmp_path):
    env = begin("white", box(140, 56, 420, 280), r"\boxed{nothing}")
    writer = TraceWriter(tmp_path)
    record = writer.keep(env.running, env.referee.rules)
    assert not (tmp_path / EPISODES).exists()
    names = {p.file for turn in record.pictures for p in turn}
    assert names == {path.name for path in (tmp_path / IMAGES).iterdir()} and len(names) == 2
    kept = replace(record, originals=writer.keep_originals(env.sample), agent="me")
    writer.append(kept)
    (read,) = Trace(tmp_path)
    assert read == replace(kept, line=1)
    assert read.originals[0].size == env.running.views[0].frame.original
