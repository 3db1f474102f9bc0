"""Half coherence in the trust report: from halves, or from two copies made of one tomogram."""

from __future__ import annotations

from typing import List, Optional, Tuple

import numpy as np
import scipy.fft

from dual_core.evaluation.half_coherence import HalfCoherence, half_coherence
from dual_core.evaluation.trust.findings import Finding, coherence_finding
from dual_core.evaluation.trust.network_pass import Networks
from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.tapered_power import on_grid


def copies(
    tomogram: np.ndarray, linear: LinearModel, tilt_axis: str, seed: int = 0
) -> Tuple[np.ndarray, np.ndarray]:
    """Two copies of a tomogram with independent noise, each with twice the noise power.

    ``t + z`` and ``t - z``, z drawn with the tomogram's noise power: its covariance takes that of
    the noise they have in common away (Pang et al., Recorrupted-to-Recorrupted, CVPR 2021). So each
    is like a half.

    Parameters
    ----------
    tomogram : standardised, ``(z, y, x)``.
    linear : the model's linear model, tilt axis y.
    tilt_axis : of the tomogram.
    """
    turned = tomogram.swapaxes(1, 2) if tilt_axis == "x" else tomogram
    z, y, x = turned.shape
    white = np.random.default_rng(seed).standard_normal((z, y, x), dtype=np.float32)
    spectrum = scipy.fft.rfftn(white) * on_grid(linear.noise_amplitude, (z, y, x))
    noise = scipy.fft.irfftn(spectrum, s=(z, y, x)).astype(np.float32)
    if tilt_axis == "x":
        noise = noise.swapaxes(1, 2)
    return tomogram + noise, tomogram - noise


def coherence_findings(
    tomogram: np.ndarray,
    voxel_size_A: float,
    networks: Networks,
    tilt_range_deg: Optional[Tuple[float, float]],
    halves: Optional[Tuple[np.ndarray, np.ndarray]] = None,
) -> List[Finding]:
    """The finding that comes first, or none for a model that cannot tell its noise.

    Parameters
    ----------
    tomogram : standardised, ``(z, y, x)``.
    networks : of the model.
    tilt_range_deg : of the tomogram.
    halves : where they exist.
    """
    if halves is None and networks.linear is None:
        return []
    raw = halves
    if raw is None and networks.linear is not None:
        raw = copies(tomogram, networks.linear, networks.tilt_axis)
    assert raw is not None
    denoised = networks.result(raw[0]), networks.result(raw[1])
    if min(float(np.ptp(one)) for one in denoised) == 0.0:
        return [coherence_finding(0.0, 0.0, 2 * voxel_size_A, halves is not None)]
    found: HalfCoherence = half_coherence(
        raw, denoised, voxel_size_A, tilt_range_deg, networks.tilt_axis
    )
    return [finding_of(found, halves is not None)]


def finding_of(found: HalfCoherence, halves: bool) -> Finding:
    """The finding that a half coherence gives; `halves`: of real ones, not of two copies."""
    ratios = np.where(found.judged, found.ratio, np.inf)
    least = int(np.argmin(ratios))
    return coherence_finding(
        found.verdict, float(ratios[least]), float(found.detail_A[least]), halves
    )
