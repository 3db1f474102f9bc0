"""Many files open for reading, few descriptors: those not used lately are closed and reopened.

Standard library only.
"""
from __future__ import annotations

import os
import stat
import threading
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Dict, Tuple

from dual_core.errors import DualError
from dual_core.safety.shown import printable

MOST_OPEN = 16  # some systems allow 64 for all that a program does

Identity = Tuple[int, int, int, int]


class _Pool:
    """The descriptors that are open and not in use, the longest unused first."""

    def __init__(self) -> None:
        # Reentrant: the collector may end a file at any point, in this thread too.
        self.lock = threading.RLock()
        self.idle: Dict[int, _Descriptor] = OrderedDict()

    def renew_lock(self) -> None:
        """After a fork: another thread may have held it."""
        self.lock = threading.RLock()


class _Descriptor:
    """A descriptor, -1 while it is closed; apart from its file, so that that can be collected."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.users = 0

    def keep(self) -> None:
        """Stay open as long as there is room; the lock is held."""
        _POOL.idle[id(self)] = self
        while len(_POOL.idle) > MOST_OPEN:
            next(iter(_POOL.idle.values())).close()

    def close(self) -> None:
        """Close; also when the file is collected."""
        with _POOL.lock:
            _POOL.idle.pop(id(self), None)
            if self.number >= 0:
                os.close(self.number)
            self.number = -1


class ReadFile:
    """A file that is read at given places, from any thread and after a fork.

    Parameters
    ----------
    path : it may vanish while its descriptor is open, but not be replaced or changed.
    descriptor : of the opened file, which this object takes over.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        # Against a change of the working directory.
        self._path = os.path.abspath(path)
        self._name = str(path)
        self._identity = _identity(descriptor)
        self._descriptor = _Descriptor(descriptor)
        weakref.finalize(self, self._descriptor.close)
        with _POOL.lock:
            self._descriptor.keep()

    def pread(self, number: int, offset: int) -> bytes:
        """Up to ``number`` bytes from ``offset``, as `os.pread`.

        Raises
        ------
        OSError
            As `os.pread` and `os.open` do.
        DualError
            If the file was closed for want of descriptors and has been changed since.
        """
        own = self._descriptor
        with _POOL.lock:
            if own.number < 0:
                own.number = self._reopened()
            own.users += 1
            _POOL.idle.pop(id(own), None)
        try:
            return os.pread(own.number, number, offset)
        finally:
            with _POOL.lock:
                own.users -= 1
                if own.users == 0:
                    own.keep()

    def _reopened(self) -> int:
        descriptor = os.open(self._path, os.O_RDONLY)
        if _identity(descriptor) != self._identity:
            os.close(descriptor)
            raise DualError(
                f"{printable(self._name)}: was changed while it was read; start again when "
                "nothing writes to it"
            )
        return descriptor


def open_regular(path: Path) -> int:
    """The descriptor of a volume's file, opened for reading.

    Raises
    ------
    DualError
        For what is not there, cannot be opened, or is no regular file.
    """
    name = printable(path)
    try:
        # Asked before opening: to open a pipe would wait for ever.
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise DualError(f"{name}: is a folder; give the MRC files in it")
        if not stat.S_ISREG(kind):
            raise DualError(f"{name}: not a regular file; give an MRC file")
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise DualError(f"{name}: no such file; check the path") from error
    except PermissionError as error:
        raise DualError(f"{name}: no permission to read it; check its access rights") from error
    except OSError as error:
        raise DualError(f"{name}: cannot be opened ({error.strerror})") from error


def _identity(descriptor: int) -> Identity:
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


_POOL = _Pool()
os.register_at_fork(after_in_child=_POOL.renew_lock)
