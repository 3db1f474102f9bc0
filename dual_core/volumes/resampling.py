"""A volume seen on another voxel size, computed region by region when it is read.

Every axis is interpolated with a windowed sinc (Lanczos, three lobes) that is widened where
the new voxels are larger, so that what the new grid cannot hold is filtered out instead of folded
back (antialiasing). Along an axis this is a product with a banded matrix; the rows of a region
and the columns that they touch are all that a region needs, and since the terms of a sum always
come in the same order, a region is bitwise what the same part of the whole would be.

The physical extent is kept: voxel ``i`` of size ``v`` covers ``i v`` to ``(i + 1) v`` angstrom from
the edge of the volume on every grid, so its centre is at ``(i + 1/2) v``, and a position in
voxels is converted by ``(i + 1/2) v_from / v_to - 1/2``. Way there and way back are exact
inverses of each other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, List, Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.volumes.reading import ReadableVolume, Triple, check_region

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SAME_VOXEL_SIZE = 0.005
_LOBES = 3
_LOAD_VOXELS = 1 << 22
# Larger or smaller voxels than that have nothing in common; and to fill finer ones never ends.
MOST_COARSER = 16.0


class ResampledVolume:
    """Lazily resampled view of a volume, with the reading interface of a `Volume`.

    Parameters
    ----------
    volume : ReadableVolume
        Source, for example a `Volume` or an `ArrayVolume`.
    voxel_size_A : float
        Voxel size of the view. Within 0.5 % of that of the source nothing is resampled: the
        voxels of the source are passed through bit by bit.
    shape : tuple of int, optional
        ``(z, y, x)`` of the view, for the way back to a known grid; by default the extent of the
        source, rounded to whole voxels, at least one.

    Raises
    ------
    DualError
        A voxel size that is not a positive number.
    """

    def __init__(
        self, volume: ReadableVolume, voxel_size_A: float, shape: Optional[Triple] = None
    ) -> None:
        for size in (voxel_size_A, volume.voxel_size_A):
            if not (math.isfinite(size) and size > 0):
                raise DualError(f"{volume.name}: voxel size {size} A; give --voxel-size A")
        if not 1 / MOST_COARSER <= voxel_size_A / volume.voxel_size_A <= MOST_COARSER:
            raise DualError(
                f"{volume.name}: voxels of {volume.voxel_size_A:g} A are too far from the "
                f"{voxel_size_A:g} A that are wanted; check both voxel sizes"
            )
        self._source = volume
        self.name = volume.name
        self.voxel_size_A = float(voxel_size_A)
        ratio = self.voxel_size_A / volume.voxel_size_A
        if same_voxel_size(volume.voxel_size_A, voxel_size_A):
            ratio = 1.0
        self.shape: Triple = shape if shape is not None else resampled_shape(volume.shape, ratio)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape {shape} is not that of a volume")
        self.is_resampled = ratio != 1.0 or self.shape != tuple(volume.shape)
        self._matrices: List[csr_matrix] = []
        if self.is_resampled:
            self._matrices = [
                interpolation_matrix(length, new_length, ratio)
                for length, new_length in zip(volume.shape, self.shape)
            ]

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """Read a region of the view.

        Parameters
        ----------
        start, size : tuple of int
            First voxel and extent, ``(z, y, x)`` on the grid of the view; inside the view.

        Returns
        -------
        numpy.ndarray
            ``size``, float32. Memory is bounded by the part of the source under the region.

        Raises
        ------
        ValueError
            The region leaves the view.
        """
        check_region(start, size, self.shape)
        if not self.is_resampled:
            return self._source.read(start, size)
        if min(size) == 0:
            return np.empty(size, dtype=np.float32)
        bands = [
            _band(matrix, first, length)
            for matrix, first, length in zip(self._matrices, start, size)
        ]
        source_start = bands[0][0], bands[1][0], bands[2][0]
        source_size = bands[0][1].shape[1], bands[1][1].shape[1], bands[2][1].shape[1]
        block = self._source.read(source_start, source_size)
        for axis, (_, rows) in enumerate(bands):
            block = _apply_along(block, rows, axis)
        return np.ascontiguousarray(block)

    def load(self) -> np.ndarray:
        """Read the whole view, in slabs so that little more memory than the result is needed."""
        if not self.is_resampled:
            return self._source.load()
        whole = np.empty(self.shape, dtype=np.float32)
        depth, rows, columns = self.shape
        source_plane = self._source.shape[1] * self._source.shape[2]
        thickness = max(1, _LOAD_VOXELS // max(rows * columns, source_plane))
        for first in range(0, depth, thickness):
            number = min(thickness, depth - first)
            whole[first : first + number] = self.read((first, 0, 0), (number, rows, columns))
        return whole


def same_voxel_size(one_A: float, other_A: float) -> bool:
    """Whether two voxel sizes are so close (0.5 %) that nothing is gained by resampling."""
    return abs(one_A - other_A) <= SAME_VOXEL_SIZE * min(one_A, other_A)


def resampled_shape(shape: Triple, ratio: float) -> Triple:
    """Shape of the same extent with voxels `ratio` times as large, at least one voxel a side."""
    z, y, x = (max(1, math.floor(length / ratio + 0.5)) for length in shape)
    return z, y, x


def interpolation_matrix(length: int, new_length: int, ratio: float) -> csr_matrix:
    """Weights that take `length` samples to `new_length` ones `ratio` times as far apart.

    Parameters
    ----------
    length, new_length : int
        Number of samples before and after.
    ratio : float
        New voxel size over the old one.

    Returns
    -------
    scipy.sparse.csr_matrix
        ``(new_length, length)``, float32; every row sums to one. Beyond the border the signal is
        reflected about the edge of the outermost voxel.
    """
    from scipy.sparse import csr_matrix

    width = max(1.0, ratio)
    reach = _LOBES * width
    centres = (np.arange(new_length) + 0.5) * ratio - 0.5
    taps = np.arange(2 * math.ceil(reach) + 1)
    columns = np.ceil(centres - reach).astype(np.int64)[:, None] + taps
    distance = (columns - centres[:, None]) / width
    weights = np.sinc(distance) * np.sinc(distance / _LOBES) * (np.abs(distance) < _LOBES)
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(new_length)[:, None], columns.shape)
    used = weights != 0
    matrix = csr_matrix(
        (weights[used], (rows[used], _reflected(columns[used], length))),
        shape=(new_length, length),
    )
    matrix.sort_indices()
    return matrix.astype(np.float32)


def _reflected(indices: np.ndarray, length: int) -> np.ndarray:
    """Fold indices into 0 .. length - 1: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..., however far."""
    folded = np.mod(indices, 2 * length)
    return np.minimum(folded, 2 * length - 1 - folded)


def _band(matrix: csr_matrix, first: int, number: int) -> Tuple[int, csr_matrix]:
    """Some rows, cut to the columns that they touch; and the first of these columns."""
    rows = matrix[first : first + number]
    lowest, highest = int(rows.indices.min()), int(rows.indices.max())
    return lowest, rows[:, lowest : highest + 1]


def _apply_along(block: np.ndarray, rows: csr_matrix, axis: int) -> np.ndarray:
    """Product of a banded matrix with one axis of a block."""
    leading = np.moveaxis(block, axis, 0)
    product = rows @ leading.reshape(leading.shape[0], -1)
    return np.moveaxis(product.reshape((rows.shape[0],) + leading.shape[1:]), 0, axis)
