"""Mean, deviation and range of data that come in pieces, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


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
        values = block.astype(np.float64).ravel()
        mean = float(values.mean())
        if not math.isfinite(mean):
            return False
        minimum, maximum = float(values.min()), float(values.max())
        values -= mean
        squares = float(np.dot(values, values))
        count = self._count + values.size
        shift = mean - self._mean
        self._squares += squares + shift * shift * self._count * values.size / count
        self._mean += shift * values.size / count
        self._count = count
        self._minimum = min(self._minimum, minimum)
        self._maximum = max(self._maximum, maximum)
        return True

    @property
    def result(self) -> VolumeStatistics:
        """Statistics of everything taken in so far (at least one value)."""
        if self._count == 0:
            raise ValueError("no data")
        std = math.sqrt(self._squares / self._count)
        return VolumeStatistics(self._mean, std, self._minimum, self._maximum)
