"""What every volume can do, on disk, in memory or resampled: give regions of itself."""

from __future__ import annotations

from typing import Callable, Iterator, Protocol, Tuple

import numpy as np

Triple = Tuple[int, int, int]
_SLAB_VOXELS = 1 << 22


class ReadableVolume(Protocol):
    """Anything that regions ``(z, y, x)`` can be read from."""

    @property
    def name(self) -> str:
        """Name for messages."""

    @property
    def shape(self) -> Triple:
        """``(z, y, x)``."""

    @property
    def voxel_size_A(self) -> float:
        """Isotropic voxel size."""

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """Region of `size` at `start`, float32, inside the volume."""

    def load(self) -> np.ndarray:
        """The whole volume, float32."""


class ArrayVolume:
    """A volume in memory, with the reading interface of a `Volume`."""

    def __init__(self, array: np.ndarray, voxel_size_A: float, name: str = "array") -> None:
        if array.ndim != 3:
            raise ValueError(f"expected an array (z, y, x), got {array.ndim} dimensions")
        self._array = array
        self.shape: Triple = (array.shape[0], array.shape[1], array.shape[2])
        self.voxel_size_A = float(voxel_size_A)
        self.name = name

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """Copy of a region, float32; ValueError when it leaves the volume."""
        check_region(start, size, self.shape)
        region = tuple(slice(first, first + length) for first, length in zip(start, size))
        return np.array(self._array[region], dtype=np.float32)

    def load(self) -> np.ndarray:
        """Copy of the whole volume, float32."""
        return self.read((0, 0, 0), self.shape)


def iterate_slabs(
    shape: Triple, maximum_voxels: int = _SLAB_VOXELS
) -> Iterator[Tuple[Triple, Triple]]:
    """Cut a volume into (start, size) regions of whole rows, in the order of the file.

    No region has more than `maximum_voxels` voxels, unless a single row has.
    """
    depth, rows, columns = shape
    rows_at_once = min(rows, max(1, maximum_voxels // columns))
    sections_at_once = max(1, maximum_voxels // (rows * columns))
    for z in range(0, depth, sections_at_once):
        for y in range(0, rows, rows_at_once):
            size = min(sections_at_once, depth - z), min(rows_at_once, rows - y), columns
            yield (z, y, 0), size


def check_region(start: Triple, size: Triple, shape: Triple) -> None:
    """Raise ValueError unless the region is inside a volume of `shape`."""
    if (
        len(start) != 3
        or len(size) != 3
        or any(
            first < 0 or length < 0 or first + length > whole
            for first, length, whole in zip(start, size, shape)
        )
    ):
        raise ValueError(f"region {tuple(start)} + {tuple(size)} is not inside {shape}")


def read_with_margin(
    read: Callable[[Triple, Triple], np.ndarray],
    shape: Triple,
    start: Triple,
    size: Triple,
    margin: int,
) -> np.ndarray:
    """A region and `margin` voxels about it, mirrored beyond the faces of a volume.

    Parameters
    ----------
    read : ``read(start, size)`` of the volume.
    shape : of the volume, ``(z, y, x)``.
    """
    low = [max(first - margin, 0) for first in start]
    high = [min(first + n + margin, whole) for first, n, whole in zip(start, size, shape)]
    z, y, x = (b - a for a, b in zip(low, high))
    block = read((low[0], low[1], low[2]), (z, y, x))
    pads = [
        (margin - (first - a), margin - (b - first - n))
        for first, n, a, b in zip(start, size, low, high)
    ]
    return np.pad(block, pads, mode="symmetric")
