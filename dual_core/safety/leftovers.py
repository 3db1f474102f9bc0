"""Temporary files that say whose they are, so that those of a dead run are found and removed.

A temporary file lies beside what it becomes, since only then a rename is atomic. Its name holds the
machine, its last start, the process and when that began: a number of a process alone is given
out anew. It does not hold the name of the result, which may be as long as names can be.

Standard library only.
"""
from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import Iterator, Optional, Set, Tuple, Union

from dual_core.safety.shown import printable

logger = logging.getLogger(__name__)

_NAME = re.compile(r"\.dual-([0-9a-f]{8})-([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}\.part(\.\w+)?")
# What a machine that is not this one left cannot be judged; after so long it is told.
_OLD_S = 7 * 24 * 3600
_swept: Set[Tuple[int, str]] = set()

PathLike = Union[str, "os.PathLike[str]"]


def temporary_name(path: PathLike, ending: str = "") -> Path:
    """A name beside ``path`` for a file or folder that will take its place or be removed.

    What dead runs left in that folder is removed, once for each folder and process.

    Parameters
    ----------
    ending : what the name is to end with, such as ``.mrc``.
    """
    folder = Path(path).parent
    remove_leftovers(folder)
    return folder / f".dual-{_owner()}-{secrets.token_hex(4)}.part{ending}"


@contextlib.contextmanager
def temporary_folder(beside: Optional[PathLike] = None) -> Iterator[Path]:
    """A folder beside a path, or where the system has its temporary files; removed in the end."""
    place = Path(tempfile.gettempdir()) / "any" if beside is None else Path(beside)
    folder = temporary_name(place)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: PathLike) -> int:
    """Remove what runs that ended without cleaning up left in a folder; how many there were.

    Only what has the name of a temporary file of DUAL, belongs to this user, and was made on this
    machine by a process that is no more.
    """
    folder = Path(folder)
    key = os.getpid(), os.path.abspath(folder)
    if key in _swept:
        return 0
    _swept.add(key)
    removed, space, foreign = 0, 0, 0
    try:
        names = [entry for entry in os.listdir(folder) if _NAME.fullmatch(entry)]
    except OSError:
        return 0
    for name in names:
        path = folder / name
        try:
            facts = path.lstat()
        except OSError:  # gone in the meantime
            continue
        if facts.st_uid != os.getuid():
            continue
        gone = owner_is_gone(name)
        if gone is None:
            foreign += time.time() - facts.st_mtime > _OLD_S
        elif gone:
            space += _size(path, facts)
            removed += _remove(path, facts)
    if removed:
        logger.info(
            "%s: %d temporary file%s of runs that were killed %s removed (%.3g MB)",
            printable(folder), removed, "s" * (removed > 1), "were" if removed > 1 else "was",
            space / 1e6,
        )
    if foreign:
        logger.warning(
            "%s: %d temporary files of another machine (.dual-*.part) are a week old; remove them "
            "if nothing runs there", printable(folder), foreign,
        )
    return removed


def remove_own() -> None:
    """Remove what this process still has, when a signal ends it.

    The exception of a signal can come between the making of a file and the block that removes it.
    """
    mine = f".dual-{_owner()}-"
    for process, folder in list(_swept):
        if process != os.getpid():
            continue
        with contextlib.suppress(OSError):
            for path in (Path(folder, name) for name in os.listdir(folder)):
                if path.name.startswith(mine) and _NAME.fullmatch(path.name):
                    _remove(path, path.lstat())


def owner_is_gone(name: str) -> Optional[bool]:
    """Whether the process that a temporary file is named after has ended; None: another machine."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    machine, boot, process, began = found.group(1, 2, 3, 4)
    if machine != _machine():
        return None
    if boot != _boot():
        return True
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # there is one, of somebody else
        pass
    return _began(int(process)) not in (int(began), 0)


def _remove(path: Path, facts: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(facts.st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    return False


def _size(path: Path, facts: os.stat_result) -> int:
    if not stat.S_ISDIR(facts.st_mode):
        return facts.st_size
    total = 0
    with contextlib.suppress(OSError):
        total = sum(one.lstat().st_size for one in path.rglob("*"))
    return total


def _owner() -> str:
    process = os.getpid()
    return f"{_machine()}-{_boot()}-{process}-{_began(process)}"


def _machine() -> str:
    """Where numbers of processes mean the same: one machine, and one container on it."""
    parts = [socket.gethostname(), _first_line("/etc/machine-id")]
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return _short("|".join(parts))


def _boot() -> str:
    return _short(_first_line("/proc/sys/kernel/random/boot_id"))


def _began(process: int) -> int:
    """When a process began, in ticks since the machine's start; 0 where that is not known."""
    try:
        with open(f"/proc/{process}/stat", "rb") as stream:
            # The name, in brackets, may hold spaces and brackets.
            return int(stream.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.readline().strip()
    except OSError:
        return ""


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
