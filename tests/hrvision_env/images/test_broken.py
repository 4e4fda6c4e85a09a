"""Files that are broken, hostile or unusual: each opens properly or gives the documented error."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hrvision_env.images import Budget, ImageError, ImageStore, vips
from hrvision_env.images.decode import PNG_SIGNATURE
from hrvision_env.records import Box, ImageRef

from ..conftest import picture
from .tiffs import png_chunks, write_tiff

BUDGET = Budget(28, 28 * 28, 28 * 28 * 20)
PHOTO = picture(160, 120)

OPENS, FAILS, EITHER = "opens", "fails", "either"


def encoded(kind: str, image: Image.Image = PHOTO, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def frames(count: int) -> list[Image.Image]:
    return [picture(160, 120, seed) for seed in range(1, count)]


def png_of(width: int, height: int, data: bytes) -> bytes:
    """A grey PNG whose header may promise anything."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose header promises another size than its data hold."""
    data = bytearray(encoded("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def ycck() -> bytes:
    """Four channels of which the first three are YCbCr, as the Adobe marker then says."""
    data = bytearray(encoded("JPEG", PHOTO.convert("CMYK")))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


ENCODED = {
    "jpg": encoded("JPEG"),
    "progressive.jpg": encoded("JPEG", progressive=True),
    "png": encoded("PNG"),
    "tif": encoded("TIFF"),
    "lzw.tif": encoded("TIFF", compression="tiff_lzw"),
    "gif": encoded("GIF"),
    "webp": encoded("WEBP"),
    "bmp": encoded("BMP"),
}


def truncated() -> Iterator[tuple[str, bytes, str]]:
    for name, data in ENCODED.items():
        for part in (1, 2, 4, 8, 20, 50, 100, len(data) // 4, len(data) // 2, len(data) - 100):
            # Of a TIFF the directory may stand at either end; a GIF may be cut in its palette.
            yield f"cut_{part}.{name}", data[:part], FAILS if part < 8 else EITHER
    for name in ("jpg", "png", "lzw.tif"):  # half of the pixels: never shown as if it were whole
        yield f"half.{name}", ENCODED[name][: len(ENCODED[name]) // 2], FAILS


def flipped() -> Iterator[tuple[str, bytes, str]]:
    """One bit wrong, most of them in the header."""
    rng = np.random.default_rng(7)
    for name, data in ENCODED.items():
        for _ in range(18):
            place = int(rng.integers(0, 100 if rng.random() < 0.7 else len(data)))
            wrong = bytearray(data)
            wrong[place] ^= 1 << int(rng.integers(8))
            yield f"flip_{place}_{wrong[place]}.{name}", bytes(wrong), EITHER


def bombs() -> Iterator[tuple[str, bytes, str]]:
    nothing = zlib.compress(bytes(1000))
    yield "bomb_wide.png", png_of(2_000_000_000, 2_000_000_000, nothing), FAILS
    yield "bomb_line.png", png_of(2_000_000_000, 1, nothing), FAILS
    yield "bomb_short.png", png_of(17_000, 17_000, nothing), FAILS  # within the limit, but empty
    yield "bomb_zip.png", png_of(100, 10, zlib.compress(bytes(50_000_000))), EITHER
    yield "bomb.jpg", jpeg_of(65_500, 65_500), FAILS
    yield "short.jpg", jpeg_of(2000, 2000), EITHER  # decoders take the missing blocks for grey
    yield "none_wide.png", png_of(0, 10, nothing), FAILS
    yield "none_high.png", png_of(10, 0, nothing), FAILS
    yield "none.jpg", jpeg_of(0, 0), FAILS
    yield "gif_bomb.gif", b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0;", FAILS
    head = struct.pack("<IiiHHIIiiII", 40, 1_000_000, 1_000_000, 1, 24, 0, 0, 0, 0, 0, 0)
    yield "bomb.bmp", b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head, FAILS


def junk() -> Iterator[tuple[str, bytes, str]]:
    yield "empty.jpg", b"", FAILS
    yield "zeros.png", bytes(10_000), FAILS
    yield "text.png", b"no image at all\n" * 100, FAILS
    yield "page.jpg", b"<html><body>404 Not Found</body></html>", FAILS
    yield "vector.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', FAILS
    yield "signature.png", PNG_SIGNATURE, FAILS
    yield "no_pixels.png", PNG_SIGNATURE + png_chunks(ENCODED["png"])[0], FAILS
    yield "reversed.jpg", ENCODED["jpg"][::-1], FAILS
    yield "loop.tif", b"II*\0\x08\0\0\0\x01\0\0\x01\x04\0\x01\0\0\0\x0a\0\0\0\x08\0\0\0", FAILS
    yield "twice.jpg", ENCODED["jpg"] * 2, OPENS
    yield "tail.png", ENCODED["png"] + b"rubbish" * 100, OPENS
    yield "checksum.png", _wrong_checksum(), EITHER


def _wrong_checksum() -> bytes:
    chunks = png_chunks(ENCODED["png"])
    at = next(n for n, chunk in enumerate(chunks) if chunk[4:8] == b"IDAT")
    chunks[at] = chunks[at][:-1] + bytes([chunks[at][-1] ^ 1])
    return PNG_SIGNATURE + b"".join(chunks)


def unusual() -> Iterator[tuple[str, bytes, str]]:
    deep = Image.fromarray(np.asarray(PHOTO.convert("L")).astype(np.uint16) * 257)
    for name, data in {
        "png_named.jpg": ENCODED["png"],
        "jpeg_named.png": ENCODED["jpg"],
        "tiff_named.webp": ENCODED["tif"],
        "no_name": ENCODED["gif"],
        "cmyk.jpg": encoded("JPEG", PHOTO.convert("CMYK")),
        "ycck.jpg": ycck(),
        "grey.jpg": encoded("JPEG", PHOTO.convert("L")),
        "deep.png": encoded("PNG", deep),
        "deep.tif": encoded("TIFF", deep),
        "float.tif": encoded("TIFF", Image.fromarray(np.asarray(PHOTO.convert("L"), np.float32))),
        "moving.gif": encoded("GIF", save_all=True, append_images=frames(4)),
        "moving.webp": encoded("WEBP", save_all=True, append_images=frames(4)),
        "moving.png": encoded("PNG", save_all=True, append_images=frames(4)),
        "pages.tif": encoded("TIFF", save_all=True, append_images=frames(4)),
        "stereo.mpo": encoded("MPO", save_all=True, append_images=frames(2)),
        "exif.jpg": encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
        "comment.jpg": encoded("JPEG", comment=b"\\boxed{A}" * 1000),
        "icc.jpg": encoded("JPEG", icc_profile=b"not a profile" * 10),
        "icc.png": encoded("PNG", icc_profile=b"not a profile" * 10),
    }.items():
        yield name, data, OPENS


FILES = {
    name: (data, outcome)
    for make in (truncated, flipped, bombs, junk, unusual)
    for name, data, outcome in make()
}


def test_there_are_enough_of_them():
    assert len(FILES) >= 240
    assert sum(outcome == FAILS for _, outcome in FILES.values()) >= 40
    assert sum(outcome == OPENS for _, outcome in FILES.values()) >= 20


@pytest.fixture(scope="module", params=["pillow", "libvips"])
def store(request: pytest.FixtureRequest) -> Iterator[ImageStore]:
    if request.param == "libvips" and not vips.installed():
        pytest.skip("needs pyvips")
    # Too small for any image: libvips decodes whatever it can.
    made = ImageStore(max_bytes=1000) if request.param == "libvips" else ImageStore(use_vips=False)
    yield made
    made.close()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_it_opens_or_says_why_not(tmp_path: Path, store: ImageStore, name):
    data, outcome = FILES[name]
    path = tmp_path / name
    path.write_bytes(data)
    ref = ImageRef(path=path)
    try:
        size = store.size(ref, "q7")
        view, frame = store.view(ref, BUDGET, "q7")
        whole = Box(0, 0, *frame.original)
        crop, _ = store.crop(ref, whole, BUDGET, "q7")
    except ImageError as error:
        assert "sample 'q7'" in str(error) and name in str(error) and len(str(error)) < 1000
        assert outcome != OPENS, error
        return
    assert outcome != FAILS
    assert size == frame.original and crop.size == view.size == BUDGET.fit(*size)
    assert view.mode == crop.mode == "RGB" and view.info == crop.info == {}


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp", "moving.png", "pages.tif"])
def test_of_several_frames_the_first_is_shown(store: ImageStore, name):
    out = store.open(ImageRef(data=FILES[name][0], key=name))
    assert np.abs(np.asarray(out, int) - np.asarray(PHOTO, int)).mean() < 12
    assert np.abs(np.asarray(out, int) - np.asarray(frames(2)[0], int)).mean() > 40


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not vips.installed(), reason="needs pyvips")
@pytest.mark.parametrize("name", [name for name, (_, outcome) in FILES.items() if outcome == OPENS])
def test_both_decoders_agree(name):
    streaming, plain = ImageStore(max_bytes=1000), ImageStore(use_vips=False)
    ref = ImageRef(data=FILES[name][0], key=name)
    assert streaming.open(ref) == plain.open(ref)
    streaming.close()


def test_what_is_no_file(tmp_path: Path, store: ImageStore):
    folder = tmp_path / "folder.jpg"
    folder.mkdir()
    for path, reason in [
        (folder, "is no regular file"),
        (tmp_path / "gone.jpg", "the file does not exist"),
        (Path("/dev/zero"), "is no regular file"),
        (tmp_path / ("x" * 300), "File name too long"),
    ]:
        with pytest.raises(ImageError, match=rf"sample 'q'.*{path.name}.*{reason}"):
            store.view(ImageRef(path=path), BUDGET, "q")


def test_a_pipe_does_not_block(tmp_path: Path, store: ImageStore):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="is no regular file"):
        store.view(ImageRef(path=tmp_path / "pipe.jpg"), BUDGET)


def test_a_pyramid_with_a_broken_level(tmp_path: Path, store: ImageStore):
    """The level that the view needs lies behind the end of the file."""
    levels = [np.zeros((400 >> k, 600 >> k, 3), np.uint8) for k in range(2)]
    path = write_tiff(tmp_path / "p.tif", levels)
    data = bytearray(path.read_bytes())
    offsets = struct.pack("<HHI", 324, 4, 20)  # tiles of the level: 5 x 4
    at = data.index(offsets)
    place = struct.unpack("<I", data[at + 8 : at + 12])[0]
    data[place : place + 4] = struct.pack("<I", len(data) + 1000)
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"sample 'q'.*p\.tif"):
        store.view(ImageRef(path=path), Budget(4, 16, 5400), "q")
