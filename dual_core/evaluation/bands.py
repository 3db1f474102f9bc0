"""Power and correlation of two volumes by bands of spatial frequency."""

from __future__ import annotations

from typing import Tuple

import numpy as np
import scipy.fft

# Cycles per voxel. Below is the slow background; above, tomograms show little but noise.
BAND_EDGES = (0.02, 0.04, 0.06, 0.09, 0.12)


def band_products(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Sums over the Fourier coefficients of each band of `BAND_EDGES`.

    Parameters
    ----------
    first, second : ndarray, (z, y, x)

    Returns
    -------
    ndarray, (3, bands), float64
        Cross power (real part), power of the first, power of the second.
    """
    a = scipy.fft.rfftn(first.astype(np.float32, copy=False))
    b = scipy.fft.rfftn(second.astype(np.float32, copy=False))
    fz, fy = (np.fft.fftfreq(side) for side in first.shape[:2])
    fx = np.fft.rfftfreq(first.shape[2])
    # A half-transform holds one of each pair of conjugates, but for x frequency 0.
    weight = np.where(fx == 0, 1.0, 2.0)
    bands = len(BAND_EDGES) - 1
    sums = np.zeros((3, bands))
    for z in range(first.shape[0]):
        radius = np.sqrt(fz[z] ** 2 + fy[:, None] ** 2 + fx[None, :] ** 2)
        band = np.searchsorted(BAND_EDGES, radius, side="right") - 1
        inside = (band >= 0) & (band < bands)
        if not inside.any():
            continue
        p, q = a[z].astype(np.complex128), b[z].astype(np.complex128)
        for row, values in enumerate(((p * q.conj()).real, np.abs(p) ** 2, np.abs(q) ** 2)):
            sums[row] += np.bincount(band[inside], (values * weight)[inside], minlength=bands)
    return sums


def band_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of two volumes ``(z, y, x)`` in each band; 0 where there is no power."""
    cross, power, other = band_products(first, second)
    product = np.sqrt(power * other)
    return np.divide(cross, product, out=np.zeros_like(cross), where=product > 0)


def fit_in_bands(volume: np.ndarray, part: np.ndarray) -> Tuple[float, float]:
    """Least squares of ``volume`` on ``part`` over all bands: (factor, share explained).

    One factor for all frequencies: a part that is too weak at some of them (blurred) leaves
    something behind there. The share is that of the volume's power in the bands, 0 to 1.
    """
    cross, power, other = band_products(volume, part).sum(axis=1)
    if power <= 0 or other <= 0:
        return 0.0, 0.0
    return float(cross / other), float(max(cross, 0.0) ** 2 / (power * other))
