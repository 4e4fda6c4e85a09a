"""libvips: images larger than the cache, and where it is faster than Pillow. Needs pyvips."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from .photos import SIZES, write_photo

Result = dict[str, Any]

CACHE_MB = 128
GIGAPIXEL = (32768, 32768)
VIEW = {"2k": (1148, 840), "4k": (1316, 728), "8k": (1316, 728), "16k": (1148, 840)}
REGION = 0.1
"""Side of the region that is read, of the image's."""


def large_images(folder: Path, run_case: Callable[..., Result]) -> list[Result]:
    """Memory and time of the store with images that do not fit into its cache.

    With libvips, and without it where the image is small enough to be decoded by Pillow.
    """
    files = [_file(folder, "16k", kind) for kind in (".jpg", ".png")]
    for name, pyramid in (("gigapixel", False), ("gigapixel_pyramid", True)):
        files.append(folder / f"{name}.tif")
        _run("write", source=str(files[0]), target=str(files[-1]), pyramid=pyramid)
    rows = []
    for path in files:
        for decoder in ("libvips",) if "gigapixel" in path.name else ("libvips", "Pillow"):
            request = {"cache_mb": CACHE_MB, "crops": 9, "use_vips": decoder == "libvips"}
            found = run_case("large", path=str(path), **request)
            rows.append({"image": path.name, "decoder": decoder, **found})
    return rows


def compare(folder: Path) -> list[Result]:
    """Milliseconds of both for the same work, by format and size."""
    rows = []
    for size in SIZES:
        for suffix in (".jpg", ".png", ".tif"):
            path = _file(folder, size, suffix)
            repeats = 1 if size == "16k" else 3
            found = _run("compare", path=str(path), view=VIEW[size], repeats=repeats)
            rows.append({"image": path.name, **found})
    return rows


def _file(folder: Path, size: str, suffix: str) -> Path:
    path = folder / f"{size}{suffix}"
    if not path.exists():
        if suffix == ".tif":
            source = _file(folder, size, ".jpg")
            _run("write", source=str(source), target=str(path), pyramid=False)
        else:
            write_photo(path, size)
    return path


def _run(case: str, **request: Any) -> Result:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.vips_cases", json.dumps([case, request])],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    result: Result = json.loads(done.stdout)
    return result


# -- in a process of its own, in which libvips is loaded


def write(source: str, target: str, pyramid: bool) -> Result:
    """A TIFF of JPEG tiles; a gigapixel one repeats the source."""
    import pyvips

    image = pyvips.Image.new_from_file(source)
    if "gigapixel" in target:
        wide, high = GIGAPIXEL
        image = image.replicate(-(-wide // image.width), -(-high // image.height))
        image = image.crop(0, 0, wide, high)
    image.tiffsave(
        target, tile=True, tile_width=256, tile_height=256, compression="jpeg", pyramid=pyramid
    )
    return {}


def compare_one(path: str, view: tuple[int, int], repeats: int) -> Result:
    """Whole image into memory; the view, by the quickest way of each; a region of 10% x 10%."""
    import pyvips

    pyvips.cache_set_max(0)
    Image.MAX_IMAGE_PIXELS = None

    def whole_pillow() -> Image.Image:
        with Image.open(path) as image:
            image.load()
            return image

    def view_pillow() -> None:
        with Image.open(path) as image:
            if image.format == "JPEG":
                image.draft(None, (2 * view[0], 2 * view[1]))
            image.resize(view, Image.Resampling.BICUBIC)

    def view_vips() -> None:
        wide, high = view
        pyvips.Image.thumbnail(path, wide, height=high, size="force").write_to_memory()

    def region(wide: int, high: int) -> tuple[int, int, int, int]:
        x, y = wide * 45 // 100, high * 45 // 100
        return x, y, int(wide * REGION), int(high * REGION)

    def region_pillow() -> None:
        image = whole_pillow()
        x, y, wide, high = region(*image.size)
        image.crop((x, y, x + wide, y + high))

    def region_vips() -> None:
        tiled = path.endswith(".tif")
        image = pyvips.Image.new_from_file(path, access="random" if tiled else "sequential")
        image.crop(*region(image.width, image.height)).write_to_memory()

    return {
        "whole_pillow": _ms(whole_pillow, repeats),
        "whole_vips": _ms(lambda: pyvips.Image.new_from_file(path).write_to_memory(), repeats),
        "view_pillow": _ms(view_pillow, repeats),
        "view_vips": _ms(view_vips, repeats),
        "region_pillow": _ms(region_pillow, repeats),
        "region_vips": _ms(region_vips, repeats),
    }


def _ms(work: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(times), 1)


if __name__ == "__main__":
    name, arguments = json.loads(sys.argv[1])
    case: Callable[..., Result] = write if name == "write" else compare_one
    print(json.dumps(case(**arguments)))
