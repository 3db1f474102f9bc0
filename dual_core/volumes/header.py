"""The 1024 bytes at the start of an MRC file: read them as they come, write them by the book.

Format: MRC2014 (Cheng et al. 2015, J. Struct. Biol. 192, 146) with the habits of IMOD
(https://bio3d.colorado.edu/imod/doc/mrc_format.txt) where they differ.
"""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from dual_core import __version__
from dual_core.errors import DualError

logger = logging.getLogger(__name__)

HEADER_BYTES = 1024
MODES: Dict[int, str] = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_OTHER_MODES = {
    3: "complex 16-bit integers",
    4: "complex 32-bit floats (a Fourier transform)",
    16: "RGB colours",
    101: "4-bit integers",
}
_IMOD_STAMP = 1146047817
_IMOD_SIGNED_BYTES = 1
_COMPRESSED = {
    b"\x1f\x8b": "gzip (unpack it with gunzip)",
    b"BZh": "bzip2 (unpack it with bunzip2)",
    b"\xfd7zXZ": "xz (unpack it with unxz)",
    b"\x28\xb5\x2f\xfd": "zstd (unpack it with unzstd)",
}


@dataclass(frozen=True)
class MrcHeader:
    """What a reader needs to know about an MRC file.

    Attributes
    ----------
    shape : tuple of int
        ``(z, y, x)`` in space.
    dtype : numpy.dtype
        Type in the file, with the byte order of the file.
    data_offset : int
        Bytes before the first voxel (header and extended header).
    file_axes : tuple of int
        Axis of ``shape`` along sections, rows, columns of the file: ``(0, 1, 2)`` but for
        maps that declare another order in MAPC, MAPR, MAPS.
    voxel_size_A : tuple of float
        ``(x, y, z)`` as the header says, 0 where it says nothing.
    origin_A : tuple of float
        ``(x, y, z)``.
    start : tuple of int
        ``(x, y, z)``: place of the first voxel in the unit cell (NXSTART, NYSTART, NZSTART).
    bytes_of_unknown_sign : bool
        Whether ``dtype`` is signed bytes only because nothing in the header says otherwise.
    """

    shape: Tuple[int, int, int]
    dtype: np.dtype
    data_offset: int
    file_axes: Tuple[int, int, int]
    voxel_size_A: Tuple[float, float, float]
    origin_A: Tuple[float, float, float]
    start: Tuple[int, int, int] = (0, 0, 0)
    bytes_of_unknown_sign: bool = False

    @property
    def file_shape(self) -> Tuple[int, int, int]:
        """``(sections, rows, columns)`` in the file."""
        sections, rows, columns = self.file_axes
        return self.shape[sections], self.shape[rows], self.shape[columns]


def parse_header(raw: bytes, file_size: int, name: str) -> MrcHeader:
    """Interpret the first bytes of an MRC file.

    Parameters
    ----------
    raw : bytes
        Up to 1024 bytes from the start of the file.
    file_size : int
        Bytes in the whole file.
    name : str
        Name for messages.

    Raises
    ------
    DualError
        Empty, compressed, truncated or foreign file, unsupported mode, image, stack of volumes.
    """
    if file_size == 0:
        raise DualError(f"{name}: the file is empty; was it copied completely?")
    for magic, kind in _COMPRESSED.items():
        if raw.startswith(magic):
            raise DualError(f"{name}: compressed with {kind}; give the unpacked file")
    if len(raw) < HEADER_BYTES:
        raise DualError(f"{name}: not an MRC file ({file_size} bytes are less than a header)")

    header, byte_order = _with_byte_order(raw, name)
    dtype = _data_type(header, byte_order, name)
    file_shape = int(header["nz"]), int(header["ny"]), int(header["nx"])
    if min(file_shape) < 2:
        columns, rows, sections = file_shape[::-1]
        raise DualError(
            f"{name}: a 2D image or stack of one ({columns} x {rows} x {sections}); "
            "give a tomogram (a 3D volume)"
        )
    sections_per_volume = int(header["mz"])
    if int(header["ispg"]) >= 401 and 0 < sections_per_volume < file_shape[0]:
        raise DualError(f"{name}: a stack of several volumes; give one file for each volume")

    data_offset = HEADER_BYTES + max(0, int(header["nsymbt"]))
    needed = data_offset + math.prod(file_shape) * dtype.itemsize
    plain = HEADER_BYTES + math.prod(file_shape) * dtype.itemsize
    if file_size == plain < needed:
        logger.warning(
            "%s: its header announces an extended header of %d bytes that is not in the file; the "
            "data are read from right behind the header", name, needed - plain,
        )
        data_offset, needed = HEADER_BYTES, plain
    if file_size < needed:
        raise DualError(
            f"{name}: truncated, its header promises {needed} bytes and the file has {file_size}; "
            "copy it again"
        )
    if file_size > needed:
        logger.warning("%s: %d bytes after the data are ignored", name, file_size - needed)

    file_axes = _file_axes(header)
    shape = [0, 0, 0]
    for length, axis in zip(file_shape, file_axes):
        shape[axis] = length
    return MrcHeader(
        shape=(shape[0], shape[1], shape[2]),
        dtype=dtype,
        data_offset=data_offset,
        file_axes=file_axes,
        voxel_size_A=_voxel_size(header, shape[0]),
        origin_A=_finite_triple(header["origin"]),
        start=_start(header, file_axes),
        bytes_of_unknown_sign=dtype == np.dtype("i1") and not _sign_is_told(header, byte_order),
    )


