"""Which voxels are blank: exact to the voxel, small in memory, read region by region.

A bit for every voxel would be a third of a gigabyte for a tomogram of 10 GB. Padding is compact, so
nearly all blocks of 8 x 8 x 8 voxels are blank or not as a whole, which takes a byte each; the
few at its surface keep their 512 bits.
"""

from __future__ import annotations

import math
from typing import Dict, Tuple

import numpy as np

from dual_core.volumes.interface import ReadableVolume, Triple, check_region

BLOCK = 8
NONE, SOME, ALL = 0, 1, 2


class BlankMask:
    """Blank voxels of a volume, filled in region by region and then read like a volume.

    ``states`` holds for every block ``(z, y, x)`` whether `NONE`, `SOME` or `ALL` of it is blank.
    """

    def __init__(self, shape: Triple, voxel_size_A: float, name: str) -> None:
        self.shape = shape
        self.voxel_size_A = voxel_size_A
        self.name = name
        self.voxels = 0
        blocks = [-(-length // BLOCK) for length in shape]
        self.states = np.zeros(blocks, dtype=np.uint8)
        self._bits: Dict[Tuple[int, int, int], np.ndarray] = {}

    @property
    def share(self) -> float:
        """The blank part of the volume, 0 to 1."""
        return self.voxels / float(np.prod(self.shape, dtype=np.float64))

    def put(self, start: Triple, blank: np.ndarray) -> None:
        """Take in a region, bool ``(z, y, x)``, that begins and ends with whole blocks.

        At the far faces of the volume it ends with the volume.
        """
        self.voxels += int(np.count_nonzero(blank))
        wide = [(0, -length % BLOCK) for length in blank.shape]
        # Beyond the volume a block goes on as it is at the face, so that it can be whole.
        blank = np.pad(blank, wide, mode="edge")
        z, y, x = (length // BLOCK for length in blank.shape)
        cells = blank.reshape(z, BLOCK, y, BLOCK, x, BLOCK)
        counts = cells.sum(axis=(1, 3, 5), dtype=np.int32)
        states = np.where(counts == 0, NONE, np.where(counts == BLOCK**3, ALL, SOME))
        first = [place // BLOCK for place in start]
        region = tuple(slice(a, a + n) for a, n in zip(first, (z, y, x)))
        self.states[region] = states
        for i, j, k in np.argwhere(states == SOME):
            block = (int(first[0] + i), int(first[1] + j), int(first[2] + k))
            self._bits[block] = np.packbits(cells[i, :, j, :, k, :])

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """A region, bool ``(z, y, x)``; ValueError where it leaves the volume."""
        check_region(start, size, self.shape)
        first = [place // BLOCK for place in start]
        last = [-(-(place + n) // BLOCK) for place, n in zip(start, size)]
        states = self.states[tuple(slice(a, b) for a, b in zip(first, last))]
        if not (states != NONE).any():
            return np.zeros(size, dtype=bool)
        if (states == ALL).all():
            return np.ones(size, dtype=bool)
        blank = states == ALL
        for axis in range(3):
            blank = np.repeat(blank, BLOCK, axis=axis)
        for i, j, k in np.argwhere(states == SOME):
            bits = self._bits[int(first[0] + i), int(first[1] + j), int(first[2] + k)]
            place = tuple(slice(BLOCK * n, BLOCK * (n + 1)) for n in (int(i), int(j), int(k)))
            blank[place] = np.unpackbits(bits).reshape(BLOCK, BLOCK, BLOCK)
        offset = [place - BLOCK * a for place, a in zip(start, first)]
        return blank[tuple(slice(a, a + n) for a, n in zip(offset, size))]

    def load(self) -> np.ndarray:
        """All of it, bool ``(z, y, x)``."""
        return self.read((0, 0, 0), self.shape)

    def enclosed(self) -> float:
        """Part of the blank blocks that have other blocks on both sides along two axes.

        Outside of a convex body there are none along any axis; between the molecules of a density
        map nearly all are.
        """
        content = self.states != ALL
        if content.all():
            return 0.0
        axes = np.zeros(content.shape, dtype=np.uint8)
        for axis in range(3):
            before = np.logical_or.accumulate(content, axis=axis)
            after = np.flip(np.logical_or.accumulate(np.flip(content, axis), axis=axis), axis)
            axes += before & after
        return float((axes[~content] >= 2).mean())


class NearestMask:
    """A mask on another voxel size: every voxel is as the one that its centre lies in."""

    def __init__(self, mask: ReadableVolume, shape: Triple, voxel_size_A: float) -> None:
        self._mask = mask
        self.shape = shape
        self.voxel_size_A = voxel_size_A
        self.name = mask.name
        ratio = voxel_size_A / mask.voxel_size_A
        self._places = [
            np.minimum(((np.arange(new) + 0.5) * ratio).astype(np.intp), old - 1)
            for new, old in zip(shape, mask.shape)
        ]

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """A region, bool ``(z, y, x)``; ValueError where it leaves the volume."""
        check_region(start, size, self.shape)
        if math.prod(size) == 0:
            return np.zeros(size, dtype=bool)
        places = [each[a : a + n] for each, a, n in zip(self._places, start, size)]
        z, y, x = (int(each[0]) for each in places)
        dz, dy, dx = (int(each[-1] - each[0]) + 1 for each in places)
        block = self._mask.read((z, y, x), (dz, dy, dx))
        return block[np.ix_(*[each - each[0] for each in places])]

    def load(self) -> np.ndarray:
        """All of it, bool ``(z, y, x)``."""
        return self.read((0, 0, 0), self.shape)


