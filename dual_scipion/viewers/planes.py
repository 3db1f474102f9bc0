"""Slices through volumes, and what is computed from them: samples, differences, circles of picks.

Arrays and files only, no window. Volumes are ``(z, y, x)``.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any, Callable, Dict, Hashable, NamedTuple, Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_scipion.slices import read_columns, read_shape, read_slice

COLUMNS = 2  # the axis along which voxels lie side by side in the file
_SLAB = 32  # slices that are read together along it
_SLAB_BYTES = 400 << 20  # of slabs in the memory: three volumes of 1000 x 1000 voxels (z, y)
_THIN_SIDE = 96  # voxels of a thinned slice along its longer axis, at least
_MANY_ROWS = 1 << 18  # of a volume whose slices along the columns take more than a moment
_SAMPLE_SLICES = 8
_SAMPLE_SIDE = 256  # values of a sampled slice along each axis


class Plane(NamedTuple):
    """How a volume is cut: the axis cut through, and those of the picture as in ``(z, y, x)``."""

    axis: int
    vertical: int
    horizontal: int


AXES = "zyx"
PLANES: Dict[str, Plane] = {"xy": Plane(0, 1, 2), "xz": Plane(1, 0, 2), "yz": Plane(2, 0, 1)}


class Relation(NamedTuple):
    """How the values of two volumes go together: ``whole = slope * part + offset + rest``."""

    slope: float
    offset: float


def cut(path: str, plane: str, index: int) -> np.ndarray:
    """One slice of a file, float32 ``(vertical, horizontal)``; the lowest coordinate is in row 0.

    Raises
    ------
    DualError
        If the file cannot be read.
    """
    found = cut_unless(lambda: False, path, plane, index)
    assert found is not None
    return found


def cut_unless(
    stale: Callable[[], bool], path: str, plane: str, index: int
) -> Optional[np.ndarray]:
    """The same, or None if reading was broken off.

    A slice along the columns touches all pages of a file. So its neighbours are read along with
    it, which costs no more, and the last of these slabs stay in the memory. Reading one is broken
    off when ``stale`` says so.

    Raises
    ------
    DualError
        If the file cannot be read.
    """
    axis = PLANES[plane].axis
    if axis != COLUMNS:
        return read_slice(path, axis, index)
    index = min(max(int(index), 0), read_shape(path)[axis] - 1)
    number = index // _SLAB
    key = _key_of(path, number)
    slab = _slabs.get(key)
    if slab is None:
        slab = read_columns(path, number * _SLAB, _SLAB, stale)
        if slab is None:
            return None
        _slabs.keep(key, slab)
    found: np.ndarray = slab[:, :, index % _SLAB].copy()
    return found


def thinned(path: str, plane: str, index: int) -> Optional[np.ndarray]:
    """A slice of which only every so many voxels are read; None where all of it is read as fast.

    It stands in for a slice along the columns of a large volume until that has been read.

    Raises
    ------
    DualError
        If the file cannot be read.
    """
    axis = PLANES[plane].axis
    if axis != COLUMNS:
        return None
    depth, height, width = read_shape(path)
    index = min(max(int(index), 0), width - 1)
    if depth * height < _MANY_ROWS or _slabs.get(_key_of(path, index // _SLAB)) is not None:
        return None
    return read_slice(path, axis, index, thinning(depth, height))


def thinning(depth: int, height: int) -> int:
    """Voxels from one to the next of a thinned slice."""
    return max(1, max(depth, height) // _THIN_SIDE)


def _key_of(path: str, number: int) -> Tuple[str, int, int, int]:
    """What a slab is kept under: a file that has changed is read anew."""
    facts = os.stat(path)
    return path, facts.st_mtime_ns, facts.st_size, number


class Kept:
    """The last things that were read, as many as fit into a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._things: OrderedDict[Hashable, Tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """What is kept under a key, or None."""
        with self._lock:
            if key not in self._things:
                return None
            self._things.move_to_end(key)
            return self._things[key][0]

    def keep(self, key: Hashable, thing: Any, size: Optional[int] = None) -> None:
        """Keep something of a size in bytes (that of the array); the oldest make room for it."""
        size = thing.nbytes if size is None else size
        with self._lock:
            self._bytes -= self._things.pop(key, (None, 0))[1]
            self._things[key] = thing, size
            self._bytes += size
            while self._bytes > self._most and len(self._things) > 1:
                self._bytes -= self._things.popitem(last=False)[1][1]


_slabs = Kept(_SLAB_BYTES)


def smaller(image: np.ndarray, factor: int) -> np.ndarray:
    """The means of blocks of so many values along both axes; what is left at the ends is cut."""
    if factor < 2:
        return image
    rows, columns = (side // factor * factor for side in image.shape)
    cut_off = image[:rows, :columns]
    # Sums of slices: several times as fast as a mean over two short axes.
    along: Any = sum(cut_off[start::factor] for start in range(factor))
    both: Any = sum(along[:, start::factor] for start in range(factor))
    return np.asarray(both / np.float32(factor**2))


def sample(path: str) -> np.ndarray:
    """Values from all over a volume, float32 ``(slices, rows, columns)``.

    Volumes of one shape are sampled at the same places.

    Raises
    ------
    DualError
        If the file cannot be read.
    """
    depth, height, width = read_shape(path)
    count = min(_SAMPLE_SLICES, depth)
    steps = [max(1, side // _SAMPLE_SIDE) for side in (height, width)]
    # In the middle of equal parts: first and last slices are often empty or odd.
    places = [int((part + 0.5) * depth / count) for part in range(count)]
    return np.stack([read_slice(path, 0, z)[:: steps[0], :: steps[1]] for z in places])


def relate(whole: np.ndarray, part: np.ndarray, fitted: bool) -> Relation:
    """Bring two samples to one scale.

    Parameters
    ----------
    whole, part : arrays of one shape.
    fitted : whether the units differ, so that the slope is found by least squares. Otherwise it
        is 1, or -1 where the contrast is turned: a fit would take noise that is in both for signal.

    Raises
    ------
    DualError
        If the shapes differ.
    """
    if whole.shape != part.shape:
        raise DualError("the two volumes have different sizes and cannot be compared")
    finite = np.isfinite(whole) & np.isfinite(part)
    if not finite.any():
        return Relation(1.0, 0.0)
    one, other = whole[finite].astype(np.float64), part[finite].astype(np.float64)
    mean, other_mean = one.mean(), other.mean()
    product = float(np.mean((one - mean) * (other - other_mean)))
    variance = float(other.var())
    if fitted:
        slope = product / variance if variance > 0 else 0.0
    else:
        slope = -1.0 if product < 0 else 1.0
    return Relation(slope, float(mean - slope * other_mean))


def rest(whole: np.ndarray, part: np.ndarray, relation: Relation) -> np.ndarray:
    """What of ``whole`` is not in ``part``, float32.

    Raises
    ------
    DualError
        If the shapes differ.
    """
    if whole.shape != part.shape:
        raise DualError("the two volumes have different sizes and cannot be compared")
    scaled = np.float32(relation.slope) * part.astype(np.float32) + np.float32(relation.offset)
    return np.asarray(whole.astype(np.float32) - scaled)


def circles(
    positions: np.ndarray, radius: float, plane: str, index: int
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a slice cuts balls around positions.

    Parameters
    ----------
    positions : ndarray, (n, 3)
        ``(x, y, z)`` in voxels.
    radius : float
        Of the balls, in voxels.
    plane, index : the slice.

    Returns
    -------
    which : ndarray of int, (m,)
        Of the positions, those that are cut.
    centres : ndarray, (m, 2)
        ``(horizontal, vertical)`` in voxels.
    radii : ndarray, (m,)
        Of the circles in the slice, in voxels.
    """
    axis, vertical, horizontal = PLANES[plane]
    places = np.asarray(positions, dtype=np.float64).reshape(-1, 3)[:, ::-1]
    distance = np.abs(places[:, axis] - index)
    which = np.flatnonzero(distance < radius)
    radii = np.sqrt(radius**2 - distance[which] ** 2)
    return which, places[which][:, [horizontal, vertical]], radii


def arrangement(count: int, picture: float, window: float) -> Tuple[int, int]:
    """Rows and columns in which pictures are largest.

    Parameters
    ----------
    count : number of pictures.
    picture, window : width over height of one picture and of the room for all.
    """

    def size(rows: int) -> float:
        columns = -(-count // rows)
        return min(window / (columns * picture), 1 / rows)

    rows = max(range(1, count + 1), key=size)
    return rows, -(-count // rows)
