"""Directions of a spectrum about the tilt axis y: which were measured, and how steep each lies."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dual_core.noise_model.tapered_power import half_grid_frequency

WEDGE_BAND = (0.08, 0.35)  # distance from the tilt axis where the wedge is looked for
WEDGE_POWER = 0.4  # of the power near x below which a direction counts as not measured
ANGLE_STEP_DEG = 3.0
ANGLE_BINS = 60


def measured_directions(power: np.ndarray, side: int) -> np.ndarray:
    """How much of each coefficient was measured, 0 to 1, found from the power alone.

    The missing wedge is where the power, seen along the tilt axis y, falls far below that of the
    directions near x. Works for any tilt range, symmetric or not; a volume without a wedge gives
    1 everywhere.

    Parameters
    ----------
    power : mean power of the tomograms on the half grid, ``(side, side, side // 2 + 1)``.
    side : of the grid.
    """
    kz = np.fft.fftfreq(side)[:, None, None]
    ky = np.fft.fftfreq(side)[None, :, None]
    kx = np.fft.rfftfreq(side)[None, None, :]
    distance = np.sqrt(kz**2 + kx**2) + 0.0 * ky  # from the tilt axis
    angle = np.degrees(np.arctan2(kz, kx)) + 0.0 * ky
    looked_at = (distance > WEDGE_BAND[0]) & (distance < WEDGE_BAND[1]) & (np.abs(ky) < 0.25)
    bins = np.clip(((angle + 90.0) / ANGLE_STEP_DEG).astype(np.intp), 0, ANGLE_BINS - 1)
    # Relative to the mean at that distance, so that the fall of the spectrum does not count.
    ring = np.rint(distance * side).astype(np.intp)
    relative = power / _group_mean(power, ring)
    totals = np.bincount(bins[looked_at], relative[looked_at], minlength=ANGLE_BINS)
    counts = np.bincount(bins[looked_at], minlength=ANGLE_BINS)
    centres = (np.arange(ANGLE_BINS) + 0.5) * ANGLE_STEP_DEG - 90.0
    filled = counts > 0  # a small grid leaves some directions without a coefficient
    profile = np.interp(centres, centres[filled], totals[filled] / counts[filled], period=180.0)
    reference = np.median(profile[np.abs(centres) < 30.0])
    present = profile > WEDGE_POWER * reference
    share = gaussian_filter1d(present.astype(float), 0.5, mode="wrap")
    # Near the tilt axis every direction is within one voxel of a measured one.
    return np.where(distance < 1.0 / side, 1.0, share[bins])


def _group_mean(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean over its group."""
    totals = np.bincount(groups.ravel(), values.ravel())
    counts = np.bincount(groups.ravel())
    return (totals / np.maximum(counts, 1))[groups]


def steepness_of(side: int) -> np.ndarray:
    """Distance from the tilt axis over that from the origin, on the half grid."""
    full, half = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    frequency = half_grid_frequency(side)
    away = np.sqrt(full[:, None, None] ** 2 + half[None, None, :] ** 2) + 0.0 * frequency
    return away / np.maximum(frequency, 1e-9)
