"""The process in which libvips runs: reads requests from stdin, answers on stdout.

Started by `vips.py` and by path, so that it loads nothing of the package. A message is four bytes
of length, big endian, and that many bytes of JSON; what it calls `bytes` follows as that many raw
bytes. Requests, each with `loader` (of libvips) and `path`, or `bytes` for an encoded image:

spill    decode the image from top to bottom into a file, whose descriptor comes through the socket
         that the first argument names
region   decode the rectangle `rect` (left, top, right, bottom) of `page` and `subifd`; the pixels
         come back as raw bytes

Replies hold `size` and `mode` (see `regions.Layout`), or `error`. The first reply, without a
request, holds the version of libvips. Ends with its parent.
"""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import struct
import sys
from collections import OrderedDict
from typing import Any, BinaryIO

import pyvips

KEPT_OPEN = 4
"""Files whose headers and tile tables stay in memory between regions."""
MEMORY_LIMIT = 4 << 30
"""Bytes of its own; an image that needs more is an error rather than the end of other processes."""
PATIENCE = 5.0
"""Seconds between two looks at whether the parent still lives."""

_MODES = {("uchar", 1): "L", ("uchar", 2): "LA", ("uchar", 3): "RGB", ("uchar", 4): "RGBA"}

_open: OrderedDict[tuple[Any, ...], Any] = OrderedDict()


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    parent = os.getppid()
    send(sink, {"version": ".".join(str(pyvips.version(part)) for part in range(3))})
    while wait_for(source, parent):
        try:
            (length,) = struct.unpack(">I", read(source, 4))
        except EOFError:
            return
        request = json.loads(read(source, length))
        data = read(source, request.get("bytes", 0))
        try:
            reply, pixels = answer(request, data)
        except Exception as error:  # whatever libvips says of this image
            reply, pixels = {"error": " ".join(str(error).split()) or repr(error)}, b""
        send(sink, reply, pixels)


def answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Any]:
    if request["op"] == "spill":
        descriptor = received()
        try:
            image = normal(load(request, data, access="sequential"))
            image.rawsave(f"/dev/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return layout(image), b""
    image = opened(request)
    left, top, right, bottom = request["rect"]
    pixels = image.crop(left, top, right - left, bottom - top).write_to_memory()
    return layout(image), pixels


def load(request: dict[str, Any], data: bytes, **options: Any) -> Any:
    options["fail_on"] = "truncated"
    if data:
        return getattr(pyvips.Image, f"{request['loader']}_buffer")(data, **options)
    return getattr(pyvips.Image, request["loader"])(request["path"], **options)


def received() -> int:
    """The descriptor that was sent with a request."""
    with socket.socket(fileno=os.dup(int(sys.argv[1]))) as files:
        return socket.recv_fds(files, 1, 1)[1][0]


def opened(request: dict[str, Any]) -> Any:
    found = os.stat(request["path"])  # a file that has changed is opened again
    state = (found.st_mtime_ns, found.st_size, found.st_ino)
    key = (request["path"], request["page"], request["subifd"], *state)
    if key not in _open:
        page, subifd = request["page"], request["subifd"]
        _open[key] = normal(load(request, b"", access="random", page=page, subifd=subifd))
        while len(_open) > KEPT_OPEN:
            _open.popitem(last=False)
    _open.move_to_end(key)
    return _open[key]


def normal(image: Any) -> Any:
    """8 bits per sample; 16 for grey alone. Pillow drops the low bytes of coloured images."""
    if image.format == "ushort" and image.bands > 1:
        image = (image >> 8).cast("uchar")
    mode_of(image)
    return image


def mode_of(image: Any) -> str:
    if image.interpretation == "cmyk" and (image.format, image.bands) == ("uchar", 4):
        return "CMYK"
    if (image.format, image.bands) == ("ushort", 1):
        return "I;16"
    if (image.format, image.bands) in _MODES:
        return _MODES[image.format, image.bands]
    raise ValueError(f"{image.bands} bands of {image.format} are not supported")


def layout(image: Any) -> dict[str, Any]:
    return {"size": [image.width, image.height], "mode": mode_of(image)}


def wait_for(source: BinaryIO, parent: int) -> bool:
    """Wait for a request; False when there will be none. A process forked off the parent may hold
    the other end of the pipe open for longer than the parent lives."""
    while not select.select([source], [], [], PATIENCE)[0]:
        if os.getppid() != parent:
            return False
    return True


def read(source: BinaryIO, length: int) -> bytes:
    parts = []
    while length:
        part = source.read(length)
        if not part:
            raise EOFError("the request ends too early")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def send(sink: BinaryIO, message: dict[str, Any], pixels: Any = b"") -> None:
    text = json.dumps({**message, "bytes": len(pixels)}).encode()
    for part in (struct.pack(">I", len(text)) + text, pixels):
        view = memoryview(part)
        while view:
            view = view[sink.write(view) or 0 :]


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    pyvips.cache_set_max(0)
    with open(0, "rb", buffering=0) as stdin, open(1, "wb", buffering=0) as stdout:
        serve(stdin, stdout)
