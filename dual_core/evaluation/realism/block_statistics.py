"""Statistics over cubic blocks of a volume: the power spectrum, and how its texture varies."""

from __future__ import annotations

from itertools import product
from typing import Dict, Iterator

import numpy as np
import scipy.fft

from dual_core.volumes.geometry import sine_taper

LOCAL_STATISTICS = ("mean", "deviation", "skewness", "autocorrelation")


def block_power(volume: np.ndarray, side: int) -> np.ndarray:
    """Mean power spectrum of half-overlapping, tapered cubes (Welch's method).

    Returns
    -------
    numpy.ndarray
        ``(side, side, side)``, in the order of `numpy.fft.fftn`. White noise of deviation 1 has
        a power of 1 everywhere, whatever the shape of the volume.
    """
    window = sine_taper(side) ** 2
    taper = (window[:, None, None] * window[:, None] * window).astype(np.float32)
    total, number = np.zeros((side, side, side)), 0
    for block in _blocks(volume, side, side // 2):
        # The mean under the window: what is left of it would leak into the first shells.
        centred = block - float(np.sum(block * taper, dtype=np.float64) / taper.sum())
        total += np.abs(scipy.fft.fftn(centred * taper)) ** 2
        number += 1
    return total / (number * float(np.sum(taper.astype(np.float64) ** 2)))


def local_statistics(volume: np.ndarray, side: int) -> Dict[str, np.ndarray]:
    """`LOCAL_STATISTICS` of every cube of a grid, each ``(block,)``.

    The autocorrelation is that of next neighbours, mean over the three axes.
    """
    found = []
    for block in _blocks(volume, side, side):
        mean = float(block.mean(dtype=np.float64))
        centred = block - mean
        deviation = max(float(np.sqrt(np.mean(np.square(centred, dtype=np.float64)))), 1e-12)
        centred /= deviation
        skewness = float(np.mean(centred.astype(np.float64) ** 3))
        neighbours = [
            np.mean(np.delete(centred, -1, axis) * np.delete(centred, 0, axis))
            for axis in range(3)
        ]
        found.append((mean, deviation, skewness, float(np.mean(neighbours))))
    return dict(zip(LOCAL_STATISTICS, np.array(found).T))


def _blocks(volume: np.ndarray, side: int, step: int) -> Iterator[np.ndarray]:
    """Cubes spread evenly over a volume, about ``step`` apart, first and last at the faces."""
    starts = []
    for length in volume.shape:
        number = -(-(length - side) // step) + 1 if step < side else max(1, length // side)
        starts.append(np.rint(np.linspace(0, length - side, number)).astype(int))
    for z, y, x in product(*starts):
        yield volume[z : z + side, y : y + side, x : x + side]
