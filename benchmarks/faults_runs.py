"""Runs for benchmarks/faults.py: each a process forked from this one; and disks that are small."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Iterator, Optional, Sequence, Tuple

PAGE = 4096


class Run:
    """A command in a process of its own that was forked from this one."""

    def __init__(
        self, words: Sequence[str], limit: Optional[int] = None, folder: Optional[Path] = None
    ) -> None:
        """``limit`` bytes for each file that it writes; temporary files in ``folder``."""
        self._told = tempfile.TemporaryFile()  # noqa: SIM115
        sys.stdout.flush()
        # SIGINT waits until the child may end by it: elsewhere it would go on as the parent.
        waiting = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.number = os.fork()
        if self.number != 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
        else:
            status = 70
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
                status = self._within(words, limit, folder)
            except SystemExit as end:
                status = int(end.code or 0)
            except KeyboardInterrupt:  # before the command began to listen
                status = 128 + signal.SIGINT
            except BaseException:
                traceback.print_exc()
            finally:
                for stream in (sys.stdout, sys.stderr):
                    with contextlib.suppress(OSError, ValueError):
                        stream.flush()
                os._exit(status)

    def _within(
        self, words: Sequence[str], limit: Optional[int], folder: Optional[Path]
    ) -> int:
        from dual_core.cli.main import main

        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(self._told.fileno(), 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        if folder is not None:
            tempfile.tempdir = str(folder)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error as of a full disk instead
        return main(list(words))

    def send_signal(self, number: int) -> None:
        """Nothing happens to one that has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.number, number)

    def ended(self, timeout: float = 600) -> Tuple[int, str]:
        """(status, what it said), with the status as `subprocess` has it."""
        until = time.monotonic() + timeout
        while True:
            number, status = os.waitpid(self.number, os.WNOHANG)
            if number:
                break
            if time.monotonic() > until:
                os.kill(self.number, signal.SIGKILL)
                os.waitpid(self.number, 0)
                return 124, f"not at its end after {timeout:.0f} s"
            time.sleep(0.003)
        self._told.seek(0)
        told = self._told.read().decode("utf-8", "replace")
        self._told.close()
        if os.WIFSIGNALED(status):
            return -os.WTERMSIG(status), told
        return os.WEXITSTATUS(status), told


def finished(
    words: Sequence[str], limit: Optional[int] = None, folder: Optional[Path] = None
) -> Tuple[int, str, float]:
    """Run a command to its end: (status, what it said, seconds)."""
    started = time.monotonic()
    status, told = Run(words, limit, folder).ended()
    return status, told, time.monotonic() - started


def import_everything() -> None:
    """What the commands import while they work; and networks are small, previews few."""
    import functools
    import importlib
    import pkgutil

    import dual_core
    from dual_core.networks.generators import NetworkConfig
    from dual_core.training import config, loop

    small = NetworkConfig((4, 6), noise_channels=(4, 4), code_size=4, noise_side=16,
                          discriminator_channels=(4, 6))
    for method in config.METHODS:
        config._METHODS[method]["network"] = small
    loop.RunOptions = functools.partial(loop.RunOptions, previews=1)

    for module in pkgutil.walk_packages(dual_core.__path__, "dual_core."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("matplotlib.backends.backend_agg", "skimage.metrics", "skimage.restoration",
                 "torch._dynamo", "PIL.Image", "gemmi"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[bool]:
    """A file system of so many bytes at a folder; whether it could be mounted."""
    place.mkdir(exist_ok=True)
    size = max(PAGE, size // PAGE * PAGE)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "dual-full", str(place)],
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    ) if shutil.which("mount") else None
    mounted = done is not None and done.returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)
