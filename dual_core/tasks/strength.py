"""How much to denoise: the blend of a tomogram and the denoiser's output.

Let ``t`` be the standardised tomogram and ``d`` the output of the denoiser (equation 2 of the
paper, Dn), both in the contrast of the clean domain. ``d`` is in the units of the clean domain,
so first it is brought to the units of ``t`` by least squares::

    t = (a d + b) + r,      a = cov(t, d) / var(d),      b = mean(t) - a mean(d)

The residual ``r`` is what denoising removes. Least squares make it uncorrelated with ``d``, so
the power of the tomogram splits exactly: ``var(t) = a^2 var(d) + var(r)``. The strength ``S``
keeps the part ``1 - S`` of the residual::

    out(S) = (1 - S) t + S (a d + b) = (a d + b) + (1 - S) r
    var(out) = a^2 var(d) + (1 - S)^2 var(r)

So the structure found has one amplitude at every strength, the power of what was removed
falls as ``(1 - S)^2``, in every part of the spectrum alike, and nothing appears that is not in
``t`` or ``d``. ``out`` is continuous in S. S = 0 is the tomogram itself, bit by bit; S = 1 is
the full result, an affine image of the denoiser's output. Without the scaling a plain mean of
``t`` and ``d`` would change the amplitude of the structure with S, since a clean domain of
deviation 1 shows structure several times stronger than a noisy tomogram of deviation 1.

Every ``out(S)`` is in the intensities of the tomogram. ``units="standardised"`` writes the same
volume in the units of the clean domain instead (``(out - b) / a``; S = 1 is exactly ``d``).
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.overlap import in_order, threads
from dual_core.volumes.described.describe import keep_blank
from dual_core.volumes.reading import (
    ReadableVolume,
    Triple,
    Volume,
    VolumeWriter,
    iterate_slabs,
)

logger = logging.getLogger(__name__)

SMALLEST_SCALE = 1e-3


class LeastSquares:
    """Least squares of t on d from blocks, in float64; both are standardised, so sums suffice."""

    def __init__(self) -> None:
        self.sums = np.zeros(6)

    def add(self, t_block: np.ndarray, d_block: np.ndarray) -> None:
        """Take in the same region ``(z, y, x)`` of both."""
        for t_plane, d_plane in zip(t_block, d_block):
            t = t_plane.astype(np.float64).ravel()
            d = d_plane.astype(np.float64).ravel()
            self.sums += (t.size, t.sum(), d.sum(), t.dot(t), t.dot(d), d.dot(d))

    def solve(self, name: str) -> Tuple[float, float, float]:
        """Return (a, b, correlation), with a > 0 whatever the data: the sign stays the model's.

        Raises
        ------
        DualError
            If a value was not finite.
        """
        if not np.isfinite(self.sums).all():
            raise DualError(f"{name}: the model gave values that are not finite; train it again")
        count, t, d, tt, td, dd = self.sums
        t_mean, d_mean = t / count, d / count
        t_variance = tt / count - t_mean**2
        d_variance = dd / count - d_mean**2
        if d_variance <= 1e-12 * max(1.0, d_mean**2):
            logger.warning("%s: the model's output is constant; train the model longer", name)
            return 1.0, t_mean - d_mean, 0.0
        covariance = td / count - t_mean * d_mean
        correlation = covariance / math.sqrt(max(t_variance, 1e-12) * d_variance)
        if correlation <= 0:
            logger.warning(
                "%s: the result is anti-correlated with the tomogram (%.2f); give --contrast if "
                "it was detected wrongly, or train the model again",
                name,
                correlation,
            )
        ratio = math.sqrt(max(t_variance, 1e-12) / d_variance)
        scale = max(abs(covariance) / d_variance, SMALLEST_SCALE * ratio)
        return scale, t_mean - scale * d_mean, correlation


def write_blend(
    volume: Volume,
    denoised: ReadableVolume,
    output: Path,
    strength: float,
    to_input: Tuple[float, float],
    final: Tuple[float, float],
    blank: Optional[ReadableVolume] = None,
    blank_as: float = 1.0,
) -> None:
    """Write ``final((1 - S) T + S full(d))`` slab by slab; float32, the tomogram's header.

    Parameters
    ----------
    volume : Volume
        The tomogram T.
    denoised : ReadableVolume
        The denoiser's output d on the same grid.
    output : path
    strength : float
        S in 0..1.
    to_input, final : pair of float
        Factor and shift of two affine maps: ``full``, from d to the tomogram's intensities, and
        ``final``, from there to the units of the output.
    blank : volume of bool, optional
        Where it is true the output is ``blank_as`` times the tomogram, whatever the rest.
    """
    def blend(region: Tuple[Triple, Triple]) -> Tuple[Triple, np.ndarray]:
        start, size = region
        block = denoised.read(start, size)
        if strength == 1 and final[1] == 0:
            # One affine map; float32 has the digits for it.
            block *= np.float32(to_input[0] * final[0])
            block += np.float32(to_input[1] * final[0])
        else:
            exact = block.astype(np.float64)
            exact *= to_input[0]
            exact += to_input[1]
            if strength < 1:
                exact *= strength
                exact += (1 - strength) * volume.read(start, size).astype(np.float64)
            exact *= final[0]
            exact += final[1]
            block = exact.astype(np.float32)
        if blank is not None:
            keep_blank(block, start, volume, blank, blank_as)
        return start, block

    facts = volume.facts
    with VolumeWriter(
        output, volume.shape, volume.voxel_size_A, facts.origin_A, start=facts.start
    ) as writer:
        for start, block in in_order(blend, iterate_slabs(volume.shape), threads()):
            writer.write(start, block)
