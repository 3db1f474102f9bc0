"""MRC volumes in and out.

Arrays are ``(z, y, x)`` and float32 whatever the file holds. Reading takes only the bytes it
needs and keeps none: plain positioned reads are used instead of a memory map, because the
pages that a map has touched count as memory of the process (measured on a 1 GiB volume, 300
tiles of 96^3: 930 MiB resident with a map, 420 MiB with a map for each tile, 45 MiB with reads)
and because a file that shrinks under a map kills the process with SIGBUS. A tile costs 3 ms
instead of 1 ms, nothing beside the network that waits for it.
"""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Tuple, Union

import numpy as np

from dual_core.errors import DualError
from dual_core.overlap import in_order, threads
from dual_core.safety.limits import GREY, VOXEL_SIZE_A
from dual_core.safety.open_files import ReadFile, open_regular
from dual_core.volumes.byte_volumes import with_sign
from dual_core.volumes.header import HEADER_BYTES, MrcHeader, parse_header
from dual_core.volumes.interface import (
    ArrayVolume,
    ReadableVolume,
    Triple,
    check_region,
    iterate_slabs,
)
from dual_core.volumes.running_statistics import RunningStatistics, VolumeStatistics
from dual_core.volumes.writer import VolumeWriter, write_volume

__all__ = [
    "ArrayVolume",
    "ReadableVolume",
    "Triple",
    "Volume",
    "VolumeFacts",
    "VolumeStatistics",
    "VolumeWriter",
    "check_region",
    "iterate_slabs",
    "open_volume",
    "volume_statistics",
    "warn_of_orientation",
    "warn_of_unset_voxel_size",
    "write_volume",
]

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class VolumeFacts:
    """What is known of a volume without reading its voxels.

    Attributes
    ----------
    path : pathlib.Path
    shape : tuple of int
        ``(z, y, x)``.
    dtype : numpy.dtype
        Type in the file.
    voxel_size_A : float
        The voxel size to work with; 0.0 when unknown and not required.
    origin_A : tuple of float
        ``(x, y, z)`` as in the MRC header.
    header_voxel_size_A : tuple of float
        ``(x, y, z)`` as in the MRC header, 0 where missing.
    start : tuple of int
        ``(x, y, z)`` as in the MRC header: the place of the first voxel in the cell, which some
        viewers use instead of the origin.
    """

    path: Path
    shape: Triple
    dtype: np.dtype
    voxel_size_A: float
    origin_A: Tuple[float, float, float]
    header_voxel_size_A: Tuple[float, float, float]
    start: Triple = (0, 0, 0)


