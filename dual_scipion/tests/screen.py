"""A screen that exists in memory only, for windows on a machine without one."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import Iterator

WIDTH, HEIGHT = 1500, 1060
NO_XVFB = "Xvfb is not installed: apt-get install xvfb (it is a screen that exists in memory only)"


@contextmanager
def virtual_screen() -> Iterator[str]:
    """Start Xvfb, yield the name of its display, end it.

    Raises
    ------
    RuntimeError
        If it is not installed, or does not start.
    """
    program = shutil.which("Xvfb")
    if program is None:
        raise RuntimeError(NO_XVFB)
    reading, writing = os.pipe()
    # It looks for a free number itself and writes it down: two at a time cannot collide.
    command = [program, "-displayfd", str(writing), "-screen", "0", f"{WIDTH}x{HEIGHT}x24"]
    server = subprocess.Popen(
        [*command, "-nolisten", "tcp"], pass_fds=(writing,), stderr=subprocess.DEVNULL
    )
    try:
        os.close(writing)
        with os.fdopen(reading, encoding="ascii") as pipe:
            number = pipe.readline().strip()
        if not number:
            raise RuntimeError(f"{program} does not start; try it by hand")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()
