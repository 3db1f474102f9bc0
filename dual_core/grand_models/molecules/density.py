"""The density scale and the resolution that all parts of a grand model share."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

# Density of a protein inside its envelope at 10 to 25 A resolution. The partial specific volume
# (1.35 g/cm3) gives 0.81 Da/A3 for the atoms alone; an envelope also holds grooves, channels
# and bound water. 0.65 is what puts the half-height volume of maps of known mass right.
PROTEIN_DENSITY = 0.65

# A voxel belongs to a molecule from this density on (0.15 of the protein level).
MASK_DENSITY = 0.15 * PROTEIN_DENSITY

# Fainter tails of a blurred molecule are cut, so that a molecule has a finite support.
TAIL_DENSITY = 0.02 * PROTEIN_DENSITY


def resolution_sigma_A(resolution_A: float) -> float:
    """Standard deviation (angstrom) of the Gaussian that stands for a resolution.

    The Gaussian's Fourier transform has fallen to 1/e at ``1 / resolution_A``:
    ``sigma = resolution / (pi sqrt 2)``.
    """
    return float(resolution_A) / (math.pi * math.sqrt(2.0))


def blurred_step(distance: np.ndarray, sigma: float) -> np.ndarray:
    """1 where ``distance < 0``, 0 where positive, blurred by a Gaussian of ``sigma``."""
    return np.asarray(0.5 * special.erfc(np.asarray(distance) / (math.sqrt(2.0) * sigma)))
