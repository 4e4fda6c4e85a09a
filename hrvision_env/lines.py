"""Files of lines that grow: JSON Lines of metrics and episodes."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def append_lines(path: Path, lines: bytes) -> None:
    """Append lines in one write, so that neither Ctrl-C nor a second writer leaves half of one.

    When the disk gets full meanwhile, the system takes a part and reports no error: lines that are
    whole stay, and half a line is cut off, so that no later one is glued to it. Raises OSError with
    the path.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(file).st_size
            written = os.write(file, lines)
            if written < len(lines):
                os.ftruncate(file, size + lines.rfind(b"\n", 0, written) + 1)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)
    except OSError as error:
        error.filename = str(path)
        raise
