"""Single slices of volumes as pictures: reading, brightness, scale bar. No window, no engine.

Wizards and viewers share this. A file is mapped and only the voxels of the slice are read, since
tomograms may be larger than the memory.
"""

from __future__ import annotations

import math
import mmap
import os
import warnings
from contextlib import contextmanager
from typing import Any, Callable, Iterator, NamedTuple, Optional, Sequence, Tuple

import mrcfile
import numpy as np

from dual_core.errors import DualError

AXES = ("z", "y", "x")
_DARKEST, _BRIGHTEST = 0.5, 99.5  # percentiles; beyond them is gold, and the edge of the detector
_MOST_VALUES = 250_000  # that percentiles are taken of
_SLICES_AT_ONCE = 16
_HEADER_BYTES = 1024
_IMOD_STAMP = 1146047817
_IMOD_SIGNED_BYTES = 1
_ANGSTROM_IN_NM = 10
_ANGSTROM_IN_UM = 10_000


class ScaleBar(NamedTuple):
    """A bar of round length: ``length_A`` in angstrom, ``voxels`` of the slice, and its text."""

    length_A: float
    voxels: float
    label: str


class Place(NamedTuple):
    """Where the voxels of a volume are in its file, as numpy describes it.

    Attributes
    ----------
    path : absolute.
    dtype : such as ``<f4``.
    offset : bytes before the first voxel.
    shape, strides : of ``(z, y, x)``; the strides are bytes.
    """

    path: str
    dtype: str
    offset: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]


def place_of(path: str) -> Place:
    """Where the voxels of a volume are, for another program that maps the file.

    Raises
    ------
    DualError
        As `read_slice`.
    """
    with _mapped(path) as data:
        offset = int(data.offset)  # type: ignore[attr-defined]
        return Place(os.path.abspath(path), data.dtype.str, offset, data.shape, data.strides)


def read_shape(path: str) -> Tuple[int, int, int]:
    """The shape ``(z, y, x)`` of a volume.

    Raises
    ------
    DualError
        As `read_slice`.
    """
    with _mapped(path) as data:
        return int(data.shape[0]), int(data.shape[1]), int(data.shape[2])


def read_slice(path: str, axis: int, index: int, step: int = 1) -> np.ndarray:
    """One slice of an MRC volume.

    Parameters
    ----------
    path : str
        The file, of any real MRC mode.
    axis : int
        Axis that the slice is perpendicular to: 0 (z), 1 (y) or 2 (x).
    index : int
        Voxels along that axis, counted from 0; beyond the volume the nearest slice is taken.
    step : int
        Of the slice only every so many voxels along both axes.

    Returns
    -------
    numpy.ndarray
        float32, the other two axes in their order: ``(y, x)``, ``(z, x)`` or ``(z, y)``. Row 0 has
        the lowest coordinate; a picture of it has to be turned over if y shall point upwards.

    Raises
    ------
    DualError
        If the file is missing, no MRC file, cut short, an image or a Fourier transform.
    """
    with _mapped(path, scattered=axis != 0) as data:
        index = min(max(int(index), 0), data.shape[axis] - 1)
        wanted: Tuple[Any, ...] = (slice(None, None, step),) * axis + (index,)
        wanted += (slice(None, None, step),) * (len(AXES) - 1 - axis)
        return np.array(data[wanted], dtype=np.float32)


def read_block(path: str, starts: Sequence[int], sides: Sequence[int]) -> np.ndarray:
    """A box of a volume, float32 ``(z, y, x)``, of which ``starts`` is the first voxel.

    Raises
    ------
    DualError
        As `read_slice`.
    """
    box = tuple(slice(start, start + side) for start, side in zip(starts, sides))
    with _mapped(path, scattered=True) as data:
        return np.array(data[box], dtype=np.float32)


def read_columns(
    path: str, first: int, count: int, stale: Callable[[], bool] = lambda: False
) -> Optional[np.ndarray]:
    """Some slices perpendicular to x at once, float32 ``(z, y, count)``; fewer at the end.

    They touch every page of a file, which takes seconds for a large one: ``stale`` is asked on the
    way, and None returned if it says so.

    Raises
    ------
    DualError
        As `read_slice`.
    """
    with _mapped(path) as data:
        columns = slice(first, first + count)
        found = np.empty((*data.shape[:2], len(range(*columns.indices(data.shape[2])))), np.float32)
        for start in range(0, data.shape[0], _SLICES_AT_ONCE):
            if stale():
                return None
            some = slice(start, start + _SLICES_AT_ONCE)
            found[some] = data[some, :, columns]
    return found


