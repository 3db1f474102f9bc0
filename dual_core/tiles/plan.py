"""The overlap-tile strategy: which tiles a volume is cut into. Pure arithmetic.

A volume that is too large for one pass of a network is cut into *tiles*. A tile reads its *core*
and a *halo* around it, and only the core of the result is kept, so a halo of at least the
receptive radius of the network gives the very result of a pass over the whole volume.

Three rules make that equality hold for a U-Net as well:

* the input of every tile starts at a multiple of ``multiple`` (the factor by which the network
  shrinks its input), so that its down- and upsampling grid falls on the same voxels everywhere;
* what a tile shows outside the volume is what the whole volume would show there: its mirror
  image, or, in a plan that stays inside, nothing (but for zeros up to a ``multiple``);
* all tiles of a plan have one input shape, so that a network may be tuned or compiled for it.

`dual_core.tiles.stream` runs a function over a plan. Arrays and triples are ``(z, y, x)``; all
lengths are in voxels.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Iterator, List, Sequence, Tuple, Union

import numpy as np

Triple = Tuple[int, int, int]


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
    """All tiles of a volume; ``axes`` holds the one-dimensional tiles of z, y and x.

    ``inside`` says that no input sticks out of the volume by ``multiple`` voxels or more.
    """

    shape: Triple
    input_shape: Triple
    halo: Triple
    multiple: int
    axes: Tuple[Tuple[AxisTile, ...], Tuple[AxisTile, ...], Tuple[AxisTile, ...]]
    inside: bool = False

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self.axes)

    def __iter__(self) -> Iterator[Tile]:
        for parts in itertools.product(*self.axes):
            yield join_axes(parts, self.shape)

    @property
    def overhead(self) -> float:
        """Voxels computed for each voxel written."""
        return len(self) * math.prod(self.input_shape) / math.prod(self.shape)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is at least ``value``."""
    return -(-value // multiple) * multiple


def plan_axis(
    length: int, core: int, halo: int, multiple: int = 1, inside: bool = False
) -> Tuple[AxisTile, ...]:
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
    inside : bool
        Inputs at the faces are shifted inwards: the halo is that of the other cores' sides alone.

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
    if inside:
        whole = round_up(length, multiple)
        size = min(size, whole)
        starts = [min(max(start, 0), whole - size) for start in starts]
    return tuple(AxisTile(c, n, start, size) for (c, n), start in zip(cores, starts))


def plan_tiles(
    shape: Sequence[int],
    core: Union[int, Sequence[int]],
    halo: Union[int, Sequence[int]],
    multiple: int = 1,
    inside: bool = False,
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
    inside : bool
        Whether inputs end at the faces of the volume.
    """
    z, y, x = (
        plan_axis(n, c, h, multiple, inside)
        for n, c, h in zip(shape, as_triple(core), as_triple(halo))
    )
    sizes = (z[0].input_size, y[0].input_size, x[0].input_size)
    return TilePlan(as_triple(shape), sizes, as_triple(halo), multiple, (z, y, x), inside)


def plan_for_side(
    shape: Sequence[int], side: int, halo: int, multiple: int = 1, inside: bool = False
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
        fits = inside and round_up(length, multiple) <= side
        number = 1 if fits else -(-length // longest)
        cores.append(round_up(-(-length // number), multiple))
    return plan_tiles(shape, cores, halo, multiple, inside)


def plan_for_voxels(
    shape: Sequence[int], most: float, halo: int, multiple: int = 1, inside: bool = False
) -> TilePlan:
    """Cut a volume into tiles whose input has at most ``most`` voxels, with the least to compute.

    Every number of even cores is tried for each axis, so that tiles become long where that saves
    halo, and take the whole of a short axis. Of equal plans the one with fewer tiles is taken.
    Where not even cores of ``multiple`` voxels are small enough, those are taken.
    """
    halo = round_up(halo, multiple)
    choices = [_axis_choices(length, halo, multiple, inside) for length in shape]
    # Size and number of z, y and x in turn along the three axes of each of these arrays.
    cores, sizes, numbers = (
        np.ix_(*(np.array([choice[part] for choice in axis], dtype=float) for axis in choices))
        for part in range(3)
    )
    area = sizes[0] * sizes[1] * sizes[2]
    number = numbers[0] * numbers[1] * numbers[2]
    # The little that is added is for the order of equal plans.
    cost = np.where(area <= most, area * number + number * 1e-3, np.inf)
    if np.isinf(cost).all():
        cost = area
    best = np.unravel_index(int(np.argmin(cost)), cost.shape)
    chosen = [int(axis.ravel()[index]) for axis, index in zip(cores, best)]
    return plan_tiles(shape, chosen, halo, multiple, inside)


def _axis_choices(
    length: int, halo: int, multiple: int, inside: bool
) -> List[Tuple[int, int, int]]:
    """Core, input size and number of tiles of each way to cut an axis evenly, longest first."""
    found: List[Tuple[int, int, int]] = []
    core = round_up(length, multiple)
    while core >= multiple:
        tiles = plan_axis(length, core, halo, multiple, inside)
        size, number = tiles[0].input_size, len(tiles)
        # More tiles that are no smaller only cost.
        if not found or size < found[-1][1]:
            found.append((core, size, number))
        fewest = -(-length // core) + 1
        core = min(core - multiple, round_up(-(-length // fewest), multiple))
    return found


def join_axes(parts: Sequence[AxisTile], shape: Triple) -> Tile:
    """The tile of a volume of ``shape`` that three tiles of its axes z, y and x make."""
    after = [max(0, p.input_start + p.input_size - n) for p, n in zip(parts, shape)]
    return Tile(
        core_start=as_triple([p.core_start for p in parts]),
        core_size=as_triple([p.core_size for p in parts]),
        input_start=as_triple([p.input_start for p in parts]),
        input_size=as_triple([p.input_size for p in parts]),
        outside_before=as_triple([max(0, -p.input_start) for p in parts]),
        outside_after=as_triple(after),
        core_offset=as_triple([p.core_offset for p in parts]),
    )


def as_triple(value: Union[int, Sequence[int]]) -> Triple:
    """Three integers from one for all axes or from one each."""
    z, y, x = (value,) * 3 if isinstance(value, int) else value
    return int(z), int(y), int(x)
