"""Two copies of a block of a tomogram whose noise has nothing in common.

``t + a z`` and ``t - z / a``, where z is drawn with the noise power that was measured: their
noises are uncorrelated (Pang et al., Recorrupted-to-Recorrupted, CVPR 2021). What is predicted from
one can be compared with the other, with no half tomograms and no truth.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np
from scipy.ndimage import gaussian_filter

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.tapered_power import half_grid_frequency, on_grid
from dual_core.volumes.interface import Triple

STRENGTH = 0.5  # a; the copy that Dn sees has 1 + a^2 times the noise
FINE = 0.32  # cycles per voxel beyond which there is noise alone
LOCAL = 6.0  # voxels over which the noise's strength is measured
LEVEL_RANGE = (0.3, 3.0)  # of the noise power about a voxel, in the mean
# Where N is not known exactly, it is rather drawn too strong: copies whose noise is anticorrelated
# make a result smooth, those that share noise make it noisy.
EXCESS = 1.15


class RecorruptedPair(NamedTuple):
    """Two copies of a block, of its shape, float32, with independent noise."""

    seen: np.ndarray
    other: np.ndarray


class Recorruption:
    """Makes the copies of blocks of one shape.

    Parameters
    ----------
    model : the linear model, whose noise is drawn.
    shape : ``(z, y, x)`` of the blocks.
    strength : a.
    excess : how much stronger than measured the noise is drawn; by default `EXCESS`, or 1 where its
        power is from halves.
    """

    def __init__(
        self,
        model: LinearModel,
        shape: Triple,
        strength: float = STRENGTH,
        excess: Optional[float] = None,
    ) -> None:
        self._strength = strength
        self._amplitude = on_grid(model.noise_amplitude, shape)
        self._fine = (half_grid_frequency(shape) >= FINE).astype(np.float32)
        known = 1.0 if model.source == "halves" else EXCESS
        self._excess = known if excess is None else excess

    def __call__(self, block: np.ndarray, generator: np.random.Generator) -> RecorruptedPair:
        """Two copies of a block ``(..., z, y, x)``, with fresh noise."""
        return self.with_noise(block, self.noise(block, generator))

    def noise(self, block: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Noise as strong as that of a block."""
        white = generator.standard_normal(block.shape, dtype=np.float32)
        noise = self._filtered(white, self._amplitude)
        noise *= self._local_deviation(block, noise)
        return noise

    def with_noise(self, block: np.ndarray, noise: np.ndarray) -> RecorruptedPair:
        """The two copies of a block that a given noise makes."""
        return RecorruptedPair(block + self._strength * noise, block - noise / self._strength)

    def _local_deviation(self, block: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """How strong the noise is about each voxel, in the drawn noise's deviation.

        The highest frequencies hold next to no structure. Where noise is drawn weaker than it is,
        the two copies have a part of it in common, and Dn would learn to let it through.
        """
        sigma = (0.0,) * (block.ndim - 3) + (LOCAL,) * 3
        own, drawn = (
            gaussian_filter(self._filtered(part, self._fine) ** 2, sigma, mode="reflect")
            for part in (block, noise)
        )
        level = own / np.maximum(drawn.mean(), 1e-9)
        return np.sqrt(self._excess * np.clip(level, *LEVEL_RANGE)).astype(np.float32)

    @staticmethod
    def _filtered(block: np.ndarray, response: np.ndarray) -> np.ndarray:
        axes = (-3, -2, -1)
        spectrum = np.fft.rfftn(block, axes=axes) * response
        return np.fft.irfftn(spectrum, s=block.shape[-3:], axes=axes).astype(np.float32)
