"""Everything that an image file can be, and the store that opens them."""

from __future__ import annotations

import io
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hrvision_env.images import ImageError, ImageStore, to_rgb
from hrvision_env.records import ImageRef

from ..conftest import picture

MODES = (
    "1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV",
    "I", "F", "I;16", "I;16L", "I;16B", "I;16N",
)  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode):
    out = to_rgb(Image.new(mode, (7, 5)))
    assert (out.mode, out.size) == ("RGB", (7, 5))


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("LA", (0, 0), (255, 255, 255)),
        ("RGBa", (0, 0, 0, 51), (204, 204, 204)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 32896, (128, 128, 128)),
        ("I", 257 * 100, (100, 100, 100)),
        ("I", 100, (100, 100, 100)),
        ("F", 0.5, (128, 128, 128)),
        ("F", 200.0, (200, 200, 200)),
        ("F", float("nan"), (0, 0, 0)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("L", 77, (77, 77, 77)),
    ],
)
def test_colours_of_modes(mode, value, expected):
    out = to_rgb(Image.new(mode, (4, 4), value)).getpixel((1, 1))
    assert out == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(("entry", "expected"), [(1, (255, 255, 255)), (0, (200, 0, 0))])
def test_a_transparent_palette_entry_is_white(entry, expected):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.info["transparency"] = entry
    assert to_rgb(image).getpixel((0, 0)) == expected


def test_a_stretched_range_uses_all_of_8_bits():
    image = Image.fromarray(np.array([[-1000.0, 0.0, 3000.0]], np.float32))
    out = to_rgb(image)
    assert np.asarray(out)[0, :, 0].tolist() == [0, 64, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_applied(tmp_path: Path, orientation):
    upright = Image.new("RGB", (80, 40), "blue")
    upright.paste("red", (0, 0, 20, 20))  # top left
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(inverse[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    out = ImageStore().open(ImageRef(path=tmp_path / "turned.jpg"))
    assert out.size == (80, 40)
    pixels = np.asarray(out)  # rows first
    assert pixels[5, 5, 0] > 200 and pixels[30, 70, 2] > 200
    assert out.info == {}


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_encoded_bytes_are_opened(kind):
    ref = ImageRef(data=encoded(picture(60, 40), kind), key="bytes")
    out = ImageStore().open(ref)
    assert (out.mode, out.size, type(out)) == ("RGB", (60, 40), Image.Image)


def test_functions_and_images_are_opened_and_left_alone():
    mine = picture(60, 40).convert("RGBA")
    mine.info["note"] = "the answer is B"
    out = ImageStore().open(ImageRef(image=mine, key="mine"))
    assert out.mode == "RGB" and out.info == {} and mine.info and mine.mode == "RGBA"
    made = ImageStore().open(ImageRef(make=partial(picture, 60, 40, 3), key="made"))
    assert made == picture(60, 40, 3)


def test_errors_name_the_sample_and_the_file(tmp_path: Path):
    store = ImageStore()
    with pytest.raises(ImageError, match=r"sample 'q7'.*gone\.jpg.*does not exist"):
        store.open(ImageRef(path=tmp_path / "gone.jpg"), "q7")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ImageError, match=r"sample 'q7'.*text\.jpg.*cannot identify"):
        store.open(ImageRef(path=tmp_path / "text.jpg"), "q7")
    (tmp_path / "cut.jpg").write_bytes(encoded(picture(300, 300), "JPEG")[:2000])
    with pytest.raises(ImageError, match=r"cut\.jpg.*truncated"):
        store.open(ImageRef(path=tmp_path / "cut.jpg"), "q7")
    with pytest.raises(ImageError, match=r"'made'.*ZeroDivisionError"):
        store.open(ImageRef(make=partial(divmod, 1, 0), key="made"))
    assert len(store) == 0


def test_the_pixel_limit_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    picture(100, 60).save(tmp_path / "big.png")
    ref = ImageRef(path=tmp_path / "big.png")
    with pytest.raises(ImageError, match=r"got 100x60 = 6000 pixels, expected between 1 and 5999"):
        ImageStore(max_image_pixels=5999).open(ref)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow alone would refuse 6000
    assert ImageStore().open(ref).size == (100, 60)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_the_cache_is_bounded_by_bytes_and_drops_the_oldest():
    made: list[str] = []

    def make(name: str) -> Image.Image:
        made.append(name)
        return Image.new("RGB", (10, 10))

    refs = {name: ImageRef(make=partial(make, name), key=name) for name in "abc"}
    store = ImageStore(max_bytes=2 * 10 * 10 * 4)
    first = store.open(refs["a"])
    store.open(refs["b"])
    assert store.open(refs["a"]) is first and made == ["a", "b"]
    store.open(refs["c"])  # b is the least recently used
    assert (len(store), store.bytes) == (2, 800)
    assert store.open(refs["a"]) is first
    store.open(refs["b"])
    assert made == ["a", "b", "c", "b"]


def test_an_image_larger_than_the_cache_is_still_decoded_once():
    store = ImageStore(max_bytes=1)
    ref = ImageRef(make=partial(picture, 20, 20), key="large")
    assert store.open(ref) is store.open(ref)


def test_a_pickled_store_leaves_its_images_behind():
    store = ImageStore()
    store.open(ImageRef(make=partial(picture, 500, 500), key="x"))
    data = pickle.dumps(store)
    assert len(data) < 1000
    copy = pickle.loads(data)
    assert len(copy) == 0 and copy.bytes == 0 and len(store) == 1
