"""Two copies of a block of a tomogram whose noise has nothing in common.

``t + a z`` and ``t - z / a``, where z is drawn with the noise power that was measured: their
noises are uncorrelated (Pang et al., Recorrupted-to-Recorrupted, CVPR 2021). What is predicted from
one can be compared with the other, with no half tomograms and no truth.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

import numpy as np

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.tapered_power import half_grid_frequency, on_grid
from dual_core.volumes.arithmetic import HOST, HostArithmetic
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

    seen: Any
    other: Any


class Recorruption:
    """Makes the copies of blocks of one shape.

    Parameters
    ----------
    model : the linear model, whose noise is drawn.
    shape : ``(z, y, x)`` of the blocks.
    strength : a.
    excess : how much stronger than measured the noise is drawn; by default `EXCESS`, or 1 where its
        power is from halves.
    arithmetic : what blocks are computed with; copies lie where it computes.
    """

    def __init__(
        self,
        model: LinearModel,
        shape: Triple,
        strength: float = STRENGTH,
        excess: Optional[float] = None,
        arithmetic: HostArithmetic = HOST,
    ) -> None:
        self._compute = arithmetic
        self._strength = strength
        self._amplitude = arithmetic.given(on_grid(model.noise_amplitude, shape))
        fine = half_grid_frequency(shape) >= FINE
        self._fine = arithmetic.given(fine.astype(np.float32))
        known = 1.0 if model.source == "halves" else EXCESS
        self._excess = known if excess is None else excess

    def __call__(self, block: np.ndarray, generator: np.random.Generator) -> RecorruptedPair:
        """Two copies of a block ``(..., z, y, x)``, with fresh noise."""
        block = self._compute.given(block)
        return self.with_noise(block, self.noise(block, generator))

    def noise(self, block: Any, generator: np.random.Generator) -> Any:
        """Noise as strong as that of a block."""
        white = self._compute.white_noise(block.shape, generator)
        noise = self._filtered(white, self._amplitude)
        return noise * self._local_deviation(block, noise)

    def with_noise(self, block: Any, noise: Any) -> RecorruptedPair:
        """The two copies of a block that a given noise makes."""
        return RecorruptedPair(block + self._strength * noise, block - noise / self._strength)

    def _local_deviation(self, block: Any, noise: Any) -> Any:
        """How strong the noise is about each voxel, in the drawn noise's deviation.

        The highest frequencies hold next to no structure. Where noise is drawn weaker than it is,
        the two copies have a part of it in common, and Dn would learn to let it through.
        """
        own, drawn = (
            self._compute.blurred(self._filtered(part, self._fine) ** 2, LOCAL)
            for part in (block, noise)
        )
        level = own / max(float(drawn.mean()), 1e-9)
        return self._compute.root(self._excess * self._compute.clipped(level, LEVEL_RANGE))

    def _filtered(self, block: Any, response: Any) -> Any:
        return self._compute.block(self._compute.spectrum(block) * response, block.shape)
