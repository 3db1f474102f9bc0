"""The overlap-tile strategy: a plan that is pure arithmetic, and its streaming execution.

A volume that is too large for one pass of a network is cut into *tiles*. A tile reads its *core*
and a *halo* around it, and only the core of the result is kept, so a halo of at least the
receptive radius of the network gives the very result of a pass over the whole volume.

Three rules make that equality hold for a U-Net as well:

* the input of every tile starts at a multiple of ``multiple`` (the factor by which the network
  shrinks its input), so that its down- and upsampling grid falls on the same voxels everywhere;
* outside the volume the input is mirrored (``numpy.pad(mode="reflect")``, repeated where an axis
  is shorter than the halo), so that a border tile sees what a mirrored whole volume would show;
* all tiles of a plan have one input shape, so that a network may be tuned or compiled for it.

Arrays and triples are ``(z, y, x)``; all lengths are in voxels.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Callable, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

Triple = Tuple[int, int, int]
Read = Callable[[Triple, Triple], np.ndarray]
Write = Callable[[Triple, np.ndarray], None]
Function = Callable[[np.ndarray], np.ndarray]
Progress = Callable[[int, int], None]

# A row of tiles is read and written at once; longer rows are cut (64 MiB of float32).
ROW_VOXELS = 2**24


@dataclass(frozen=True)
class AxisTile:
    """One tile along one axis: the core to write and the input to read, which may stick out."""

    core_start: int
    core_size: int
    input_start: int
    input_size: int

    @property
    def core_offset(self) -> int:
        """Where the core begins within the input."""
        return self.core_start - self.input_start


@dataclass(frozen=True)
class Tile:
    """One tile of a volume.

    Attributes
    ----------
    core_start, core_size : triple of int
        The region of the volume that this tile writes; always inside the volume.
    input_start, input_size : triple of int
        The region that it reads, core and halo; ``input_start`` may be negative.
    outside_before, outside_after : triple of int
        How much of the input lies before and after the volume and must be mirrored.
    core_offset : triple of int
        Where the core begins within the input.
    """

    core_start: Triple
    core_size: Triple
    input_start: Triple
    input_size: Triple
    outside_before: Triple
    outside_after: Triple
    core_offset: Triple

    @property
    def core_slices(self) -> Tuple[slice, slice, slice]:
        """The core within an array of the shape ``input_size``."""
        z, y, x = (slice(o, o + n) for o, n in zip(self.core_offset, self.core_size))
        return z, y, x


@dataclass(frozen=True)
class TilePlan:
    """All tiles of a volume; ``axes`` holds the one-dimensional tiles of z, y and x."""

    shape: Triple
    input_shape: Triple
    halo: Triple
    multiple: int
    axes: Tuple[Tuple[AxisTile, ...], Tuple[AxisTile, ...], Tuple[AxisTile, ...]]

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self.axes)

    def __iter__(self) -> Iterator[Tile]:
        for parts in itertools.product(*self.axes):
            yield _join(parts, self.shape)

    @property
    def overhead(self) -> float:
        """Voxels computed for each voxel written."""
        return len(self) * math.prod(self.input_shape) / math.prod(self.shape)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is at least ``value``."""
    return -(-value // multiple) * multiple


def plan_axis(length: int, core: int, halo: int, multiple: int = 1) -> Tuple[AxisTile, ...]:
    """Cut one axis into tiles.

    Parameters
    ----------
    length : int
        Length of the axis, at least 1.
    core : int
        Length of the cores, at least 1; the last one takes what is left.
    halo : int
        The least context on both sides of every core, at least 0.
    multiple : int
        Inputs start at multiples of it and their length is a multiple of it.

    Returns
    -------
    tuple of AxisTile
        All with the same ``input_size``.

    Raises
    ------
    ValueError
        For arguments out of range.
    """
    if length < 1 or core < 1 or halo < 0 or multiple < 1:
        raise ValueError(f"no tiles for length {length}, core {core}, halo {halo}, {multiple}")
    cores = [(start, min(core, length - start)) for start in range(0, length, core)]
    starts = [(start - halo) // multiple * multiple for start, _ in cores]
    needed = max(c + n + halo - start for (c, n), start in zip(cores, starts))
    size = round_up(needed, multiple)
    return tuple(AxisTile(c, n, start, size) for (c, n), start in zip(cores, starts))


def plan_tiles(
    shape: Sequence[int],
    core: Union[int, Sequence[int]],
    halo: Union[int, Sequence[int]],
    multiple: int = 1,
) -> TilePlan:
    """Cut a volume into tiles with cores of a given size; see `plan_axis`.

    Parameters
    ----------
    shape : triple of int
        Shape of the volume ``(z, y, x)``.
    core, halo : int or triple of int
        One length for all axes or one for each.
    multiple : int
        The factor by which the network shrinks its input.
    """
    z, y, x = (
        plan_axis(n, c, h, multiple) for n, c, h in zip(shape, _triple(core), _triple(halo))
    )
    sizes = (z[0].input_size, y[0].input_size, x[0].input_size)
    return TilePlan(_triple(shape), sizes, _triple(halo), multiple, (z, y, x))


def plan_for_side(
    shape: Sequence[int], side: int, halo: int, multiple: int = 1
) -> TilePlan:
    """Cut a volume into tiles whose input is at most ``side`` long, with cores of even length.

    Even cores save work: 100 voxels become two cores of 52 and 48 and not of 64 and 36, and the
    input shrinks with them. The halo is rounded up to ``multiple``, which costs nothing and keeps
    the input within ``side``. A side too short for a core of ``multiple`` voxels is lengthened.
    """
    halo = round_up(halo, multiple)
    longest = max(side // multiple * multiple - 2 * halo, multiple)
    cores = []
    for length in shape:
        number = -(-length // longest)
        cores.append(round_up(-(-length // number), multiple))
    return plan_tiles(shape, cores, halo, multiple)


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


def read_mirrored(read: Read, shape: Triple, start: Triple, size: Triple) -> np.ndarray:
    """Read a region that may stick out of the volume, mirrored outside.

    ``read(start, size)`` is asked once, for the smallest region that holds all voxels needed.
    """
    indices = [mirrored_indices(a, a + n, length) for a, n, length in zip(start, size, shape)]
    low = _triple([int(i.min()) for i in indices])
    block = read(low, _triple([int(i.max()) - a + 1 for i, a in zip(indices, low)]))
    for axis, (first, n, length) in enumerate(zip(start, size, shape)):
        if first < 0 or first + n > length:
            block = np.take(block, indices[axis] - low[axis], axis=axis)
    return block


def stream_tiled(
    read: Read, plan: TilePlan, function: Function, row_voxels: int = ROW_VOXELS
) -> Iterator[Tuple[Triple, np.ndarray, np.ndarray, int]]:
    """Run a function over the tiles of a plan, a row of tiles at a time.

    Parameters
    ----------
    read : callable
        ``read(start, size) -> array``; asked for regions inside the volume only.
    plan : TilePlan
        Which tiles.
    function : callable
        Maps an array of the plan's ``input_shape`` to one of the same shape.
    row_voxels : int
        Bound on the voxels held at once (one row always holds at least one tile).

    Yields
    ------
    start : triple of int
        Where the block lies in the volume; the blocks cover every voxel exactly once.
    source, result : numpy.ndarray
        The block as read and as computed. ``source`` is a view that holds for one step only.
    tiles : int
        How many tiles the block took.
    """
    for z, y in itertools.product(plan.axes[0], plan.axes[1]):
        for group in _groups(plan, row_voxels):
            first, last = group[0], group[-1]
            start = (z.input_start, y.input_start, first.input_start)
            length = last.input_start + last.input_size - first.input_start
            block = read_mirrored(
                read, plan.shape, start, (z.input_size, y.input_size, length)
            )
            core_start = (z.core_start, y.core_start, first.core_start)
            width = last.core_start + last.core_size - first.core_start
            result = np.empty((z.core_size, y.core_size, width), dtype=np.float32)
            for x in group:
                tile = _join((z, y, x), plan.shape)
                offset = x.input_start - first.input_start
                output = function(block[:, :, offset : offset + x.input_size])
                column = x.core_start - first.core_start
                result[:, :, column : column + x.core_size] = output[tile.core_slices]
            source = block[
                z.core_offset : z.core_offset + z.core_size,
                y.core_offset : y.core_offset + y.core_size,
                first.core_offset : first.core_offset + width,
            ]
            yield core_start, source, result, len(group)


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


def _join(parts: Sequence[AxisTile], shape: Triple) -> Tile:
    after = [max(0, p.input_start + p.input_size - n) for p, n in zip(parts, shape)]
    return Tile(
        core_start=_triple([p.core_start for p in parts]),
        core_size=_triple([p.core_size for p in parts]),
        input_start=_triple([p.input_start for p in parts]),
        input_size=_triple([p.input_size for p in parts]),
        outside_before=_triple([max(0, -p.input_start) for p in parts]),
        outside_after=_triple(after),
        core_offset=_triple([p.core_offset for p in parts]),
    )


def _triple(value: Union[int, Sequence[int]]) -> Triple:
    z, y, x = (value,) * 3 if isinstance(value, int) else value
    return int(z), int(y), int(x)
