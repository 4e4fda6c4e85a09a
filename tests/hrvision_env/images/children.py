"""Run a function in a forked child of the test process."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable


def in_child(check: Callable[[], object], seconds: float = 60) -> str:
    """Call `check` in a child; "" if it came back without an exception, else what happened."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(source)
        try:
            check()
        except BaseException:
            os.write(sink, traceback.format_exc().encode()[:8000])
        finally:
            os._exit(0)
    os.close(sink)
    limit = time.monotonic() + seconds
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > limit:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(source)
            return f"the child hangs after {seconds} seconds"
        time.sleep(0.01)
    with os.fdopen(source) as file:
        return file.read()
