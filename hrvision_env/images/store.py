"""The image store: every image is opened once, however many episodes and threads look at it."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ..records import Box, ImageRef
from . import vips
from .background import Background
from .frames import Budget, Frame, Size
from .originals import Limits, Originals, StoreStats, absolute
from .pixels import ImageError

PREFETCHED = 256
"""Images that wait at a time to be opened ahead; what comes on top is opened when it is needed."""


class ImageStore:
    """Views and crops of images: RGB PIL images, upright, without metadata.

    They are shared by reference: do not modify them. Decoded images stay in a least-recently-used
    cache of `max_bytes`; the newest original and the newest view stay in any case. A file that has
    changed is read again. Threads may share a store, and forked children may go on with it. Copies
    and pickles begin empty.

    max_bytes          memory for decoded images
    max_image_pixels   larger originals are refused. None: `MAX_IMAGE_PIXELS`, and 8 billion for
                       those that libvips streams
    max_disk_bytes     disk for decoded images that are larger than `max_bytes`
    temp_dir           where; None: the system's folder for temporary files
    threads            of `prefetch`
    use_vips           None: if pyvips is installed

    Everything raises ImageError, naming the sample and the image, for one that cannot be opened.
    """

    def __init__(
        self,
        max_bytes: int = 1 << 30,
        max_image_pixels: int | None = None,
        *,
        max_disk_bytes: int = 32 << 30,
        temp_dir: str | Path | None = None,
        threads: int = 2,
        use_vips: bool | None = None,
    ) -> None:
        folder = tempfile.gettempdir() if temp_dir is None else str(temp_dir)
        self._limits = Limits(max_bytes, max_disk_bytes, max_image_pixels, folder)
        self._threads = threads
        self._use_vips = vips.installed() if use_vips is None else use_vips
        self._begin()

    def _begin(self) -> None:
        self._originals = Originals(self._limits, self._use_vips)
        self._background = Background(self._threads, PREFETCHED)
        _stores.add(self)

    def size(self, ref: ImageRef, sample_id: str = "") -> Size:
        """Width and height of the upright original, from its header where that tells them."""
        with _naming(ref, sample_id):
            return self._originals.size(ref)

    def view(
        self, ref: ImageRef, budget: Budget, sample_id: str = "", image_index: int = 0
    ) -> tuple[Image.Image, Frame]:
        """The whole image as an agent sees it."""
        with _naming(ref, sample_id):
            image, original = self._originals.view(ref, budget)
        return image, Frame(original, image.size, None, image_index)

    def crop(
        self, ref: ImageRef, box: Box, budget: Budget, sample_id: str = ""
    ) -> tuple[Image.Image, Frame]:
        """A region of the original: what of the box lies inside the image, within the budget."""
        with _naming(ref, sample_id):
            image, original, region = self._originals.crop(ref, box, budget)
        return image, Frame(original, image.size, region, box.image_index)

    def open(self, ref: ImageRef, sample_id: str = "") -> Image.Image:
        """The whole original, in memory whatever `max_bytes` is; at most `MAX_IMAGE_PIXELS`."""
        with _naming(ref, sample_id):
            return self._originals.whole(ref)

    def prefetch(self, refs: Iterable[ImageRef], budget: Budget, originals: bool = False) -> None:
        """Make views ahead, on threads; `originals`: and open what crops will be cut from.

        One call per batch of questions. Only images that were used neither since the call before
        nor since the one before that are dropped for it: what does not fit beside the others is
        opened when it is needed. An image that fails is reported by who asks for it.
        """
        self._originals.cache.begin_round()
        for ref in map(absolute, refs):
            self._background.submit(partial(self._originals.view, ref, budget, ahead=True))
            if originals:
                self._background.submit(partial(self._originals.source, ref, ahead=True))

    @property
    def stats(self) -> StoreStats:
        """Counts since the store was made."""
        return self._originals.stats()

    @property
    def bytes(self) -> int:
        """Memory that the cache holds now."""
        return self._originals.cache.used.memory

    def __len__(self) -> int:
        """Originals and views in the cache."""
        return len(self._originals.cache)

    def clear(self) -> None:
        """Forget every image."""
        self._background.clear()
        self._originals.cache.clear()
        self._originals.headers.clear()

    def close(self) -> None:
        """Forget every image and end the worker process; the store can be used again."""
        self.clear()
        self._originals.worker.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"_limits": self._limits, "_threads": self._threads, "_use_vips": self._use_vips}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _after_fork(self) -> None:
        self._originals.after_fork()
        self._background = Background(self._threads, PREFETCHED)


@contextmanager
def _naming(ref: ImageRef, sample_id: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an ImageError that names the sample and the image."""
    try:
        yield
    except Exception as error:  # broken data raise almost any type
        kind = "" if isinstance(error, ImageError) else f"{type(error).__name__}: "
        reason = f"{kind}{error}"
        if isinstance(error, FileNotFoundError) and ref.path and not ref.path.exists():
            reason = "the file does not exist"
        where = f"sample {sample_id!r}: " if sample_id else ""
        raise ImageError(f"{where}image {ref.key!r}: {reason}") from error


_stores: weakref.WeakSet[ImageStore] = weakref.WeakSet()


def _renew_stores() -> None:
    for store in list(_stores):
        store._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_stores)
