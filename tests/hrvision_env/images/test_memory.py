"""What decoding takes, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from hrvision_env.images.decode import read_header
from hrvision_env.records import ImageRef

MEASURE = """
import sys
from pathlib import Path
from hrvision_env.images.decode import decode
from hrvision_env.records import ImageRef

def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])

decode(ImageRef(path=Path(sys.argv[1])))  # loads the decoder
before = kilobytes("VmRSS:")
decode(ImageRef(path=Path(sys.argv[2])))
print((kilobytes("VmHWM:") - before) * 1024)
"""
SIZE = (2000, 1500)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("TIFF", "RGB", {}),
        ("WEBP", "RGB", {"method": 0}),
        ("WEBP", "RGBA", {"method": 0}),
        ("AVIF", "RGB", {"speed": 10}),
        ("AVIF", "RGBA", {"speed": 10}),
        ("JPEG2000", "RGB", {}),
    ],
)
def test_decoding_takes_what_the_header_promises(tmp_path: Path, kind, mode, options):
    needed = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}.get(kind)
    if needed is not None and not features.check(needed):
        pytest.skip(f"Pillow without {kind}")
    large, small = save(tmp_path, SIZE, kind, mode, options), save(tmp_path, (60, 40), kind, mode)
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, small, large], capture_output=True, text=True, check=True
    )
    measured = int(found.stdout)
    promised = read_header(ImageRef(path=large)).decoding_bytes
    assert 0.9 * measured <= promised <= 1.8 * measured


def save(
    folder: Path, size: tuple[int, int], kind: str, mode: str, options: dict[str, Any] | None = None
) -> Path:
    values = np.linspace(0, 255, size[0] * size[1] * 4).reshape(size[1], size[0], 4)
    path = folder / f"{size[0]}"
    Image.fromarray(values.astype(np.uint8)).convert(mode).save(path, kind, **(options or {}))
    return path
