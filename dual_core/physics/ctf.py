"""The contrast transfer function (CTF) of the electron microscope.

Formulas and signs as in Rohou & Grigorieff, *CTFFIND4*, J. Struct. Biol. 192 (2015) 216,
equations 1 to 5, without astigmatism::

    CTF(k) = -sin(chi(k) + phi),   chi(k) = pi lambda k^2 (defocus - lambda^2 k^2 Cs / 2)
    phi = atan(A / sqrt(1 - A^2))

with the defocus positive for underfocus and A the amplitude contrast. At low
frequencies the CTF is negative: density is dark.

The defocus is that of the tilt axis: its gradient across a tilted specimen
(``u tan(theta)``, a tenth of a micrometre at the edge of small volumes) is not modelled.
"""

from __future__ import annotations

import math
from typing import Tuple

import numpy as np


def electron_wavelength_A(voltage_kV: float) -> float:
    """Relativistic electron wavelength in angstrom (0.0197 at 300 kV).

    Kirkland, *Advanced Computing in Electron Microscopy* (2010), equation 2.5.
    """
    rest_keV, planck_light_keV_A = 510.998950, 12.3984198
    return planck_light_keV_A / math.sqrt(voltage_kV * (2 * rest_keV + voltage_kV))


def contrast_transfer(
    frequency_per_A: np.ndarray,
    defocus_um: float,
    voltage_kV: float = 300.0,
    cs_mm: float = 2.7,
    amplitude_contrast: float = 0.07,
) -> np.ndarray:
    """CTF at spatial frequencies in 1/angstrom; same shape as `frequency_per_A`, within -1..1."""
    wavelength = electron_wavelength_A(voltage_kV)
    squared = np.square(np.asarray(frequency_per_A, dtype=np.float64))
    defocus_A, cs_A = defocus_um * 1e4, cs_mm * 1e7
    phase = math.pi * wavelength * squared * (defocus_A - 0.5 * wavelength**2 * squared * cs_A)
    return -np.sin(phase + math.asin(amplitude_contrast))


def image_frequencies(shape: Tuple[int, int], pixel_size_A: float) -> np.ndarray:
    """Radial frequency in 1/angstrom of every coefficient of ``rfft2`` of an image ``(y, u)``."""
    rows = np.fft.fftfreq(shape[0], d=pixel_size_A)[:, None]
    columns = np.fft.rfftfreq(shape[1], d=pixel_size_A)[None, :]
    return np.hypot(rows, columns)