def build_header(
    shape: Tuple[int, int, int],
    dtype: np.dtype,
    voxel_size_A: float,
    origin_A: Tuple[float, float, float],
    statistics: Optional[Tuple[float, float, float, float]] = None,
    start: Tuple[int, int, int] = (0, 0, 0),
) -> bytes:
    """Make a fresh header of a volume in the machine's byte order, without extended header.

    Parameters
    ----------
    shape : tuple of int
        ``(z, y, x)``.
    dtype : numpy.dtype
        One of the types of `MODES`.
    voxel_size_A : float
        Isotropic voxel size.
    origin_A : tuple of float
        ``(x, y, z)``.
    statistics : tuple of float, optional
        ``(minimum, maximum, mean, rms)``; marked as undetermined when not given.
    start : tuple of int
        ``(x, y, z)``, as in `MrcHeader`.
    """
    header = np.zeros((), dtype=HEADER_DTYPE)
    header["nx"], header["ny"], header["nz"] = shape[::-1]
    # MZ = NZ and space group 1 say "one volume"; MZ = 1 would say "a stack of images".
    header["mx"], header["my"], header["mz"] = shape[::-1]
    header["cella"] = tuple(length * voxel_size_A for length in shape[::-1])
    header["cellb"] = (90.0, 90.0, 90.0)
    header["ispg"] = 1
    header["mode"] = mode_of(dtype)
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    # The format marks unknown statistics by max < min, mean < both and a negative rms.
    minimum, maximum, mean, rms = statistics if statistics is not None else (0, -1, -2, -1)
    header["dmin"], header["dmax"], header["dmean"], header["rms"] = minimum, maximum, mean, rms
    header["nversion"] = 20141
    header["origin"] = tuple(origin_A)
    header["nxstart"], header["nystart"], header["nzstart"] = start
    header["map"] = b"MAP "
    header["machst"] = (0x44, 0x44, 0, 0) if sys.byteorder == "little" else (0x11, 0x11, 0, 0)
    header["nlabl"] = 1
    header["label"][0] = f"DUAL {__version__}".ljust(80).encode("ascii")
    return header.tobytes()


def mode_of(dtype: np.dtype) -> int:
    """MRC mode of a numpy type; ValueError for types that MRC cannot hold."""
    for mode, code in MODES.items():
        if np.dtype(code) == np.dtype(dtype):
            return mode
    raise ValueError(f"an MRC file cannot hold {np.dtype(dtype)}")


