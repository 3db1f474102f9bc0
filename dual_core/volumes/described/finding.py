"""Finding padding: regions of exactly equal values, whatever the value.

Programs that align or cut tomograms fill what they have no data for with 0, the mean or any other
number. Measured values do not repeat like that: in a byte tomogram two neighbours are equal in one
case of thirty. Two things look alike and are something else. Gold that saturates is flat too, but
round and small: a plate of 8 x 8 voxels does not fit into a bead of less than 11. And
the background of a density map that was made, not measured, is content.
"""

from __future__ import annotations

from typing import Counter, Iterator, List, Sequence, Tuple

import numpy as np
from scipy import ndimage

from dual_core.volumes.described.mask import BLOCK, BlankMask
from dual_core.volumes.interface import ReadableVolume, Triple

PLATE = 8  # voxels; the smallest square, in any of the three orientations, that counts as blank
# From the plates onwards equal voxels that touch are blank too: the tips of rotated corners.
GROWTH = 8
MARGIN = PLATE + GROWTH
SMALLEST_SHARE = 5e-4  # of the volume in runs of one value; less is not worth a thought
MOST_VALUES = 4
BRICK_VOXELS = 1 << 23
BRICK_DEPTH = 32
SMOOTH_EDGE = 1.0  # deviations; density fades into its background, content stops at padding
SPARSE = 0.9  # blank share above which what is left is some molecules rather than a specimen
ENCLOSED = 0.3  # of the background between molecules; 0 of padding around a convex specimen
_EDGE_SAMPLE = 1 << 16


def bricks(shape: Triple) -> Iterator[Tuple[Triple, Triple]]:
    """(start, size) of regions of whole rows that begin at multiples of `BLOCK`."""
    depth, rows, columns = shape
    deep = min(depth, BRICK_DEPTH)
    high = max(BLOCK, BRICK_VOXELS // (deep * columns) // BLOCK * BLOCK)
    for z in range(0, depth, BRICK_DEPTH):
        for y in range(0, rows, high):
            yield (z, y, 0), (min(BRICK_DEPTH, depth - z), min(high, rows - y), columns)


class RepeatedValues:
    """Counts, while bricks go by, which values come in runs of 8 along an axis."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()
        self._voxels = 0

    def add(self, brick: np.ndarray) -> None:
        """Take in a region ``(z, y, x)``."""
        self._voxels += brick.size
        for axis in range(3):
            lines = np.moveaxis(brick, axis, 0)
            groups = len(lines) // BLOCK
            if groups == 0:
                continue
            # Runs at multiples of 8 only: every run of 15 holds one.
            lines = lines[: groups * BLOCK].reshape(groups, BLOCK, *lines.shape[1:])
            flat = lines[:, 0] == lines[:, -1]
            for place in range(1, BLOCK - 1):
                if not flat.any():
                    break
                flat &= lines[:, 0] == lines[:, place]
            values, counts = np.unique(lines[:, 0][flat], return_counts=True)
            for value, count in zip(values.tolist(), counts.tolist()):
                self._counts[value] += count
            if len(self._counts) > 1 << 16:
                # A made density has plateaus of very many values; none of them is a filling.
                self._counts = Counter(dict(self._counts.most_common(1 << 8)))

    @property
    def values(self) -> List[float]:
        """Those that fill a part of the volume that matters, the commonest first."""
        least = max(PLATE, SMALLEST_SHARE * self._voxels / BLOCK)
        common = self._counts.most_common(MOST_VALUES)
        return [value for value, count in common if count >= least]


def flat_regions(same: np.ndarray) -> np.ndarray:
    """Where plates of `PLATE` voxels fit into a bool array, and what touches them; bool."""
    found = np.zeros_like(same)
    if not same.any():
        return found
    if same.all():
        return ~found
    bits = same.view(np.uint8)
    for normal in range(3):
        opened = bits
        axes = [axis for axis in range(3) if axis != normal]
        sides = [min(PLATE, same.shape[axis]) for axis in axes]
        for axis, side in zip(axes, sides):
            opened = ndimage.minimum_filter1d(opened, side, axis, mode="constant", cval=0)
        if not opened.any():
            continue
        for axis, side in zip(axes, sides):
            # An even filter is not centred: the way back is shifted by the other half.
            opened = ndimage.maximum_filter1d(
                opened, side, axis, mode="constant", cval=0, origin=-1 if side % 2 == 0 else 0
            )
        found |= opened.view(bool)
    return ndimage.binary_dilation(found, mask=same, iterations=GROWTH) if found.any() else found


class BlankFinder:
    """Finds the blank voxels of a volume brick by brick and what lies beside them."""

    def __init__(self, volume: ReadableVolume, values: Sequence[float]) -> None:
        self._volume = volume
        self._values = [np.float32(value) for value in values]
        self._beside: List[np.ndarray] = []
        self.mask = BlankMask(volume.shape, volume.voxel_size_A, volume.name)

    def next(self, start: Triple, size: Triple) -> Tuple[np.ndarray, np.ndarray]:
        """The voxels of a brick, float32, and which of them are blank; both ``size``."""
        low = [max(0, a - MARGIN) for a in start]
        high = [min(n, a + k + MARGIN) for a, k, n in zip(start, size, self._volume.shape)]
        wide = self._volume.read(
            (low[0], low[1], low[2]), (high[0] - low[0], high[1] - low[1], high[2] - low[2])
        )
        inner = tuple(slice(a - b, a - b + n) for a, b, n in zip(start, low, size))
        brick = wide[inner]
        blank = np.zeros(wide.shape, dtype=bool)
        for value in self._values:
            region = flat_regions(wide == value)
            if region.any():
                edge = ndimage.binary_dilation(region) & ~region
                beside = np.abs(brick[edge[inner]] - value)
                self._beside.append(beside[:: max(1, beside.size // _EDGE_SAMPLE)])
                blank |= region
        self.mask.put(start, blank[inner])
        return brick, blank[inner]

    def is_background(self, minimum: float, maximum: float, deviation: float) -> bool:
        """Whether what was found is rather the background of a density map, and content.

        Density lies on one side of its background; and it fades into it, or there is background
        between the molecules, where padding is outside of the specimen, or hardly anything else.
        The lowest value of a noisy specimen is deviations away from what lies beside its padding.

        Parameters
        ----------
        minimum, maximum : of all voxels.
        deviation : of the voxels that are not blank; the volume's units.
        """
        if self.mask.share == 0 or not any(v in (minimum, maximum) for v in self._values):
            return False
        beside = np.concatenate(self._beside) if self._beside else np.zeros(0)
        fades = beside.size > 0 and float(np.median(beside)) <= SMOOTH_EDGE * deviation
        return fades or self.mask.share > SPARSE or self.mask.enclosed() > ENCLOSED
