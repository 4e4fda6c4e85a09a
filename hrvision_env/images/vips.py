"""libvips in a process of its own: images that are too large to be decoded in memory.

libvips decodes JPEG, PNG and TIFF from top to bottom in some tens of megabytes, and single tiles of
a TIFF. It runs in a worker process, so that its threads, memory and crashes stay out of the process
that trains, and that process may fork. Needs the packages `pyvips` and `pyvips-binary`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from ..records import ImageRef
from .decode import Header, Level
from .pixels import ImageError
from .regions import Layout, Rect

LOADERS = {"JPEG": "jpegload", "MPO": "jpegload", "PNG": "pngload", "TIFF": "tiffload"}
"""Formats of Pillow -> loaders of libvips."""
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I;16B")
"""Pillow's modes that both decode to the same pixels."""

PIPE_BYTES = 1 << 20


class VipsUnavailable(RuntimeError):
    """libvips cannot be started; the message says why."""


def installed() -> bool:
    """Is there a pyvips, on a system with named pipes and files without names."""
    return os.name == "posix" and importlib.util.find_spec("pyvips") is not None


def can_decode(header: Header) -> bool:
    """Does libvips give the same pixels as Pillow for such a file."""
    keyed = header.keyed and header.mode != "P"
    return header.format in LOADERS and header.mode in MODES and not keyed


class VipsWorker:
    """The worker process; started by the first request, and again after a crash.

    Threads may share it; it does one thing at a time. A forked child calls `abandon`.
    """

    def __init__(self, temp_dir: str) -> None:
        self._temp_dir = temp_dir
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._files: socket.socket | None = None  # descriptors go through it
        self._finalizer: Any = None
        self.version = ""

    def spill(self, ref: ImageRef, header: Header, out: int) -> Layout:
        """Decode an image, as stored, into an open file. Raises ImageError."""
        reply, _ = self._ask({"op": "spill", **_source(ref, header)}, ref.data, out)
        return _layout(reply, header.stored)

    def region(
        self, ref: ImageRef, header: Header, level: Level, rect: Rect
    ) -> tuple[Layout, bytearray]:
        """Decode a rectangle of an image file, as stored. Raises ImageError."""
        place = {"page": level.page, "subifd": level.subifd, "rect": rect}
        reply, data = self._ask({"op": "region", **place, **_source(ref, header)}, None)
        return _layout(reply, level.size), data

    def start(self) -> None:
        """Start the process. Raises VipsUnavailable."""
        with self._lock:
            self._running()

    def close(self) -> None:
        """End the process; the next request starts another."""
        with self._lock:
            self._end()

    def abandon(self) -> None:
        """Leave the process to the parent that this process was forked off."""
        self._lock = threading.Lock()
        self._end()

    # -- Inside

    def _ask(
        self, request: dict[str, Any], data: bytes | None, file: int | None = None
    ) -> tuple[dict[str, Any], bytearray]:
        with self._lock:
            process = self._running()
            try:
                if file is not None:
                    assert self._files is not None
                    socket.send_fds(self._files, [b"f"], [file])
                _send(process, request, data or b"")
                reply, pixels = _receive(process)
            except (OSError, EOFError) as error:
                self._end()
                code = process.returncode
                raise ImageError(f"the libvips process ended with code {code}") from error
            except BaseException:  # interrupted between request and reply
                self._end()
                raise
        if "error" in reply:
            raise ImageError(f"libvips: {reply['error']}")
        return reply, pixels

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        self._files, theirs = socket.socketpair()
        worker = str(Path(__file__).with_name("_vips_worker.py"))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", worker, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                bufsize=0,  # nothing of a parent's request must be left for a child to write
                start_new_session=True,  # Ctrl-C is for the parent
                env={**os.environ, "TMPDIR": self._temp_dir, "VIPS_BLOCK_UNTRUSTED": "1"},
            )
        self._finalizer = weakref.finalize(self, _stop, self._process, self._files, os.getpid())
        _widen(self._process)
        try:
            self.version = _receive(self._process)[0]["version"]
        except (OSError, EOFError) as error:
            self._end()
            raise VipsUnavailable("pyvips is installed, but libvips cannot be loaded") from error
        return self._process

    def _end(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._process = self._files = self._finalizer = None


def _stop(process: subprocess.Popen[bytes], files: socket.socket, owner: int) -> None:
    for pipe in (process.stdin, process.stdout, files):
        if pipe is not None:
            pipe.close()
    if os.getpid() != owner:  # a forked child has no say over it
        process.returncode = 0
        return
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _widen(process: subprocess.Popen[bytes]) -> None:
    """Larger pipes, where the system has them: pixels come through several times as fast."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        assert process.stdout is not None
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _source(ref: ImageRef, header: Header) -> dict[str, Any]:
    path = None if ref.path is None else str(ref.path.absolute())
    return {"loader": LOADERS[header.format], "path": path}


def _layout(reply: dict[str, Any], expected: tuple[int, int]) -> Layout:
    size = (reply["size"][0], reply["size"][1])
    if size != expected:
        raise ImageError(f"libvips: got {size[0]}x{size[1]}, expected {expected[0]}x{expected[1]}")
    return Layout(size, reply["mode"])


def _send(process: subprocess.Popen[bytes], message: dict[str, Any], data: bytes) -> None:
    assert process.stdin is not None
    text = json.dumps({**message, "bytes": len(data)}).encode()
    for part in (struct.pack(">I", len(text)) + text, data):
        view = memoryview(part)
        while view:
            view = view[process.stdin.write(view) or 0 :]


def _receive(process: subprocess.Popen[bytes]) -> tuple[dict[str, Any], bytearray]:
    (length,) = struct.unpack(">I", _read(process, 4))
    reply = json.loads(_read(process, length))
    return reply, _read(process, reply["bytes"])


def _read(process: subprocess.Popen[bytes], length: int) -> bytearray:
    assert process.stdout is not None
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = process.stdout.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("the libvips process closed its output")
        view = view[count:]
    return data