def _with_byte_order(raw: bytes, name: str) -> Tuple[np.ndarray, str]:
    """Header record in the byte order in which it makes sense, and that order (< or >)."""
    has_map_id = raw[208:211] == b"MAP"
    says_big = raw[212] == 0x11
    # Some programs write a wrong machine stamp, old ones none: the other order is tried too.
    for order in (">", "<") if says_big else ("<", ">"):
        header = np.frombuffer(raw[:HEADER_BYTES], dtype=HEADER_DTYPE.newbyteorder(order))[0]
        known_mode = int(header["mode"]) in MODES or int(header["mode"]) in _OTHER_MODES
        lengths = [int(header[field]) for field in ("nx", "ny", "nz")]
        axes = [int(header[field]) for field in ("mapc", "mapr", "maps")]
        if (
            (known_mode or has_map_id)
            and all(0 < length < 2**20 for length in lengths)
            and all(0 <= axis <= 3 for axis in axes)
        ):
            return header, order
    raise DualError(f"{name}: not an MRC file; give a volume in MRC format (.mrc .rec .map .st)")


def _data_type(header: np.ndarray, byte_order: str, name: str) -> np.dtype:
    mode = int(header["mode"])
    if mode not in MODES:
        what = _OTHER_MODES.get(mode, "an unknown type")
        raise DualError(
            f"{name}: MRC mode {mode} ({what}) is not supported; "
            "convert it to mode 2, for example with newstack -mode 2"
        )
    if mode == 0 and _bytes_are_unsigned(header, byte_order):
        logger.info("%s: its bytes are read as unsigned", name)
        return np.dtype("u1")
    return np.dtype(byte_order + MODES[mode])


def _bytes_are_unsigned(header: np.ndarray, byte_order: str) -> bool:
    """Mode 0 is signed by the standard; IMOD's flags or impossible statistics say otherwise."""
    # IMOD's stamp and flags are the bytes 152 to 159 of the header.
    stamp, flags = np.frombuffer(header["extra2"].tobytes()[40:48], dtype=byte_order + "i4")
    if stamp == _IMOD_STAMP:
        return not flags & _IMOD_SIGNED_BYTES
    return float(header["dmin"]) >= 0 and 127 < float(header["dmax"]) <= 255


def _sign_is_told(header: np.ndarray, byte_order: str) -> bool:
    """Whether IMOD's stamp, or statistics that were determined, say what bytes are."""
    stamp = np.frombuffer(header["extra2"].tobytes()[40:44], dtype=byte_order + "i4")[0]
    low, high = float(header["dmin"]), float(header["dmax"])
    return bool(stamp == _IMOD_STAMP) or -128 <= low < min(high, 0.0)


def _start(header: np.ndarray, file_axes: Tuple[int, int, int]) -> Tuple[int, int, int]:
    """NXSTART and so on are of columns, rows and sections of the file; here of x, y, z."""
    in_file = [int(header[name]) for name in ("nzstart", "nystart", "nxstart")]
    found = [0, 0, 0]
    for value, axis in zip(in_file, file_axes):
        found[2 - axis] = value if abs(value) < 2**24 else 0
    return found[0], found[1], found[2]


def _file_axes(header: np.ndarray) -> Tuple[int, int, int]:
    columns, rows, sections = (int(header[field]) for field in ("mapc", "mapr", "maps"))
    if sorted((columns, rows, sections)) != [1, 2, 3]:
        return 0, 1, 2  # absent in old files
    return 3 - sections, 3 - rows, 3 - columns


def _voxel_size(header: np.ndarray, sections: int) -> Tuple[float, float, float]:
    """Cell size over sampling for ``(x, y, z)``; 0 where either is missing."""
    x, y, z = (_over(float(header["cella"][axis]), int(header["m" + axis])) for axis in "xyz")
    if int(header["mz"]) == 1 and sections > 1 and not math.isclose(x, z, rel_tol=0.01):
        # Volumes saved as if they were image stacks: the cell covers all sections, MZ says one.
        over_all = _over(float(header["cella"]["z"]), sections)
        z = over_all if math.isclose(x, over_all, rel_tol=0.01) else z
    return x, y, z


def _over(cell: float, sampling: int) -> float:
    if sampling <= 0 or not math.isfinite(cell) or cell <= 0:
        return 0.0
    # The cell is a 32-bit float: more than six digits of the quotient are rounding noise.
    return float(f"{cell / sampling:.6g}")


def _finite_triple(record: np.ndarray) -> Tuple[float, float, float]:
    x, y, z = (float(record[axis]) if math.isfinite(record[axis]) else 0.0 for axis in "xyz")
    return x, y, z
