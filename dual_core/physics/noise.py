"""What stands between a perfect image and a recorded one: dose, solvent, electrons, detector.

Sources: radiation damage and exposure filter after Grant & Grigorieff, eLife 4 (2015) e06980;
the order of the stages (specimen, CTF, detection, detector blur) after Vulovic et al.,
J. Struct. Biol. 183 (2013) 19.
"""

from __future__ import annotations

import math
from typing import Sequence, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.physics.config import DOSE_ORDERS


def critical_exposure(frequency_per_A: np.ndarray, voltage_kV: float = 300.0) -> np.ndarray:
    """Dose (e/A^2) after which a coefficient of the specimen has fallen to ``exp(-1/2)``.

    Grant & Grigorieff (2015), equation 3: ``0.24499 k^-1.6649 + 2.8141`` at 300 kV, and 0.8 times
    that at 200 kV (linear in the voltage between and beyond). Infinite at frequency 0.
    """
    frequency = np.asarray(frequency_per_A, dtype=np.float64)
    with np.errstate(divide="ignore"):
        at_300 = 0.24499 * frequency**-1.6649 + 2.8141
    return at_300 * (1.0 + 0.2 * (voltage_kV - 300.0) / 100.0)


def dose_attenuation(
    frequency_per_A: np.ndarray, dose: float, voltage_kV: float = 300.0
) -> np.ndarray:
    """Amplitude left after `dose` (e/A^2): ``exp(-dose / (2 Ne(k)))``.

    It is both what radiation does to the specimen and the exposure filter ("dose weighting")
    that keeps the damaged coefficients from spoiling the reconstruction.
    """
    return np.exp(-dose / (2.0 * critical_exposure(frequency_per_A, voltage_kV)))


def accumulated_doses(
    angles: Sequence[float], total_dose: float, order: str = "symmetric"
) -> np.ndarray:
    """Dose (e/A^2) that the specimen has seen at the middle of each tilt's exposure.

    `order` is ``symmetric`` (the tilts nearest to 0 first, Hagen et al. 2017) or ``sequential``
    (in the order of `angles`). The dose is the same for every tilt.
    """
    values = np.asarray(angles, dtype=np.float64)
    if order == "symmetric":
        turn = np.argsort(np.abs(values), kind="stable")
    elif order == "sequential":
        turn = np.arange(values.size)
    else:
        raise DualError(f"dose order '{order}' is unknown; use one of {', '.join(DOSE_ORDERS)}")
    doses = np.empty(values.size)
    doses[turn] = (np.arange(values.size) + 0.5) * total_dose / values.size
    return doses


def transmission(angles: Sequence[float], thickness_A: float, free_path_A: float) -> np.ndarray:
    """Share of the electrons that still make the image at each tilt, 1 for the untilted slab.

    Beer's law for the path ``thickness / cos(angle)``; `free_path_A` is the mean free path of
    inelastic scattering (about 3000 A in ice at 300 kV; infinity switches the effect off). The
    path ends at ten times the thickness, as no specimen is infinitely wide.
    """
    cosine = np.maximum(np.cos(np.radians(np.asarray(angles, dtype=np.float64))), 0.1)
    return np.exp(-thickness_A / free_path_A * (1.0 / cosine - 1.0))


def detector_response(shape: Tuple[int, int], at_nyquist: float) -> np.ndarray:
    """Radial transfer function of a detector for ``rfft2`` of an image `shape` ``(y, u)``.

    A Lorentzian, the leading term of the usual models of a modulation transfer function (Meyer &
    Kirkland, Microsc. Res. Tech. 49 (2000) 269): 1 at zero and `at_nyquist` (0..1) at Nyquist.
    """
    squared = (
        np.square(np.fft.fftfreq(shape[0]))[:, None] + np.square(np.fft.rfftfreq(shape[1]))[None, :]
    )
    return 1.0 / (1.0 + (1.0 / at_nyquist - 1.0) * 4.0 * squared)


def noise_amplitude(signal_variance: float, unit_noise_variance: float, snr: float) -> float:
    """Factor for noise of variance `unit_noise_variance` so that the ratio becomes `snr`."""
    return math.sqrt(signal_variance / (snr * unit_noise_variance))
