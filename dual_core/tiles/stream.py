"""A function over the tiles of a volume, row by row: memory does not grow with the volume."""

from __future__ import annotations

import contextlib
import itertools
from typing import Callable, Generator, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from dual_core.overlap import ahead, in_order
from dual_core.tiles.plan import AxisTile, TilePlan, Triple, as_triple, join_axes

Read = Callable[[Triple, Triple], np.ndarray]
Write = Callable[[Triple, np.ndarray], None]
Function = Callable[[np.ndarray], np.ndarray]
Progress = Callable[[int, int], None]

# A row of small tiles is read and written at once; longer rows are cut (16 MiB of float32, of which
# there are up to four: being read, computed, put together and written).
ROW_VOXELS = 2**22


def mirrored_indices(start: int, stop: int, length: int) -> np.ndarray:
    """Indices ``start..stop-1`` folded into ``0..length-1`` as ``numpy.pad(mode="reflect")`` does.

    The border voxel is not repeated; an axis of length 1 has nothing to mirror and is repeated.
    """
    indices = np.arange(start, stop)
    if length == 1:
        return np.zeros_like(indices)
    period = 2 * (length - 1)
    indices = indices % period
    return np.where(indices < length, indices, period - indices)


def read_with_zeros(read: Read, shape: Triple, start: Triple, size: Triple) -> np.ndarray:
    """Read a region of which a part may lie outside the volume, as zeros."""
    low = as_triple([max(a, 0) for a in start])
    high = as_triple([min(a + n, length) for a, n, length in zip(start, size, shape)])
    part = read(low, as_triple([b - a for a, b in zip(low, high)]))
    block = np.zeros(size, dtype=part.dtype)
    block[tuple(slice(a - first, b - first) for a, b, first in zip(low, high, start))] = part
    return block


def read_mirrored(read: Read, shape: Triple, start: Triple, size: Triple) -> np.ndarray:
    """Read a region that may stick out of the volume, mirrored outside.

    ``read(start, size)`` is asked once, for the smallest region that holds all voxels needed.
    """
    indices = [mirrored_indices(a, a + n, length) for a, n, length in zip(start, size, shape)]
    low = as_triple([int(i.min()) for i in indices])
    block = read(low, as_triple([int(i.max()) - a + 1 for i, a in zip(indices, low)]))
    for axis, (first, n, length) in enumerate(zip(start, size, shape)):
        if first < 0 or first + n > length:
            block = np.take(block, indices[axis] - low[axis], axis=axis)
    return block


class _Row(NamedTuple):
    """Tiles side by side along x, and their input as one array."""

    z: AxisTile
    y: AxisTile
    group: List[AxisTile]
    block: np.ndarray

    def part(self, x: AxisTile) -> np.ndarray:
        """The input of a tile."""
        offset = x.input_start - self.group[0].input_start
        return self.block[:, :, offset : offset + x.input_size]


def stream_tiled(
    read: Read,
    plan: TilePlan,
    function: Function,
    row_voxels: int = ROW_VOXELS,
    side_by_side: int = 1,
) -> Generator[Tuple[Triple, np.ndarray, np.ndarray, int], None, None]:
    """Run a function over the tiles of a plan, a row of tiles at a time.

    The next row is read by a thread while one is computed.

    Parameters
    ----------
    read : callable
        ``read(start, size) -> array``; asked for regions inside the volume only, by one thread.
    plan : TilePlan
        Which tiles.
    function : callable
        Maps an array of the plan's ``input_shape`` to one of the same shape.
    row_voxels : int
        Bound on the voxels held at once (one row always holds at least one tile).
    side_by_side : int
        Tiles that are computed at a time, each by a thread of its own.

    Yields
    ------
    start : triple of int
        Where the block lies in the volume; the blocks cover every voxel exactly once.
    source, result : numpy.ndarray
        The block as read and as computed.
    tiles : int
        How many tiles the block took.
    """
    with contextlib.ExitStack() as stack:
        rows = stack.enter_context(contextlib.closing(ahead(_rows(read, plan, row_voxels))))
        outputs = stack.enter_context(
            contextlib.closing(_outputs(rows, function, side_by_side))
        )
        for row, x, output in outputs:
            first, last = row.group[0], row.group[-1]
            width = last.core_start + last.core_size - first.core_start
            if x is first:
                result = np.empty((row.z.core_size, row.y.core_size, width), dtype=np.float32)
            tile = join_axes((row.z, row.y, x), plan.shape)
            column = x.core_start - first.core_start
            result[:, :, column : column + x.core_size] = output[tile.core_slices]
            del output
            if x is not last:
                continue
            source = row.block[
                row.z.core_offset : row.z.core_offset + row.z.core_size,
                row.y.core_offset : row.y.core_offset + row.y.core_size,
                first.core_offset : first.core_offset + width,
            ]
            start = (row.z.core_start, row.y.core_start, first.core_start)
            yield start, source, result, len(row.group)
            del row, source, result


def _outputs(
    rows: Iterable[_Row], function: Function, side_by_side: int
) -> Generator[Tuple[_Row, AxisTile, np.ndarray], None, None]:
    """Each tile with what the function makes of it, in order."""
    if side_by_side > 1:
        tiles = ((row, x) for row in rows for x in row.group)
        yield from in_order(
            lambda tile: (*tile, function(tile[0].part(tile[1]))), tiles, side_by_side
        )
        return
    for row in rows:
        for x in row.group:
            yield row, x, function(row.part(x))
        del row  # before the next one is asked for


def _rows(read: Read, plan: TilePlan, row_voxels: int) -> Iterator[_Row]:
    """The tiles of a plan, row by row, with their input."""
    outside = read_with_zeros if plan.inside else read_mirrored
    for z, y in itertools.product(plan.axes[0], plan.axes[1]):
        for group in _groups(plan, row_voxels):
            first, last = group[0], group[-1]
            start = (z.input_start, y.input_start, first.input_start)
            length = last.input_start + last.input_size - first.input_start
            size = (z.input_size, y.input_size, length)
            yield _Row(z, y, group, outside(read, plan.shape, start, size))


def run_tiled(
    read: Read,
    write: Write,
    plan: TilePlan,
    function: Function,
    progress: Optional[Progress] = None,
    row_voxels: int = ROW_VOXELS,
) -> None:
    """Stream a volume through a function, tile by tile; memory does not grow with the volume.

    Parameters
    ----------
    read, plan, function, row_voxels
        As for `stream_tiled`.
    write : callable
        ``write(start, array)``; called with regions that cover every voxel exactly once.
    progress : callable, optional
        ``progress(done, total)`` in tiles, after each row.
    """
    done = 0
    for start, _, result, tiles in stream_tiled(read, plan, function, row_voxels):
        write(start, result)
        done += tiles
        if progress is not None:
            progress(done, len(plan))


def _groups(plan: TilePlan, row_voxels: int) -> List[List[AxisTile]]:
    """The tiles along x in groups whose common input stays within ``row_voxels``."""
    area = plan.input_shape[0] * plan.input_shape[1]
    groups: List[List[AxisTile]] = []
    for tile in plan.axes[2]:
        stop = tile.input_start + tile.input_size
        if groups and area * (stop - groups[-1][0].input_start) <= row_voxels:
            groups[-1].append(tile)
        else:
            groups.append([tile])
    return groups
