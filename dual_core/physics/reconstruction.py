"""Weighted back-projection: from a tilt series to a tomogram.

Two weightings:

``ramp``
    The analytic one: the band-limited ramp of Ramachandran & Lakshminarayanan, sampled in
    *real space* (Kak & Slaney, *Principles of Computerized Tomographic Imaging*, 1988, equation
    3.61) and applied with zero padding, so that neither the mean nor low frequencies are
    lost, as they are when ``|k|`` is sampled in Fourier space. Every tilt
    counts with the angle it stands for, so uneven steps are right, too.
``exact``
    Harauz & van Heel, *Exact filters for general geometry three dimensional reconstruction*,
    Optik 73 (1986) 146: a coefficient is divided by the number of tilts that measured it, in an
    object as thick as the volume. It equals the ramp where tilts overlap, and is flat beyond the
    Crowther frequency ``1 / (D dtheta)``, where the ramp only amplifies noise.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np
from scipy import fft

from dual_core.errors import DualError
from dual_core.physics.config import WEIGHTINGS
from dual_core.physics.projection import back_project


def reconstruct(
    projections: np.ndarray,
    angles: Sequence[float],
    shape: Sequence[int],
    weighting: str = "ramp",
) -> np.ndarray:
    """Tomogram ``(z, y, x)`` of `shape`, float32, from `projections` ``(tilt, y, u)``.

    `angles` are in degrees, in the order of the projections. The density
    scale is kept: a complete noise-free series gives back the volume itself (``exact``: within
    some percent).

    Raises
    ------
    DualError
        For an unknown `weighting`.
    """
    width = projections.shape[2]
    padded = int(fft.next_fast_len(2 * width, real=True))
    if weighting == "ramp":
        filters = np.outer(angular_shares(angles), ramp_filter(padded))
    elif weighting == "exact":
        filters = exact_filter(padded, angles, diameter=shape[0])
    else:
        raise DualError(f"weighting '{weighting}' is unknown; use one of {', '.join(WEIGHTINGS)}")
    weighted = np.empty(projections.shape, np.float32)
    for image, response, out in zip(projections, filters.astype(np.float32), weighted):
        spectrum = fft.rfft(image.astype(np.float32, copy=False), n=padded, axis=1)
        out[:] = fft.irfft(spectrum * response, n=padded, axis=1)[:, :width]
    return back_project(weighted, angles, shape)


def ramp_filter(length: int) -> np.ndarray:
    """Frequency response of the band-limited ramp for ``rfft`` of `length` samples.

    Close to ``|k|`` (cycles a pixel), but small and positive at zero rather than zero.
    """
    offset = np.rint(fft.fftfreq(length) * length)
    kernel = np.zeros(length)
    odd = offset % 2 != 0
    kernel[odd] = -1.0 / np.square(np.pi * offset[odd])
    kernel[0] = 0.25
    return fft.rfft(kernel).real


def angular_shares(angles: Sequence[float]) -> np.ndarray:
    """The angle in radians that each tilt stands for: half the way to each neighbour.

    The outermost tilts stand for as much outside as inside, unless the series closes the half
    circle, where -90 and +90 degrees are the same projection and share one step.
    """
    values = np.asarray(angles, dtype=np.float64)
    if values.size == 1:
        return np.ones(1)
    order = np.argsort(values)
    gaps = np.diff(values[order])
    before = np.concatenate(([gaps[0]], gaps))
    after = np.concatenate((gaps, [gaps[-1]]))
    closing = 180.0 - (values.max() - values.min())
    if closing <= 1.01 * gaps.max():
        before[0] = after[-1] = max(closing, 0.0)
    shares = np.empty(values.size)
    shares[order] = np.radians(before + after) / 2
    return shares


def exact_filter(length: int, angles: Sequence[float], diameter: float) -> np.ndarray:
    """Response ``(tilt, k)`` for ``rfft`` of `length` samples.

    `diameter` of the object in voxels. The slab transforms of two tilts overlap as
    ``max(0, 1 - diameter * k * |sin(difference)|)`` (Harauz & van Heel's triangle). Below
    ``1 / diameter`` that estimate gives too much weight, so the ramp is its upper bound.
    """
    theta = np.radians(np.asarray(angles, dtype=np.float64))
    distance = np.abs(np.sin(theta[:, None] - theta[None, :]))
    response = np.outer(angular_shares(angles), ramp_filter(length))
    for index, frequency in enumerate(fft.rfftfreq(length)):
        overlap = np.maximum(0.0, 1.0 - diameter * frequency * distance)
        bound = 1.0 / (diameter * overlap.sum(axis=1))
        response[:, index] = np.minimum(response[:, index], bound)
    return response
