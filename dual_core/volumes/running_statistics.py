"""Mean, deviation and range of data that come in pieces, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_PIECE = 1 << 16  # values that stay in a processor's cache, as float64


@dataclass(frozen=True)
class VolumeStatistics:
    """Statistics over all voxels of a volume; `std` is the population deviation."""

    mean: float
    std: float
    minimum: float
    maximum: float


class RunningStatistics:
    """Accumulates statistics without cancellation, whatever the offset of the data.

    Blocks are merged by the pairwise update of Chan, Golub and LeVeque (1979).
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._minimum = math.inf
        self._maximum = -math.inf

    def add(self, block: np.ndarray) -> bool:
        """Take in an array of any shape; False, and nothing taken in, where it is not finite."""
        values = block.reshape(-1)
        if values.size == 0:
            return False
        minimum, maximum = float(values.min()), float(values.max())
        if not (math.isfinite(minimum) and math.isfinite(maximum)):
            return False
        for first in range(0, values.size, _PIECE):
            piece = values[first : first + _PIECE].astype(np.float64)
            mean = float(piece.mean())
            piece -= mean
            self._merge(piece.size, mean, float(np.dot(piece, piece)))
        self._minimum = min(self._minimum, minimum)
        self._maximum = max(self._maximum, maximum)
        return True

    def merge(self, other: RunningStatistics) -> None:
        """Take in what another has taken in."""
        if other._count:
            self._merge(other._count, other._mean, other._squares)
            self._minimum = min(self._minimum, other._minimum)
            self._maximum = max(self._maximum, other._maximum)

    def _merge(self, number: int, mean: float, squares: float) -> None:
        count = self._count + number
        shift = mean - self._mean
        self._squares += squares + shift * shift * self._count * number / count
        self._mean += shift * number / count
        self._count = count

    @property
    def result(self) -> VolumeStatistics:
        """Statistics of everything taken in so far (at least one value)."""
        if self._count == 0:
            raise ValueError("no data")
        std = math.sqrt(self._squares / self._count)
        return VolumeStatistics(self._mean, std, self._minimum, self._maximum)
