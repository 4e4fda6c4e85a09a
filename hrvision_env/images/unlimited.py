"""Pillow's global limit of pixels, out of the way while a file is opened."""

from __future__ import annotations

import os
import threading

from PIL import Image


class Unlimited:
    """Lifts `Image.MAX_IMAGE_PIXELS` while anybody is inside; the store checks its own limit.

    The limit is a global of Pillow: other threads that open images in these moments do it without
    one. What somebody sets meanwhile stays.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limit: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._leave(1)

    def after_fork(self) -> None:
        """The threads that were inside do not exist in the child."""
        self._lock = threading.Lock()
        if self._inside:
            self._leave(self._inside)

    def _leave(self, count: int) -> None:
        self._inside -= count
        if not self._inside and Image.MAX_IMAGE_PIXELS is None:
            Image.MAX_IMAGE_PIXELS = self._limit


unlimited = Unlimited()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=unlimited.after_fork)
