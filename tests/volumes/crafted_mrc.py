"""MRC files of which any field can be wrong, and values for them."""

from __future__ import annotations

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

SHAPE = (5, 7, 6)
MODES = {"i1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}


def values(dtype, shape=SHAPE, seed=0):
    """Data of a type, using the part of its range that the signed/unsigned twin lacks."""
    random = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return random.normal(3, 5, shape).astype(kind)
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


def craft(path, data, byte_order="<", extended=b"", **fields):
    """Write an MRC file byte by byte, so that any field can be wrong."""
    header = np.zeros((), dtype=HEADER_DTYPE.newbyteorder(byte_order))
    sections, rows, columns = data.shape
    header["nx"], header["ny"], header["nz"] = columns, rows, sections
    header["mx"], header["my"], header["mz"] = columns, rows, sections
    header["cella"] = (columns * 10.0, rows * 10.0, sections * 10.0)
    header["mode"] = MODES.get(data.dtype.str[1:], 0)
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["map"] = b"MAP "
    header["machst"] = (0x11, 0x11, 0, 0) if byte_order == ">" else (0x44, 0x44, 0, 0)
    header["nsymbt"] = len(extended)
    header["dmin"], header["dmax"], header["dmean"] = 0, -1, -2
    for name, value in fields.items():
        header[name] = value
    raw = data.astype(data.dtype.newbyteorder(byte_order)).tobytes()
    path.write_bytes(header.tobytes() + extended + raw)
    return path


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text