class Volume:
    """An MRC file, open for reading regions; made by `open_volume`.

    Reading is safe from several threads and after a fork. The file is closed when the object
    is collected, and for a time when many others are read.
    """

    def __init__(self, descriptor: int, header: MrcHeader, facts: VolumeFacts) -> None:
        self._file = ReadFile(facts.path, descriptor)
        self._header = header
        self.facts = facts

    @property
    def name(self) -> str:
        """Path, for messages."""
        return str(self.facts.path)

    @property
    def shape(self) -> Triple:
        """``(z, y, x)``."""
        return self.facts.shape

    @property
    def voxel_size_A(self) -> float:
        """Isotropic voxel size."""
        return self.facts.voxel_size_A

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """Read a region.

        Parameters
        ----------
        start, size : tuple of int
            First voxel and extent, ``(z, y, x)``; the region must be inside the volume.

        Returns
        -------
        numpy.ndarray
            ``size``, float32.

        Raises
        ------
        ValueError
            The region leaves the volume.
        DualError
            The file cannot be read any more.
        """
        check_region(start, size, self.shape)
        axes = self._header.file_axes
        sections, rows, columns = ((int(start[axis]), int(size[axis])) for axis in axes)
        block = self._read_from_file(sections, rows, columns)
        return np.ascontiguousarray(block.transpose(np.argsort(axes)))

    def load(self) -> np.ndarray:
        """Read the whole volume, float32."""
        return self.read((0, 0, 0), self.shape)

    def _read_from_file(
        self, sections: Tuple[int, int], rows: Tuple[int, int], columns: Tuple[int, int]
    ) -> np.ndarray:
        """Read (first, number) of sections, rows and columns as they are in the file."""
        header = self._header
        _, all_rows, all_columns = header.file_shape
        block = np.empty((sections[1], rows[1], columns[1]), dtype=np.float32)
        if block.size == 0:
            return block
        row_bytes = all_columns * header.dtype.itemsize
        rows_at_once = max(1, _CHUNK_BYTES // row_bytes)
        wanted = slice(columns[0], columns[0] + columns[1])
        for section in range(sections[1]):
            for row in range(0, rows[1], rows_at_once):
                number = min(rows_at_once, rows[1] - row)
                before = (sections[0] + section) * all_rows + rows[0] + row
                raw = self._read_bytes(number * row_bytes, header.data_offset + before * row_bytes)
                strip = np.frombuffer(raw, header.dtype).reshape(number, all_columns)
                block[section, row : row + number] = strip[:, wanted]
        return block

    def _read_bytes(self, number: int, offset: int) -> bytes:
        try:
            raw = self._file.pread(number, offset)
        except OSError as error:
            raise DualError(f"{self.name}: cannot be read ({error.strerror})") from error
        if len(raw) < number:
            raise DualError(f"{self.name}: became shorter while it was read; copy it again")
        return raw


def open_volume(
    path: Union[str, os.PathLike],
    voxel_size_A: Optional[float] = None,
    require_voxel_size: bool = True,
) -> Volume:
    """Open an MRC volume of any mode and byte order for reading.

    Parameters
    ----------
    path : str or path
        The name does not matter (.mrc .rec .map .st .mrcs ...).
    voxel_size_A : float, optional
        Used instead of what the header says.
    require_voxel_size : bool
        Without it, a header that has no voxel size gives ``facts.voxel_size_A == 0.0``, and
        one with different voxel sizes along the axes the one along x.

    Raises
    ------
    DualError
        No such file, no permission, not an MRC volume, truncated, unsupported mode, no usable
        voxel size.
    """
    path = Path(path)
    descriptor = open_regular(path)
    try:
        header = parse_header(
            os.pread(descriptor, HEADER_BYTES, 0), os.fstat(descriptor).st_size, str(path)
        )
        header = with_sign(header, descriptor, str(path))
        facts = VolumeFacts(
            path=path,
            shape=header.shape,
            dtype=header.dtype,
            voxel_size_A=_choose_voxel_size(
                header.voxel_size_A, voxel_size_A, require_voxel_size, str(path)
            ),
            origin_A=header.origin_A,
            start=header.start,
            header_voxel_size_A=header.voxel_size_A,
        )
    except BaseException:
        os.close(descriptor)
        raise
    return Volume(descriptor, header, facts)


def volume_statistics(
    volume: ReadableVolume, watch: Optional[Callable[[np.ndarray], None]] = None
) -> VolumeStatistics:
    """Statistics of all voxels, read slab by slab; `watch` is shown every slab as well.

    Raises
    ------
    DualError
        NaN or infinite values, or a volume in which all voxels are equal.
    """
    statistics = RunningStatistics()

    def look(region: Tuple[Triple, Triple]) -> Tuple[Triple, np.ndarray, RunningStatistics, bool]:
        slab, part = volume.read(*region), RunningStatistics()
        return region[0], slab, part, part.add(slab)

    for start, slab, part, finite in in_order(look, iterate_slabs(volume.shape), threads()):
        if not finite:
            first = np.argwhere(~np.isfinite(slab))[0] + np.array(start)
            raise DualError(
                f"{volume.name}: NaN or infinite values, the first at z, y, x = "
                f"{first[0]}, {first[1]}, {first[2]} (counted from 0); reconstruct it again or "
                "replace them"
            )
        statistics.merge(part)
        if watch is not None:
            watch(slab)
    result = statistics.result
    if not (GREY.hold(result.minimum) and GREY.hold(result.maximum)):
        raise DualError(
            f"{volume.name}: values from {result.minimum:.3g} to {result.maximum:.3g} are beyond "
            "what can be computed with; reconstruct it again or scale it"
        )
    if result.minimum == result.maximum:
        raise DualError(
            f"{volume.name}: every voxel is {result.minimum:g}; there is nothing in this volume"
        )
    return result


def warn_of_orientation(volume: ReadableVolume) -> None:
    """Log a warning where the thinnest axis is not z, as in a tomogram that was not turned."""
    depth, rows, columns = volume.shape
    thinnest = min(rows, columns)
    if 2 * thinnest <= depth:
        logger.warning(
            "%s: %d x %d x %d voxels (x, y, z) are thinnest along %s, and the beam is taken to be "
            "along z; if it is not, turn the volume first, for example with IMOD's trimvol -rx",
            volume.name, columns, rows, depth, "y" if rows == thinnest else "x",
        )


def warn_of_unset_voxel_size(in_header: float, name: str) -> None:
    """Log a warning where the voxel size in a header, in angstrom, is the 1.0 of many programs."""
    if math.isclose(in_header, 1.0, abs_tol=1e-5):
        logger.warning(
            "%s: the header says 1.0 A, which often means 'never set'; "
            "if it is wrong give --voxel-size A",
            name,
        )


def _choose_voxel_size(
    in_header: Tuple[float, float, float], given: Optional[float], required: bool, name: str
) -> float:
    if given is not None:
        if not VOXEL_SIZE_A.hold(given):
            raise DualError(f"voxel size {given:g} A: give a number {VOXEL_SIZE_A}")
        return float(given)
    if not required:
        return in_header[0]
    said = " x ".join(f"{size:g}" for size in in_header)
    if min(in_header) <= 0:
        raise DualError(
            f"{name}: its header has no voxel size (x, y, z: {said} A); give --voxel-size A"
        )
    if not VOXEL_SIZE_A.hold(in_header[0]):
        raise DualError(
            f"{name}: its header has an impossible voxel size (x, y, z: {said} A); give "
            "--voxel-size A"
        )
    if max(in_header) > 1.01 * min(in_header):
        raise DualError(
            f"{name}: voxels are not cubes (x, y, z: {said} A); if the header is wrong give "
            "--voxel-size A, else resample the volume to cubic voxels"
        )
    warn_of_unset_voxel_size(in_header[0], name)
    return in_header[0]
