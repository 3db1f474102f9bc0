"""Volumes seen with their axes exchanged, without a copy."""

from __future__ import annotations

from typing import Tuple

import numpy as np

from dual_core.volumes.interface import ReadableVolume, Triple


class ExchangedVolume:
    """A volume with two of its axes exchanged; reads from the original as it is asked.

    Parameters
    ----------
    volume : any readable volume ``(z, y, x)``.
    axes : the two axes, for example (1, 2) to turn a tilt axis x into y, or (0, 2) for the
        missing-wedge task's second domain, whose beam is along x.
    """

    def __init__(self, volume: ReadableVolume, axes: Tuple[int, int]) -> None:
        self._volume = volume
        self._axes = axes
        self.name = volume.name
        self.voxel_size_A = volume.voxel_size_A
        self.shape = self._exchanged(volume.shape)

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """Region of `size` at `start`, float32, contiguous."""
        block = self._volume.read(self._exchanged(start), self._exchanged(size))
        return np.ascontiguousarray(block.swapaxes(*self._axes))

    def load(self) -> np.ndarray:
        """The whole volume, float32."""
        return self.read((0, 0, 0), self.shape)

    def _exchanged(self, values: Triple) -> Triple:
        return exchanged(values, self._axes)


def exchanged(values: Triple, axes: Tuple[int, int]) -> Triple:
    """A start, a size or a shape with two of its axes exchanged."""
    order = [0, 1, 2]
    one, other = axes
    order[one], order[other] = other, one
    return values[order[0]], values[order[1]], values[order[2]]
