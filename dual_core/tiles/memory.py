"""How much memory tiles may take, and what a network takes for a voxel. Standard library alone.

What is free is the least that the machine and a container's limit (cgroup version 1 or 2) leave.
All sizes are in bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Sequence, Tuple

GIB = 2**30
# Of what is free: other programs live beside this one, and pages of files are worth keeping.
MEMORY_SHARE = 0.65
# Past it larger tiles save too little halo to be worth anybody's memory.
MOST_FOR_TILES = 2.5 * GIB
# Of a bound that was given: what the allocator keeps between two tiles.
GIVEN_SHARE = 0.9

MEMINFO = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def free_memory() -> Optional[int]:
    """Bytes of main memory that this process can still have; None where nobody says."""
    limits = [_number_of(MEMINFO, "MemAvailable:"), cgroup_memory()]
    known = [limit for limit in limits if limit is not None]
    return max(min(known), 0) if known else None


def resident_memory() -> int:
    """Bytes that this process has in memory now; 0 where the system does not say."""
    return _number_of(STATUS, "VmRSS:") or 0


def cgroup_memory(
    root: Optional[Path] = None, membership: Optional[Path] = None
) -> Optional[int]:
    """Bytes that the control groups around this process leave; None without a limit.

    Pages of files that the kernel would give up (``inactive_file``) count as free.

    Parameters
    ----------
    root : path
        Where the groups are mounted, by default ``/sys/fs/cgroup``.
    membership : path
        Says which group this process is in, by default ``/proc/self/cgroup``.
    """
    root, membership = root or CGROUPS, membership or OWN_CGROUP
    left = []
    for base, path, names in _memberships(root, membership):
        # A limit of any group above holds too. In a container its own group is the root.
        folder = base / path.strip("/")
        for place in {folder, base, *(p for p in folder.parents if base in p.parents)}:
            limit, used = (_read_number(place / name) for name in names)
            if limit is not None and used is not None and limit < 2**60:
                statistics = place / "memory.stat"
                files = _number_of(statistics, "total_inactive_file", 1)
                files = files or _number_of(statistics, "inactive_file", 1) or 0
                left.append(limit - max(used - files, 0))
    return min(left) if left else None


def unet_bytes(
    channels: Sequence[int], stem_stride: int, refinement: int = 0, bfloat16: bool = False
) -> float:
    """Peak bytes of a U-Net on a CPU for each voxel of a tile, reading and writing included.

    Evaluated by `dual_core.tiles.lean_unet`, the first level holds three tensors of its width at
    the peak, on the way up: its skip connection, its features before and after a convolution.
    Measured for large tiles, of the network alone: channels 24, 48, 96 with stride 2: 35 bytes in
    float32 and 26 in bfloat16, 64, 128, 256: 53 in bfloat16; 16, 32, 64 with stride 1: 204 and 112.
    The refinement works on some planes at a time; in bfloat16 it was 14 bytes more for eight
    channels. A processor that emulates bfloat16 takes several times as much. Beside it there are
    the tile, the next one, the last one with its result, and what the network returns: 4 bytes
    each.
    """
    width = channels[0] / stem_stride**3
    if bfloat16:
        return 40.0 + 2 * (3.2 * width + refinement)
    return 24.0 + 4 * 3.2 * width


def bytes_for_tiles(given_gib: Optional[float], free: Optional[int] = None) -> float:
    """Bytes that all tiles of a CPU may take together.

    Parameters
    ----------
    given_gib : float, optional
        What the whole process may have, in GiB. By default a share of what is free.
    free : int, optional
        Bytes that are free, by default `free_memory`.
    """
    if given_gib is not None:
        return max(GIVEN_SHARE * given_gib * GIB - resident_memory(), 0.0)
    free = free_memory() if free is None else free
    return MOST_FOR_TILES if free is None else min(MEMORY_SHARE * free, MOST_FOR_TILES)


def _memberships(root: Path, membership: Path) -> Sequence[Tuple[Path, str, Tuple[str, str]]]:
    """Where groups with a memory limit are mounted, the path below, and the names of the files."""
    try:
        lines = membership.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    found: Any = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            found.append((root, path, ("memory.max", "memory.current")))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            found.append((root / "memory", path, names))
    return list(found)


def _read_number(path: Path) -> Optional[int]:
    try:
        return int(path.read_text(encoding="ascii", errors="replace"))
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _number_of(path: Path, name: str, unit: int = 1024) -> Optional[int]:
    """The number behind a name at the beginning of a line, in bytes."""
    try:
        with open(path, encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith(name):
                    return unit * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None
