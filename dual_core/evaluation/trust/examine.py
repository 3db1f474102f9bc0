"""Can a denoised tomogram be trusted? Tests that need no truth; ``docs/trust.md`` explains them.

Let ``t`` be the standardised tomogram, ``d = Dn(t)`` and ``s = a Gs(d)`` the structure's share of
the tomogram, with the missing wedge and the contrast transfer that Gs has learnt; ``a`` is fitted
by least squares over the frequencies of particles. What was removed is ``r = t - s``.

A denoiser that removes noise and nothing else leaves an ``r`` that does not correlate with
``d``, and in which a second pass finds nothing. One that finds and does not invent leaves a copy of
``r`` with random phases empty: by its own account that is noise, and it has no structure. The
copy of ``t`` itself with random phases has the power of the structure as noise, far more than the
denoiser has ever met, so particle-like blobs in it are no proof against it.

For a model that only denoises the tomogram's own transfer stands for Gs
(`dual_core.noise_model.own_model`). It is fitted to this very pair, so that scale and correlation
are not judged.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
from scipy.ndimage import gaussian_filter

from dual_core.errors import DualError
from dual_core.evaluation.bands import band_correlations, fit_in_bands
from dual_core.evaluation.trust.findings import (
    Finding,
    PickCounts,
    flips_finding,
    hallucination_findings,
    removed_findings,
)
from dual_core.evaluation.trust.network_pass import Networks
from dual_core.evaluation.trust.phase_random import randomise_phases
from dual_core.picking import PickOptions, pick_particles, sigma_of_diameter
from dual_core.volumes.patches import FLIPS_ASYMMETRIC, FLIPS_SYMMETRIC
from dual_core.volumes.reading import ArrayVolume

logger = logging.getLogger(__name__)

# A size between the ribosome (280 A) and the small enzymes (100 A) of a cell.
DIAMETER_A = 150.0
PICK_FACTOR = 1.1
# Quantile of the filtered denoised tomogram that a pick must exceed, in every volume alike. Gold
# may be a hundred times as strong as a protein; it moves a deviation, but not a quantile.
PICK_QUANTILE = 0.99
# Strengths are measured with what is beyond this quantile cut to it, again because of gold.
CLIP_QUANTILE = 0.99
# Of the denoised tomogram's power: with more in denoised noise, a second look tells nothing.
NOISY_LOOK = 0.5
SMALLEST_SIDE = 16
SYMMETRIC_WITHIN_DEG = 3.0


@dataclass(frozen=True)
class TrustOptions:
    """How to examine.

    Attributes
    ----------
    diameter_A : float
        Of the particles that are counted.
    seed : int
        Of the random phases.
    tilt_range_deg : tuple of float, optional
        Of the tomograms; only flips that keep the missing wedge are made. A symmetric range is
        assumed where it is not known.
    contrast : {"bright", "dark"}
        Of the density in the model's clean domain.
    """

    diameter_A: float = DIAMETER_A
    seed: int = 0
    tilt_range_deg: Optional[Tuple[float, float]] = None
    contrast: str = "bright"

    @property
    def flips(self) -> Sequence[Tuple[int, ...]]:
        """Groups of axes to flip together, for the tilt axis y."""
        limits = self.tilt_range_deg
        if limits is None or abs(sum(limits)) <= SYMMETRIC_WITHIN_DEG:
            return FLIPS_SYMMETRIC
        return FLIPS_ASYMMETRIC

    def flips_about(self, tilt_axis: str) -> Sequence[Tuple[int, ...]]:
        """The same for a tilt axis, ``y`` or ``x``."""
        axes = (0, 1, 2) if tilt_axis == "y" else (0, 2, 1)
        return [tuple(axes[axis] for axis in group) for group in self.flips]

    @property
    def passes(self) -> int:
        """Network passes that `examine` takes."""
        return 6 + len(self.flips)


@dataclass(frozen=True)
class Examination:
    """What `examine` found.

    ``findings`` are the numbers; ``volumes`` what they were measured on, ``(z, y, x)`` float32
    by name: ``raw``, ``denoised``, ``restored`` (Gs of that), ``structure`` (s), ``removed`` (r),
    ``noise`` (r with random phases), ``denoised noise``, ``same spectrum``,
    ``denoised same spectrum``, ``deviation``.
    ``networks`` are those that were examined, `fitted_to` the tomogram.
    """

    findings: List[Finding]
    volumes: Dict[str, np.ndarray]
    networks: Networks


def examine(
    tomogram: np.ndarray, voxel_size_A: float, networks: Networks, options: TrustOptions
) -> Examination:
    """Examine what a model makes of a tomogram.

    Parameters
    ----------
    tomogram : ndarray, (z, y, x)
        As the denoiser sees it: `dual_core.evaluation.trust.network_pass.open_tomogram`.
    voxel_size_A : float
    networks : Networks
    options : TrustOptions

    Raises
    ------
    DualError
        For a volume that is too small, and a denoiser that gives a constant.
    """
    if min(tomogram.shape) < SMALLEST_SIDE:
        raise DualError(
            f"a tomogram of {' x '.join(map(str, tomogram.shape))} voxels is too small to judge a "
            f"model by; give one of at least {SMALLEST_SIDE} along each axis"
        )
    denoise = networks.denoise
    denoised = denoise(tomogram)
    spread = _spread(denoised)
    networks = networks.fitted_to(tomogram, denoised)
    restore = networks.restore
    assert restore is not None
    structure, factor, explained = structure_share(tomogram, restored := restore(denoised))
    removed = tomogram - structure
    generator = np.random.default_rng(options.seed)
    noise = randomise_phases(removed, generator)
    denoised_noise = denoise(noise)
    same_spectrum = randomise_phases(tomogram, generator)
    denoised_same = denoise(same_spectrum)
    _, same_explained = fit_in_bands(same_spectrum, restore(denoised_same))
    first, empty, again = strengths([denoised, denoised_noise, denoise(removed)])
    correlation = float(np.sqrt(np.mean(band_correlations(removed, denoised) ** 2)))
    flips = options.flips_about(networks.tilt_axis)
    deviation = flip_deviation(tomogram, denoised, denoise, flips)
    counts = count_picks(
        [denoised, denoised_noise, denoised_same], voxel_size_A, options.diameter_A,
        options.contrast,
    )
    findings = [
        *removed_findings(
            explained, factor, correlation, _structure_left(first, empty, again), networks.fitted
        ),
        *hallucination_findings(
            empty / first,
            same_explained / explained if explained > 0 else None,
            PickCounts(counts[0], counts[1], counts[2], options.diameter_A),
        ),
        flips_finding(
            float(np.sqrt(np.mean(deviation**2, dtype=np.float64))) / spread,
            float(np.median(deviation)) / spread,
        ),
    ]
    volumes = {
        "raw": tomogram,
        "denoised": denoised,
        "restored": restored,
        "structure": structure,
        "removed": removed,
        "noise": noise,
        "denoised noise": denoised_noise,
        "same spectrum": same_spectrum,
        "denoised same spectrum": denoised_same,
        "deviation": deviation,
    }
    return Examination(findings, volumes, networks)


def _spread(denoised: np.ndarray) -> float:
    spread = float(denoised.std(dtype=np.float64))
    if spread <= 1e-6 * max(1.0, abs(float(denoised.mean(dtype=np.float64)))):
        raise DualError(
            "the denoised tomogram is constant: the model finds nothing at all; train it longer"
        )
    return spread


def structure_share(
    tomogram: np.ndarray, restored: np.ndarray
) -> Tuple[np.ndarray, float, float]:
    """Bring ``Gs(Dn(t))`` to the scale of the tomogram: (s, fitted factor, share explained).

    The factor is fitted over the frequencies of particles. Gs may draw a texture of its own at
    others, which must not make up for the structure, nor may taking it away add power to the
    residual. So the one used for s is at most twice that of a fit over all frequencies (there the
    residual has just the power of the tomogram), and at least 0.

    Returns
    -------
    ndarray, (z, y, x), float32
        Mean 0.
    float
        The factor before these limits; 0 where nothing fits.
    float
        0 to 1, of the power in `dual_core.evaluation.bands.BAND_EDGES`.
    """
    centred = restored - np.float32(restored.mean(dtype=np.float64))
    factor, explained = fit_in_bands(tomogram, centred)
    power = float(np.mean(np.square(centred), dtype=np.float64))
    cross = float(np.mean(tomogram * centred, dtype=np.float64))
    used = max(min(factor, 2 * cross / power if power > 0 else 0.0), 0.0)
    return (centred * np.float32(used)).astype(np.float32), factor, explained


def strengths(volumes: Sequence[np.ndarray]) -> List[float]:
    """Deviations of volumes with what is strongest in the first one cut off in all.

    Centre (median) and limit (`CLIP_QUANTILE` of the distance from it) are those of the first.
    """
    centre = float(np.median(volumes[0]))
    limit = float(np.quantile(np.abs(volumes[0] - np.float32(centre)), CLIP_QUANTILE))
    if limit == 0.0:  # next to nothing but a few spots
        return [float(volume.std(dtype=np.float64)) for volume in volumes]
    return [
        float(np.clip(volume, centre - limit, centre + limit).std(dtype=np.float64))
        for volume in volumes
    ]


def flip_deviation(
    tomogram: np.ndarray,
    denoised: np.ndarray,
    denoise: Callable[[np.ndarray], np.ndarray],
    flips: Sequence[Tuple[int, ...]],
) -> np.ndarray:
    """Standard deviation of each voxel over the denoised flips, turned back.

    Parameters
    ----------
    tomogram, denoised : ndarray, (z, y, x)
    denoise : the denoiser; what it makes of the tomogram itself is ``denoised``.
    flips : groups of axes that are flipped together and keep the missing wedge.
    """
    total = denoised.astype(np.float64)
    squares = total**2
    for axes in flips:
        turned = np.flip(denoise(np.ascontiguousarray(np.flip(tomogram, axes))), axes)
        total += turned
        squares += turned.astype(np.float64) ** 2
    count = len(flips) + 1
    return np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0.0)).astype(np.float32)


def count_picks(
    volumes: Sequence[np.ndarray], voxel_size_A: float, diameter_A: float, contrast: str = "bright"
) -> List[int]:
    """Count particles with the threshold that the first volume sets for all.

    Difference of Gaussians of `dual_core.picking`. The threshold is the `PICK_QUANTILE` of the
    first volume after the filter, a grey value: one relative to each volume would find as much
    in the faintest noise.
    """
    sigma = sigma_of_diameter(diameter_A, voxel_size_A)
    options = PickOptions(diameter_A, factor=PICK_FACTOR, threshold=0.0, contrast=contrast)
    options.in_voxels(voxel_size_A)
    first = volumes[0]
    filtered = gaussian_filter(first, sigma) - gaussian_filter(first, PICK_FACTOR * sigma)
    sign = 1 if contrast == "bright" else -1
    level = float(np.quantile(sign * filtered, PICK_QUANTILE))
    counts = []
    for volume in volumes:
        if float(np.ptp(volume)) == 0.0:
            counts.append(0)
            continue
        picks = pick_particles(ArrayVolume(volume, voxel_size_A), options)
        counts.append(int(np.count_nonzero(picks.values >= level)))
    return counts


def _structure_left(first: float, empty: float, again: float) -> Optional[float]:
    """Structure in the second look at what was removed, beyond what noise of its spectrum gives.

    From the strengths of the denoised tomogram, the denoised noise and the second look. A share
    of the structure in the first look, in power; None where noise gives too much.
    """
    if empty**2 > NOISY_LOOK * first**2:
        return None
    return max(again**2 - empty**2, 0.0) / (first**2 - empty**2)
