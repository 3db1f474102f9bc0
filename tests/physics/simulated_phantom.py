"""A phantom to simulate, small settings for it, and how volumes are compared."""

import numpy as np
from scipy.ndimage import gaussian_filter

from dual_core.physics.config import SimulatorConfig

SLAB = (20, 14, 44)


def correlation(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def phantom(shape, smooth):
    """Balls of several sizes and densities, the same every time."""
    rng = np.random.default_rng(3)
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    volume = np.zeros(shape)
    for _ in range(12):
        radius = min(rng.uniform(2.5, 5.0), min(shape) / 2 - 1)
        centre = [rng.uniform(radius, n - 1 - radius) for n in shape]
        inside = sum((g - c) ** 2 for g, c in zip(grids, centre)) < radius**2
        volume[inside] += rng.uniform(0.5, 2.0)
    return gaussian_filter(volume, smooth) if smooth else volume


def small_config(**changes):
    return SimulatorConfig(**{"voxel_size_A": 10.0, "tilt_step": 6.0, **changes})
