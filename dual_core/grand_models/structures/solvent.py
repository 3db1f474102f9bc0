"""The ice between the molecules, which is not even."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dual_core.grand_models.canvas import Canvas
from dual_core.grand_models.molecules.density import PROTEIN_DENSITY


def add_solvent(canvas: Canvas, fluctuation: float, sigma_A: float,
                rng: np.random.Generator) -> None:
    """Let the density of the solvent fluctuate, white up to the resolution.

    Nothing is labelled or blocked, the mean stays, and density falls below zero in places: zero is
    the mean of the solvent.

    Parameters
    ----------
    canvas : Canvas
        With everything else in it: the more of a voxel other things fill, the less it changes.
    fluctuation : float
        Standard deviation where there is solvent alone, as part of the density of protein.
    sigma_A : float
        Gaussian blur of the resolution.
    rng : numpy.random.Generator
    """
    if fluctuation <= 0.0:
        return
    first, last = canvas.slab
    noise = rng.standard_normal(canvas.slab_shape, np.float32)
    ndimage.gaussian_filter(noise, sigma_A / canvas.voxel_size_A, output=noise, mode="wrap")
    noise -= noise.mean()
    noise *= fluctuation * PROTEIN_DENSITY / noise.std()
    sample = canvas.density[first:last]
    sample += noise * (1.0 - np.clip(sample / np.float32(PROTEIN_DENSITY), 0.0, 1.0))
