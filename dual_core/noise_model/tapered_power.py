"""Power spectra taken from tapered blocks, and the spectrum of the field that the blocks come from.

A taper keeps the faces of a block out of its spectrum, and smears the spectrum by a coefficient
or two. Across the edge of a missing wedge, where the power changes by a factor of hundreds, that
fills the wedge with power that is not there.

Power is on the half grid of a real FFT, ``(side, side, side // 2 + 1)``, in units of white noise
of deviation 1; transforms are orthonormal.
"""

from __future__ import annotations

from typing import Union

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter

from dual_core.volumes.geometry import sine_taper
from dual_core.volumes.reading import Triple

SMOOTHING = 0.8  # coefficients
FLOOR = 1e-6
STEPS = 8
BLUR = 1.0  # coefficients


def taper(side: int) -> np.ndarray:
    """A sine along each axis, with a mean square of 1, ``(side, side, side)``."""
    axis = sine_taper(side).astype(np.float32)
    window = axis[:, None, None] * axis[None, :, None] * axis[None, None, :]
    return window / np.sqrt(np.mean(window**2))


def half_grid_frequency(shape: Union[int, Triple]) -> np.ndarray:
    """Distance from the origin on the half grid of a shape or a cube's side, cycles per voxel."""
    z, y, x = (shape,) * 3 if isinstance(shape, int) else shape
    rows, columns = np.fft.fftfreq(z), np.fft.fftfreq(y)
    half = np.fft.rfftfreq(x)
    return np.sqrt(
        rows[:, None, None] ** 2 + columns[None, :, None] ** 2 + half[None, None, :] ** 2
    )


def smoothed(power: np.ndarray) -> np.ndarray:
    """Power on the half grid, smoothed over the next coefficients."""
    return np.maximum(gaussian_filter(power, SMOOTHING, mode=("wrap", "wrap", "nearest")), FLOOR)


def on_grid(values: np.ndarray, shape: Triple) -> np.ndarray:
    """Values of a cubic half grid, linearly interpolated to the half grid of a shape, float32."""
    side = values.shape[0]
    result = values.astype(np.float32)
    for axis, length in enumerate(shape):
        half = axis == 2
        wanted = (np.fft.rfftfreq if half else np.fft.fftfreq)(length) * side
        matrix = _interpolation(wanted, values.shape[axis], half)
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    return result


def as_tapered(power: np.ndarray, field_side: int) -> np.ndarray:
    """The mean power of tapered blocks, cut from a periodic field that was made with ``power``.

    Parameters
    ----------
    power : of the field; the field's grid takes its amplitudes from it, see `on_grid`.
    field_side : side of the field in voxels, at least that of the blocks.
    """
    side = power.shape[0]
    amplitude = on_grid(np.sqrt(power), (field_side,) * 3)
    covariance = scipy.fft.irfftn(amplitude**2, s=(field_side,) * 3)
    lags = np.arange(1 - side, side)
    axis = sine_taper(side)
    # Products of the taper with itself at each lag; divided so that that of lag 0 is 1.
    overlap = np.correlate(axis, axis, mode="full") / np.sum(axis**2)
    for dimension in range(3):
        part = np.take(covariance, lags % field_side, axis=dimension)
        part = np.moveaxis(part, dimension, 0) * overlap[:, None, None]
        folded = part[side - 1 :].copy()
        folded[1:] += part[: side - 1]
        covariance = np.moveaxis(folded, 0, dimension)
    return np.maximum(scipy.fft.rfftn(covariance).real, FLOOR)


def unsmeared(power: np.ndarray, measured: np.ndarray, field_side: int) -> np.ndarray:
    """The power of a field of which tapered blocks have a given power, smoothed.

    Found by multiplying with the ratio of what is wanted and what comes out, some times (Gold's
    algorithm, Argonne National Laboratory report ANL-6984, 1964), which keeps the power positive.
    Only at the edge of the missing wedge is the power sharp. So the ratio is smoothed on either
    side of it, or the noise in the power would grow with every step.

    Parameters
    ----------
    power : mean over tapered blocks, after `smoothed`.
    measured : how much of each coefficient was measured, 0 to 1, same shape.
    field_side : as for `as_tapered`.
    """
    sides = (measured, 1.0 - measured)
    weights = [np.maximum(_blurred(share), FLOOR) for share in sides]
    found = power
    for _ in range(STEPS):
        change = np.log(power / smoothed(as_tapered(found, field_side)))
        change = sum(
            share * _blurred(share * change) / weight for share, weight in zip(sides, weights)
        )
        found = np.maximum(found * np.exp(change), FLOOR)
    return found


def _blurred(values: np.ndarray) -> np.ndarray:
    return gaussian_filter(values, BLUR, mode=("wrap", "wrap", "reflect"))


def _interpolation(wanted: np.ndarray, length: int, half: bool) -> np.ndarray:
    """Weights ``(wanted, length)`` of linear interpolation at places given in coefficients."""
    low = np.floor(wanted).astype(np.intp)
    part = wanted - low
    matrix = np.zeros((len(wanted), length), dtype=np.float32)
    rows = np.arange(len(wanted))
    for index, weight in ((low, 1.0 - part), (low + 1, part)):
        index = np.minimum(index, length - 1) if half else index % length
        np.add.at(matrix, (rows, index), weight)
    return matrix
