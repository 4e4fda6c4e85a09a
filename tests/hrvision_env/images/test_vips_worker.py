"""The process in which libvips runs: it may crash, be forked away from, and never stays behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hrvision_env.images import FILTER, Budget, ImageError, ImageStore, vips
from hrvision_env.records import Box, ImageRef

from ..conftest import picture
from .children import in_child
from .tiffs import write_tiff

pytestmark = pytest.mark.skipif(not vips.installed(), reason="needs pyvips")

BUDGET = Budget(28, 28 * 28 * 4, 28 * 28 * 60)
BOX = Box(100.3, 77.7, 380.2, 301.4)
PHOTO = picture(700, 500)


def test_a_worker_that_dies_fails_one_image_only(tmp_path: Path):
    PHOTO.save(tmp_path / "a.png")
    PHOTO.save(tmp_path / "b.png")
    store = ImageStore(max_bytes=1000)
    worker = store._originals.worker
    worker.start()
    process = worker._process
    assert process is not None
    real_send = vips._send

    def send_and_die(process, message, data):
        os.kill(process.pid, signal.SIGSTOP)
        real_send(process, message, data)
        os.kill(process.pid, signal.SIGKILL)

    vips._send = send_and_die
    try:
        with pytest.raises(ImageError, match=r"sample 'q'.*a\.png.*ended with code -9"):
            store.view(ImageRef(path=tmp_path / "a.png"), BUDGET, "q")
    finally:
        vips._send = real_send
    assert store.view(ImageRef(path=tmp_path / "b.png"), BUDGET)[1].original == (700, 500)
    assert worker._process is not None and worker._process.pid != process.pid
    store.close()


def test_pillow_takes_over_where_libvips_cannot_be_loaded(tmp_path: Path, monkeypatch):
    PHOTO.save(tmp_path / "a.png")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    store = ImageStore(max_bytes=1000)
    view, _ = store.view(ImageRef(path=tmp_path / "a.png"), BUDGET)
    assert view == PHOTO.resize(view.size, FILTER)
    assert isinstance(store._originals.source(ImageRef(path=tmp_path / "a.png")), Image.Image)


def test_close_ends_the_worker(tmp_path: Path):
    PHOTO.save(tmp_path / "a.png")
    store = ImageStore(max_bytes=1000)
    store.view(ImageRef(path=tmp_path / "a.png"), BUDGET)
    process = store._originals.worker._process
    assert process is not None and process.poll() is None
    store.close()
    assert process.poll() == 0


def test_the_worker_ends_with_its_store(tmp_path: Path):
    store = ImageStore(max_bytes=1000)
    store._originals.worker.start()
    process = store._originals.worker._process
    del store
    gc.collect()
    assert process is not None and process.poll() == 0


def test_the_worker_ends_with_a_parent_that_is_killed(tmp_path: Path):
    code = (
        "import os, signal\n"
        "from hrvision_env.images import ImageStore\n"
        "store = ImageStore(max_bytes=1000)\n"
        "store._originals.worker.start()\n"
        "print(store._originals.worker._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    for _ in range(500):
        if not os.path.exists(f"/proc/{int(out)}"):
            return
        threading.Event().wait(0.02)
    pytest.fail("the worker lives on")


def test_a_parent_that_is_killed_leaves_no_file(tmp_path: Path):
    """Its end comes while the worker decodes into a file."""
    (tmp_path / "spill").mkdir()
    PHOTO.save(tmp_path / "a.png")
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from hrvision_env.images import Budget, ImageStore, vips\n"
        "from hrvision_env.records import ImageRef\n"
        "real = vips._send\n"
        "def send_and_die(process, message, data):\n"
        "    real(process, message, data)\n"
        "    assert message['op'] == 'spill'\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "vips._send = send_and_die\n"
        "store = ImageStore(max_bytes=1000, temp_dir=sys.argv[1] + '/spill')\n"
        "store.view(ImageRef(path=Path(sys.argv[1], 'a.png')), Budget())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert list((tmp_path / "spill").iterdir()) == []


def test_a_failed_image_does_not_disturb_the_next_one(tmp_path: Path):
    """Each request has a file of its own, whether it was written to or not."""
    store = ImageStore(max_bytes=1000)
    for seed in range(3):
        photo = picture(700, 500, seed=seed)
        photo.save(tmp_path / f"{seed}.png")
        (tmp_path / "bad.png").write_bytes((tmp_path / f"{seed}.png").read_bytes()[:60])
        with pytest.raises(ImageError):
            store.view(ImageRef(path=tmp_path / "bad.png"), BUDGET)
        assert store.open(ImageRef(path=tmp_path / f"{seed}.png")) == photo
    store.close()


def test_a_forked_child_gets_a_worker_of_its_own(tmp_path: Path):
    path = write_tiff(tmp_path / "t.tif", [np.asarray(PHOTO)])
    PHOTO.save(tmp_path / "a.png")
    tiled, png = ImageRef(path=path), ImageRef(path=tmp_path / "a.png")
    store = ImageStore(max_bytes=1000)
    expected = [store.crop(ref, BOX, BUDGET) for ref in (tiled, png)]
    process = store._originals.worker._process
    assert process is not None

    def check() -> None:
        for _ in range(20):
            assert [store.crop(ref, BOX, BUDGET) for ref in (tiled, png)] == expected
        worker = store._originals.worker._process
        assert worker is not None and worker.pid != process.pid
        store.close()

    assert in_child(check) == ""
    assert process.poll() is None  # the child has left it alone
    assert [store.crop(ref, BOX, BUDGET) for ref in (tiled, png)] == expected
    store.close()


def test_threads_share_the_worker(tmp_path: Path):
    path = write_tiff(tmp_path / "t.tif", [np.asarray(PHOTO)])
    ref, store = ImageRef(path=path), ImageStore(max_bytes=1000)
    boxes = [Box(20 * k, 10 * k, 20 * k + 300, 10 * k + 200) for k in range(8)]
    expected = [ImageStore().crop(ref, box, BUDGET) for box in boxes]
    wrong = []

    def work(k: int) -> None:
        for i in range(10):
            n = (k + i) % 8
            if store.crop(ref, boxes[n], BUDGET) != expected[n]:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == [] and store.stats.region_reads == 80
    store.close()
