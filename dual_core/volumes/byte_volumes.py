"""What bytes in a volume mean: signed or not where the header does not say, and masks of bytes."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from typing import Callable

import numpy as np

from dual_core.volumes.header import MrcHeader
from dual_core.volumes.interface import ReadableVolume, Triple, iterate_slabs

logger = logging.getLogger(__name__)

SAMPLES = 64  # pieces of the data that are looked at
SAMPLE_BYTES = 1 << 14
# How much wider the values must be spread as signed numbers to be taken for unsigned ones. Values
# on either side of 0 are as far apart as can be when they are read as unsigned, those on either
# side of 128 when they are read as signed; where all are below 128 both readings are the same.
WIDER = 1.5
SIGNED_ZERO = -128.0  # what IMOD writes for 0 where it writes signed bytes


def looks_unsigned(read: Callable[[int, int], bytes], first: int, number: int) -> bool:
    """Whether bytes make sense as unsigned numbers rather than as signed ones.

    Parameters
    ----------
    read : gives (number, offset) bytes of the file.
    first, number : where the data begin, and how many bytes they have.
    """
    length = min(SAMPLE_BYTES, number)
    starts = np.linspace(0, number - length, SAMPLES if number > length else 1).astype(np.int64)
    pieces = [np.frombuffer(read(length, first + int(start)), np.uint8) for start in starts]
    values = np.concatenate(pieces)
    return bool(values.view(np.int8).std() > WIDER * values.std())


def with_sign(header: MrcHeader, descriptor: int, name: str) -> MrcHeader:
    """The header with the type of bytes that the data show, where it does not tell itself."""
    if not header.bytes_of_unknown_sign:
        return header

    def read(number: int, offset: int) -> bytes:
        return os.pread(descriptor, number, offset)

    unsigned = looks_unsigned(read, header.data_offset, math.prod(header.shape))
    logger.info(
        "%s: its header does not say whether its bytes have a sign; by the data they are read as "
        "%s", name, "unsigned" if unsigned else "signed",
    )
    return dataclasses.replace(header, dtype=np.dtype("u1" if unsigned else "i1"))


class ShiftedMask:
    """A mask of 0 and 1 that a program wrote as the signed bytes -128 and -127."""

    def __init__(self, volume: ReadableVolume) -> None:
        self._volume = volume
        self.name = volume.name
        self.shape: Triple = volume.shape
        self.voxel_size_A = volume.voxel_size_A

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """Region of 0 and 1, ``(z, y, x)`` float32."""
        return self._volume.read(start, size) - np.float32(SIGNED_ZERO)

    def load(self) -> np.ndarray:
        """The whole mask, float32."""
        return self.read((0, 0, 0), self.shape)


def as_mask(volume: ReadableVolume) -> ReadableVolume:
    """The volume, or where it holds -128 and -127 alone, the 0 and 1 that they stand for."""
    for start, size in iterate_slabs(volume.shape):
        slab = volume.read(start, size)
        if slab.max() > SIGNED_ZERO + 1 or not np.isin(slab, (SIGNED_ZERO, SIGNED_ZERO + 1)).all():
            return volume
    return ShiftedMask(volume)
