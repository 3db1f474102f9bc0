"""A cell in noise, a denoiser that cuts off, and how the trust report looks at one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

pytest.importorskip("torch")

from dual_core.evaluation.trust.examine import TrustOptions, examine  # noqa: E402
from dual_core.evaluation.trust.network_pass import Networks  # noqa: E402

SHAPE = (40, 48, 44)
VOXEL_SIZE_A = 10.0


def cells(seed=0, shape=SHAPE, particles=40):
    """Bright balls, standardised."""
    rng = np.random.default_rng(seed)
    points = np.zeros(shape)
    for _ in range(particles):
        points[tuple(int(rng.integers(5, n - 5)) for n in shape)] = 1.0
    balls = gaussian_filter(points, 1.7)
    return ((balls - balls.mean()) / balls.std()).astype(np.float32)


def tomogram(seed=0, noise=1.5):
    """A cell in noise, and the cell, in units of one standard deviation of the tomogram."""
    truth = cells(seed)
    noisy = truth + noise * np.random.default_rng(seed + 100).normal(size=SHAPE)
    scale = noisy.std()
    return ((noisy - noisy.mean()) / scale).astype(np.float32), truth / np.float32(scale)


def values(examination):
    return {found.key: found.value for found in examination.findings}


def verdicts(examination):
    return {found.key: found.verdict for found in examination.findings}


OPTIONS = TrustOptions(diameter_A=80.0)


def look(denoise, t, restore=lambda v: v):
    return examine(t, VOXEL_SIZE_A, Networks(denoise, restore), OPTIONS)


def thresholded(v):
    """A denoiser that shows what stands out of noise and nothing else."""
    return np.clip(gaussian_filter(v, 1.7) - 0.4, 0, None)
