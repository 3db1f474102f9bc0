"""One run at a time in a folder: a lock that ends with the process that holds it.

The lock is `flock` on a file in the folder. The kernel lets go of it when the process ends, however
it ends, so that a killed run never blocks the next one. On NFS Linux turns it into a lock at the
server, which holds between machines; where a file system has none, a warning says so.
"""
from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
import time
from pathlib import Path
from typing import Dict, Iterator

from dual_core.errors import DualError
from dual_core.safety.shown import printable

logger = logging.getLogger(__name__)

LOCK = ".dual-lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_held: Dict[str, int] = {}  # folder -> how often this process holds it


@contextlib.contextmanager
def folder_lock(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder, which must exist, for this process alone. It may be held several times.

    Parameters
    ----------
    what : what runs in it, such as ``a training``, for the message to another run.

    Raises
    ------
    DualError
        At once if another process holds it, with its number, machine and time.
    """
    key = f"{os.getpid()} {os.path.realpath(folder)}"
    if key in _held:
        _held[key] += 1
        try:
            yield
        finally:
            _held[key] -= 1
        return
    path = folder / LOCK
    descriptor = _take(path, folder, what)
    _held[key] = 1
    try:
        yield
    finally:
        del _held[key]
        if descriptor >= 0:
            # Removed while it is held; who waits with the old file open finds that it is no more.
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _take(path: Path, folder: Path, what: str) -> int:
    """The descriptor that holds the lock, or -1 where the file system has no locks."""
    name = printable(folder)
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise DualError(
                f"{name}: cannot be written ({error.strerror}); choose another folder"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            told = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            if error.errno in _NO_LOCKS:
                logger.warning("%s: this file system has no locks; run only one here", name)
                return -1
            raise DualError(
                f"{name}: {what} is already running here ({printable(told) or 'unknown'}); wait "
                "for it, or choose another folder"
            ) from error
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                break
        os.close(descriptor)  # the run before has just removed it
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    told = f"process {os.getpid()} on {socket.gethostname()} since {now}\n"
    with contextlib.suppress(OSError):  # a full disk; the lock holds without its text
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, told.encode("utf-8", "replace"), 0)
    return descriptor