def read_mean_slice(path: str, index: int, thickness: int) -> np.ndarray:
    """The mean of some slices around one along z, in which faint things are seen better.

    Parameters
    ----------
    path : str
        As for `read_slice`.
    index : int
        The middle slice.
    thickness : int
        How many slices; fewer at the ends of the volume.

    Returns
    -------
    numpy.ndarray
        float32 ``(y, x)``. Slices are added one by one: no more than two are in memory.
    """
    with _mapped(path) as data:
        index = min(max(int(index), 0), data.shape[0] - 1)
        first = max(index - (int(thickness) - 1) // 2, 0)
        last = min(index + int(thickness) // 2, data.shape[0] - 1)
        total = np.zeros(data.shape[1:], dtype=np.float32)
        for z in range(first, last + 1):
            total += data[z]
    return total / (last - first + 1)


def smoothed(array: np.ndarray, sigma: float) -> np.ndarray:
    """A slice ``(y, x)`` after a Gaussian filter of ``sigma`` voxels, mirrored at its borders.

    0 gives the slice as it is. (Without scipy, which the plugin does not require.)
    """
    result = np.asarray(array, dtype=np.float32)
    if sigma <= 0:
        return result
    reach = math.ceil(3 * sigma)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (0, 1):
        margins = [(reach, reach) if axis == other else (0, 0) for other in (0, 1)]
        padded = np.moveaxis(np.pad(result, margins, mode="symmetric"), axis, 0)
        length = result.shape[axis]
        parts = (tap * padded[start : start + length] for start, tap in enumerate(taps))
        result = np.moveaxis(sum(parts), 0, axis)
    return result


def display_range(array: np.ndarray) -> Tuple[float, float]:
    """The values that are shown as black and as white.

    Percentiles 0.5 and 99.5 of what is finite; ``low < high`` always, for a constant slice too.
    """
    values = array.ravel()
    values = values[:: max(1, values.size // _MOST_VALUES)]
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (_DARKEST, _BRIGHTEST)))
    if high > low:
        return low, high
    low, high = float(values.min()), float(values.max())
    if high > low:
        return low, high
    margin = max(abs(low) * 1e-3, 0.5)
    return low - margin, low + margin


def as_bytes(array: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as grey levels, uint8: 0 at ``low`` and below, 255 at ``high`` and above, NaN is 0."""
    scaled = (np.asarray(array, dtype=np.float32) - low) * (255.0 / (high - low))
    return np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255).astype(np.uint8)


def scale_bar(width: int, voxel_size_A: float) -> ScaleBar:
    """A bar for a slice: 1, 2 or 5 times a power of ten, up to a quarter of the slice.

    Parameters
    ----------
    width : voxels of the slice that is shown, horizontally.
    voxel_size_A : of the slice, in angstrom.
    """
    most = max(width * voxel_size_A / 4, 1e-6)
    power = 10.0 ** math.floor(math.log10(most))
    length = max(factor * power for factor in (1, 2, 5) if factor * power <= most * (1 + 1e-9))
    if length >= _ANGSTROM_IN_UM:
        label = f"{length / _ANGSTROM_IN_UM:g} µm"
    elif length >= _ANGSTROM_IN_NM:
        label = f"{length / _ANGSTROM_IN_NM:g} nm"
    else:
        label = f"{length:g} Å"
    return ScaleBar(length, length / voxel_size_A, label)


@contextmanager
def _mapped(path: str, scattered: bool = False) -> Iterator[np.ndarray]:
    """The voxels of a file as an array ``(z, y, x)`` that is read where it is looked at.

    ``scattered`` says that rows far from each other are wanted. Otherwise the system reads
    another 128 KiB with each of them, which for a slice across 1024 sections takes seconds.
    """
    if not os.path.exists(path):
        raise DualError(f"the file {path} does not exist; import the tomogram again")
    try:
        if not _may_be_mrc(path):
            raise DualError(f"{path} is empty, packed or no MRC volume; look at it")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers: they are the import's business
            file = mrcfile.mmap(path, mode="r", permissive=True)
    except (OSError, ValueError, TypeError) as error:
        raise DualError(f"{path} cannot be read ({error}); is it an MRC volume?") from error
    with file:
        data = file.data
        if data is None:
            raise DualError(f"{path} cannot be read: it is cut short or no MRC volume; look at it")
        if scattered and hasattr(mmap, "MADV_RANDOM"):
            data._mmap.madvise(mmap.MADV_RANDOM)
        if data.ndim != len(AXES) or np.iscomplexobj(data):
            raise DualError(f"{path} is an image or a Fourier transform; give a volume")
        yield _in_order(_signed_or_not(data, file.header), file.header)


def _may_be_mrc(path: str) -> bool:
    """Whether the extended header ends within the file.

    Without asking, mrcfile makes room for as many bytes as any text file happens to say: gigabytes.
    """
    with open(path, "rb") as file:
        start = file.read(_HEADER_BYTES)
    extended = [int.from_bytes(start[92:96], order, signed=True) for order in ("little", "big")]
    room = os.path.getsize(path) - _HEADER_BYTES
    return any(0 <= length <= room for length in extended)


def _signed_or_not(data: np.ndarray, header: np.ndarray) -> np.ndarray:
    """Bytes are signed by the standard; old files of IMOD say otherwise, by a flag or the range."""
    if data.dtype != np.int8:
        return data
    # The stamp and the flags are the bytes 152 to 159 of the header, in the file's byte order.
    stamp, flags = np.frombuffer(header["extra2"].tobytes()[40:48], header["nx"].dtype)
    if stamp == _IMOD_STAMP:
        return data if flags & _IMOD_SIGNED_BYTES else data.view(np.uint8)
    unsigned = float(header["dmin"]) >= 0 and 127 < float(header["dmax"]) <= 255
    return data.view(np.uint8) if unsigned else data


def _in_order(data: np.ndarray, header: np.ndarray) -> np.ndarray:
    """The axes as ``(z, y, x)``, for the few files that declare another order."""
    columns, rows, sections = (int(header[field]) for field in ("mapc", "mapr", "maps"))
    if sorted((columns, rows, sections)) != [1, 2, 3]:
        return data
    return np.moveaxis(data, (0, 1, 2), (3 - sections, 3 - rows, 3 - columns))
