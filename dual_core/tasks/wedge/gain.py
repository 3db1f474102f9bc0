"""The gain that brings the filling of a missing wedge to the amplitude of the tomogram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Tuple

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter1d

from dual_core.tasks.wedge.planes import wedge_content
from dual_core.volumes.geometry import sine_taper, swap_beam_and_x
from dual_core.volumes.reading import ReadableVolume

GAIN_SIDE = 64  # of the blocks that the gain is fitted in
SLABS = 4  # along y, spread evenly
BLOCKS = 16  # of each slab
GAIN_SMOOTHING = 1.0  # shells
FEW_SHELLS = 4  # at the low end, which take the gain of the first one that is believed
SIGNIFICANT = 3.0  # standard errors of a correlation that chance gives

Range = Tuple[float, float]


@dataclass(frozen=True)
class GainCurve:
    """A real gain over the spatial frequency; constant beyond its ends.

    Attributes
    ----------
    frequency : cycles per voxel, rising.
    gain : units of the measured volume over those of the one that fills.
    overall : the one gain that fits best over all frequencies.
    """

    frequency: np.ndarray
    gain: np.ndarray
    overall: float = math.nan

    def __call__(self, radius: np.ndarray) -> np.ndarray:
        """The gain at these frequencies, float32."""
        return np.interp(radius, self.frequency, self.gain).astype(np.float32)


def fit_gain(
    measured: ReadableVolume,
    fill: ReadableVolume,
    tilt_range: Range,
    fill_has_wedge: bool = False,
) -> GainCurve:
    """The gain that brings one volume to the amplitude of the other where that was measured.

    Least squares in shells of the spatial frequency: ``g = <t, f*> / <f, f>``, after taking the
    wedge out of both volumes, so that only what was measured counts. With f the estimate of a
    denoiser and t = H v + n, g f is the best prediction of t that f allows: structure at the
    amplitude that the transfer H of the microscope leaves it, without noise. A shell in which the
    two do not correlate beyond chance has the gain 0.

    Parameters
    ----------
    measured, fill : of one shape ``(z, y, x)``, tilt axis y. A few slabs of `GAIN_SIDE` planes
        are read.
    tilt_range : of the measured volume, in degrees.
    fill_has_wedge : take out the wedge of ``fill`` too, which is that of ``measured`` after
        `dual_core.volumes.geometry.swap_beam_and_x`.
    """
    depth, height, width = (min(GAIN_SIDE, length) for length in measured.shape)
    window = (
        sine_taper(depth)[:, None, None] * sine_taper(height)[:, None] * sine_taper(width)
    )
    radius = np.sqrt(
        np.fft.fftfreq(depth)[:, None, None] ** 2
        + np.fft.fftfreq(height)[None, :, None] ** 2
        + np.fft.rfftfreq(width)[None, None, :] ** 2
    )
    shells = GAIN_SIDE // 2 + 1
    shell = np.minimum(np.rint(radius * GAIN_SIDE).astype(np.intp), shells - 1).ravel()
    corners = [
        (z, x)
        for z in _starts(measured.shape[0], depth)
        for x in _starts(measured.shape[2], width)
    ]
    chosen = np.linspace(0, len(corners) - 1, min(len(corners), BLOCKS)).astype(int)
    sums = np.zeros((4, shells))
    blocks = 0
    for first in np.unique(np.linspace(0, measured.shape[1] - height, SLABS).astype(int)):
        slabs = [
            _common_part(volume, int(first), height, tilt_range, fill_has_wedge)
            for volume in (measured, fill)
        ]
        for z, x in (corners[i] for i in chosen):
            t, f = (
                scipy.fft.rfftn(slab[z : z + depth, :, x : x + width] * window).ravel()
                for slab in slabs
            )
            for row, values in enumerate(((t * f.conj()).real, np.abs(f) ** 2, np.abs(t) ** 2)):
                sums[row] += np.bincount(shell, values, minlength=shells)
            blocks += 1
    # Blocks overlap, the window ties each coefficient to its neighbours, and a part is missing.
    voxels = float(np.prod(measured.shape))
    independent = min(float(blocks), voxels / (depth * height * width)) / 1.5**3
    missing = (2 if fill_has_wedge else 1) * (180 - tilt_range[1] + tilt_range[0]) / 180
    sums[3] = np.bincount(shell, minlength=shells) * independent * max(1 - missing, 0.1)
    overall = float(sums[0].sum() / max(sums[1].sum(), np.finfo(float).tiny))
    cross, fill_power, power, number = gaussian_filter1d(
        sums, GAIN_SMOOTHING, axis=1, mode="nearest"
    )
    correlation = cross / np.sqrt(np.maximum(fill_power * power, np.finfo(float).tiny))
    believed = np.abs(correlation) > SIGNIFICANT / np.sqrt(2 * np.maximum(number, 0.5))
    gain = np.where(believed, cross / np.maximum(fill_power, np.finfo(float).tiny), 0.0)
    # The lowest shells hold too few coefficients to be believed by themselves.
    lowest = int(np.argmax(believed))
    if 0 < lowest <= FEW_SHELLS:
        gain[:lowest] = gain[lowest]
    return GainCurve(np.arange(shells) / GAIN_SIDE, gain, overall)


def _common_part(
    volume: ReadableVolume, first: int, number: int, tilt_range: Range, both_wedges: bool
) -> np.ndarray:
    """Some planes ``(z, x)`` without the wedge, or without that and the swapped one."""
    slab = volume.read((0, first, 0), (volume.shape[0], number, volume.shape[2]))
    slab -= slab.mean(axis=(0, 2), keepdims=True, dtype=np.float64).astype(np.float32)
    slab -= wedge_content(slab, tilt_range)
    if both_wedges:
        slab -= swap_beam_and_x(wedge_content(swap_beam_and_x(slab), tilt_range))
    return slab


def _starts(length: int, side: int) -> List[int]:
    """Where blocks start that cover a length, each overlapping the next by half."""
    number = max(1, -(-2 * length // side) - 1)
    return [int(start) for start in np.linspace(0, length - side, number)]
