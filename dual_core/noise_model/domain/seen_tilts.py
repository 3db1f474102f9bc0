"""The tilt range that the power spectrum of a tomogram shows."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
import scipy.fft

from dual_core.noise_model.directions import ANGLE_STEP_DEG, measured_directions
from dual_core.volumes.geometry import sine_taper
from dual_core.volumes.interface import ReadableVolume

Range = Tuple[float, float]

SIDE = 64  # of the blocks that the power is taken from, in voxels
SMALLEST_SIDE = 24  # below it directions cannot be told apart
BLOCKS_ALONG = 4  # along each axis
SMALLEST_WEDGE_DEG = 12.0  # a narrower gap may be chance


def suggest_tilt_range(volume: ReadableVolume) -> Optional[Range]:
    """The tilt range that the power spectrum shows, to a few degrees, or None.

    None where no wedge can be seen: it was filled, the volume was filtered, or it is too thin.
    See `dual_core.noise_model.directions.measured_directions`.
    """
    side = min(SIDE, *volume.shape)
    side -= side % 2
    if side < SMALLEST_SIDE:
        return None
    measured = measured_directions(_power(volume, side), side)[:, 0, :]
    z = np.fft.fftfreq(side)[:, None]
    x = np.fft.rfftfreq(side)[None, :]
    distance = np.hypot(z, x)
    ring = (distance > 0.15) & (distance < 0.45)
    number = round(180 / ANGLE_STEP_DEG)
    angle = np.degrees(np.arctan2(z, x)) + 0 * distance
    bins = np.clip((angle[ring] + 90) / ANGLE_STEP_DEG, 0, number - 1).astype(int)
    counts = np.bincount(bins, minlength=number)
    share = np.bincount(bins, measured[ring], minlength=number) / np.maximum(counts, 1)
    centres = (np.arange(number) + 0.5) * ANGLE_STEP_DEG - 90
    share = np.interp(centres, centres[counts > 0], share[counts > 0], period=180)
    first, length = _longest_run(share < 0.5)
    if length * ANGLE_STEP_DEG < SMALLEST_WEDGE_DEG or length == number:
        return None
    largest = first * ANGLE_STEP_DEG - 90
    smallest = largest + length * ANGLE_STEP_DEG - 180
    # Not a gap around the beam: then it is no range of tilts.
    return (smallest, largest) if -90 < smallest < 0 < largest < 90 else None


def _power(volume: ReadableVolume, side: int) -> np.ndarray:
    """Mean power of blocks spread over the volume, on the half grid of a real transform."""
    taper = sine_taper(side)
    window = taper[:, None, None] * taper[:, None] * taper
    axes = [
        np.unique(np.linspace(0, length - side, BLOCKS_ALONG).astype(int))
        for length in volume.shape
    ]
    total = np.zeros((side, side, side // 2 + 1))
    for z in axes[0]:
        for y in axes[1]:
            for x in axes[2]:
                block = volume.read((int(z), int(y), int(x)), (side, side, side))
                block -= block.mean(dtype=np.float64)
                total += np.abs(scipy.fft.rfftn(block * window)) ** 2
    return total + np.finfo(float).tiny


def _longest_run(missing: np.ndarray) -> Tuple[int, int]:
    """First index and length of the longest run of True on a circle."""
    number = len(missing)
    best = (0, 0)
    for first in range(number):
        length = 0
        while length < number and missing[(first + length) % number]:
            length += 1
        if length > best[1]:
            best = (first, length)
    return best
