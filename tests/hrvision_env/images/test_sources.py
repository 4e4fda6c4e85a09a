"""Images in every form in which datasets hold them."""

from __future__ import annotations

import base64
import io
from functools import partial
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hrvision_env.images import ImageError, ImageStore, ref_from
from hrvision_env.records import ImageRef

from ..conftest import picture

PHOTO = picture(60, 40)


def encoded(kind: str) -> bytes:
    out = io.BytesIO()
    PHOTO.save(out, kind)
    return out.getvalue()


PNG = encoded("PNG")
TEXT = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "value",
    [
        PNG,
        bytearray(PNG),
        memoryview(PNG),
        TEXT,
        "\n".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76)) + "\n",
        f"data:image/png;base64,{TEXT}",
        {"bytes": PNG, "path": "elsewhere.png"},
        {"bytes": PNG, "path": None},
        PHOTO,
    ],
)
def test_the_same_image_in_many_forms(value):
    ref = ref_from(value)
    assert ImageStore().open(ref) == PHOTO
    assert ref.key.startswith("sha256:") and len(ref.key) == 39
    assert ref_from(value, "mine").key == "mine"


def test_equal_content_shares_a_key():
    assert ref_from(PNG).key == ref_from(TEXT).key == ref_from({"bytes": PNG}).key
    assert ref_from(PNG).key != ref_from(encoded("BMP")).key
    assert ref_from(PHOTO).key == ref_from(PHOTO.copy()).key != ref_from(picture(60, 41)).key
    assert ref_from(PHOTO).key != ref_from(picture(40, 60)).key


def test_what_is_seen_of_an_image_makes_its_key():
    """The same stored pixels with another palette, transparency or orientation look different."""
    plain = Image.new("P", (4, 2), 1)
    plain.putpalette([0, 0, 0, 200, 0, 0])
    other, keyed, turned = plain.copy(), plain.copy(), plain.copy()
    other.putpalette([0, 0, 0, 0, 0, 200])
    keyed.info["transparency"] = 1
    turned.getexif()[0x0112] = 6
    refs = [ref_from(image) for image in (plain, other, keyed, turned)]
    store = ImageStore()
    seen = [store.open(ref) for ref in refs]
    assert [image.getpixel((0, 0)) for image in seen] == [
        (200, 0, 0), (0, 0, 200), (255, 255, 255), (200, 0, 0)
    ]  # fmt: skip
    assert [image.size for image in seen] == [(4, 2)] * 3 + [(2, 4)]
    assert len({ref.key for ref in refs}) == 4
    assert ref_from(plain.convert("RGB")).key == refs[0].key


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_base64_of_every_format_is_told_from_a_path(kind):
    """That of a JPEG begins like a path, with a slash."""
    text = base64.b64encode(encoded(kind)).decode()
    assert text.startswith("/9j/") == (kind == "JPEG")
    assert ImageStore().open(ref_from(text)).size == (60, 40)


@pytest.mark.parametrize("form", [str, Path, PurePath, lambda p: {"path": str(p), "bytes": None}])
def test_paths(tmp_path: Path, form):
    path = tmp_path / "a.png"
    ref = ref_from(form(path))  # it need not exist yet
    assert (ref.path, ref.key) == (path, str(path))
    PHOTO.save(path)
    assert ImageStore().open(ref) == PHOTO


@pytest.mark.parametrize("name", ["/9j/4AAQ.jpg", "9j", "photo", "a b.png", "Qk1/scan"])
def test_paths_that_look_like_base64(name):
    assert ref_from(name).path == Path(name)


def test_references_are_kept():
    ref = ImageRef(make=partial(picture, 60, 40), key="made")
    assert ref_from(ref) == ref
    assert ref_from(ref, "anew") == ImageRef(make=ref.make, key="anew")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "image 'q3': got NoneType None, expected a path, bytes, base64, a cell"),
        (3.5, "got float 3.5"),
        ([PNG], "got list"),
        (b"", "not zero bytes"),
        ("", "expected a path or an image in base64"),
        ("a\0b", "expected a path or an image in base64"),
        ("x" * 100_000, "expected a path or an image in base64"),
        ("data:image/png,abc", "expected a data URL in base64"),
        ("data:image/png;base64", "expected a data URL in base64"),
        ("data:image/png;base64,%%%", "expected base64"),
        ("data:image/png;base64,", "not zero bytes"),
        ({}, "expected a cell with 'bytes' or with a 'path'"),
        ({"bytes": None, "path": None}, "expected a cell with 'bytes' or with a 'path'"),
        ({"bytes": None, "path": ""}, "expected a cell with 'bytes' or with a 'path'"),
        ({"bytes": "text"}, "expected bytes in the cell's field 'bytes'"),
    ],
)
def test_anything_else_is_refused(value, message):
    with pytest.raises(ImageError) as caught:
        ref_from(value, "q3")
    assert message in str(caught.value) and "image 'q3'" in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.one_of(st.text(), st.binary(), st.integers(), st.dictionaries(st.text(), st.binary())))
def test_nothing_else_is_raised(value):
    try:
        assert ref_from(value).key
    except ImageError as error:
        assert str(error).startswith("image: got ")


def test_an_image_whose_pixels_change_keeps_its_place_in_the_cache():
    """A reference stands for what the image was when it was first opened."""
    mine = Image.new("RGB", (20, 20), "red")
    ref, store = ref_from(mine), ImageStore()
    assert store.open(ref).getpixel((0, 0)) == (255, 0, 0)
    mine.paste("blue", (0, 0, 20, 20))
    assert store.open(ref).getpixel((0, 0)) == (255, 0, 0)
