"""A linear model of the noisy domain, found from the two domains without pairs.

The model is ``t = H v + n``: a transfer function H of the structure (contrast transfer, missing
wedge, filter of the reconstruction) and Gaussian noise n of power N, both over the spatial
frequency. Second moments alone cannot tell structure from noise: any H goes with the
power ``S_t - |H|^2 S_v`` of noise. Higher cumulants can, since those of Gaussian noise are zero
while density is sparse: in each band of frequencies the third cumulant of the tomogram is H^3 and
the fourth H^4 times that of the clean domain after the same filter.

The model fixes the strength of the simulated noise against the structure, which is what the
adversarial game of two networks leaves free to drift.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter1d

from dual_core.noise_model.tapered_power import (
    FLOOR,
    half_grid_frequency,
    smoothed,
    taper,
    unsmeared,
)
from dual_core.volumes.patches import StandardisedVolume

logger = logging.getLogger(__name__)

SIDE = 64  # of the blocks that spectra are taken from, in voxels
BLOCKS = 80  # of each domain
MARGIN = 16  # voxels about a simulated block, in which its filter fades out
BAND_EDGES = (0.02, 0.03, 0.04, 0.055, 0.07, 0.085, 0.1, 0.12, 0.15, 0.2, 0.3)  # cycles per voxel
TRIM = 0.25  # of the blocks at each end; gold is in few blocks and would outweigh all else
MOST_SIGNAL = 0.9  # of the power in a band; there is always some noise
SIGNIFICANT = 2.5  # standard errors below which a cumulant of the tomograms is not believed
REVERSED = 6.0  # standard errors below which a negative third cumulant is not believed
HIDDEN = 0.5  # of the upper limit, taken for the transfer where no band shows structure
WEDGE_BAND = (0.08, 0.35)  # distance from the tilt axis where the wedge is looked for
WEDGE_POWER = 0.4  # of the power near x below which a direction counts as not measured
ANGLE_STEP_DEG = 3.0
ANGLE_BINS = 60


@dataclass(frozen=True)
class LinearModel:
    """Transfer of the structure and amplitude of the noise, on an FFT grid.

    Attributes
    ----------
    transfer : H on the half grid of a real FFT, ``(side, side, side // 2 + 1)``, real.
    noise_amplitude : sqrt(N) in units of white noise of deviation 1, same shape.
    bands : (centre in cycles per voxel, mean H, signal-to-noise ratio) for the log.
    """

    transfer: np.ndarray
    noise_amplitude: np.ndarray
    bands: Tuple[Tuple[float, float, float], ...]


def fit_linear_model(
    noisy: Sequence[StandardisedVolume],
    clean: Sequence[StandardisedVolume],
    generator: np.random.Generator,
) -> LinearModel:
    """Fit ``t = H v + n`` to two unpaired domains.

    Parameters
    ----------
    noisy, clean : the domains, standardised, of one contrast and voxel size.
    generator : draws the blocks that are looked at.
    """
    side = min(SIDE, *(length for entry in (*noisy, *clean) for length in entry.volume.shape))
    side -= side % 2
    noisy_spectra = _block_spectra(noisy, side, generator)
    clean_spectra = _block_spectra(clean, side, generator)
    frequency = half_grid_frequency(side)
    noisy_power = _mean_power(noisy_spectra)
    clean_power = _mean_power(clean_spectra)
    # Weighted back-projection gives structure one transfer in all measured directions, while the
    # ramp filter makes the noise grow with the distance from the tilt axis. So H is isotropic but
    # for the missing wedge, and all other anisotropy of the power is the noise's.
    measured = measured_directions(noisy_power, side)
    voxels = min(sum(np.prod(entry.volume.shape) for entry in domain) for domain in (noisy, clean))
    noisy_power = unsmeared(noisy_power, measured, side + 2 * MARGIN)
    independent = float(voxels) / (side / 2) ** 3  # blocks; those of a small domain overlap
    centres = np.array([(low + high) / 2 for low, high in zip(BAND_EDGES, BAND_EDGES[1:])])
    found = []
    for centre, low, high in zip(centres, BAND_EDGES, BAND_EDGES[1:]):
        band = np.exp(-0.5 * ((frequency - centre) / ((high - low) / 2)) ** 2)
        band[0, 0, 0] = 0.0
        found.append(
            _band_transfer(noisy_spectra, clean_spectra, band, band * measured, independent)
        )
        logger.debug("transfer at %.4f cycles per voxel: %.3f, at most %.3f", centre, *found[-1])
    values = _fill_bands(centres, found)
    transfer = np.interp(frequency, centres, values) * measured
    ceiling = np.sqrt(MOST_SIGNAL * noisy_power / np.maximum(clean_power, FLOOR))
    transfer = np.clip(transfer, -ceiling, ceiling)
    noise_power = np.maximum(noisy_power - transfer**2 * clean_power, FLOOR)
    bands = _describe(transfer, clean_power, noise_power, frequency)
    return LinearModel(
        transfer.astype(np.float32), np.sqrt(noise_power).astype(np.float32), bands
    )


def _block_spectra(
    volumes: Sequence[StandardisedVolume], side: int, generator: np.random.Generator
) -> List[np.ndarray]:
    """Orthonormal spectra of random blocks, tapered so that their faces do not count."""
    window = taper(side)
    sizes = np.array([float(np.prod(entry.volume.shape)) for entry in volumes])
    spectra = []
    for _ in range(BLOCKS):
        entry = volumes[int(generator.choice(len(volumes), p=sizes / sizes.sum()))]
        start = entry.random_start((side, side, side), generator)
        block = entry.read(start, (side, side, side)) * window
        spectra.append(scipy.fft.rfftn(block, norm="ortho"))
    return spectra


def _mean_power(spectra: Sequence[np.ndarray]) -> np.ndarray:
    return smoothed(np.mean([np.abs(spectrum) ** 2 for spectrum in spectra], axis=0))


def measured_directions(power: np.ndarray, side: int) -> np.ndarray:
    """How much of each coefficient was measured, 0 to 1, found from the power alone.

    The missing wedge is where the power, seen along the tilt axis y, falls far below that of the
    directions near x. Works for any tilt range, symmetric or not; a volume without a wedge gives
    1 everywhere.

    Parameters
    ----------
    power : mean power of the tomograms on the half grid, ``(side, side, side // 2 + 1)``.
    side : of the grid.
    """
    kz = np.fft.fftfreq(side)[:, None, None]
    ky = np.fft.fftfreq(side)[None, :, None]
    kx = np.fft.rfftfreq(side)[None, None, :]
    distance = np.sqrt(kz**2 + kx**2) + 0.0 * ky  # from the tilt axis
    angle = np.degrees(np.arctan2(kz, kx)) + 0.0 * ky
    looked_at = (distance > WEDGE_BAND[0]) & (distance < WEDGE_BAND[1]) & (np.abs(ky) < 0.25)
    bins = np.clip(((angle + 90.0) / ANGLE_STEP_DEG).astype(np.intp), 0, ANGLE_BINS - 1)
    # Relative to the mean at that distance, so that the fall of the spectrum does not count.
    ring = np.rint(distance * side).astype(np.intp)
    relative = power / _group_mean(power, ring)
    totals = np.bincount(bins[looked_at], relative[looked_at], minlength=ANGLE_BINS)
    counts = np.bincount(bins[looked_at], minlength=ANGLE_BINS)
    centres = (np.arange(ANGLE_BINS) + 0.5) * ANGLE_STEP_DEG - 90.0
    filled = counts > 0  # a small grid leaves some directions without a coefficient
    profile = np.interp(centres, centres[filled], totals[filled] / counts[filled], period=180.0)
    reference = np.median(profile[np.abs(centres) < 30.0])
    present = profile > WEDGE_POWER * reference
    share = gaussian_filter1d(present.astype(float), 0.5, mode="wrap")
    # Near the tilt axis every direction is within one voxel of a measured one.
    return np.where(distance < 1.0 / side, 1.0, share[bins])


def _group_mean(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean over its group."""
    totals = np.bincount(groups.ravel(), values.ravel())
    counts = np.bincount(groups.ravel())
    return (totals / np.maximum(counts, 1))[groups]


def _band_transfer(
    noisy: Sequence[np.ndarray],
    clean: Sequence[np.ndarray],
    noisy_filter: np.ndarray,
    clean_filter: np.ndarray,
    independent: float,
) -> Tuple[float, float]:
    """H of one band from the cumulants of the filtered domains: (value, upper limit).

    The third, trimmed, follows the many particles and has a sign; the fourth, untrimmed, is
    strongest for the few beads of gold. Their errors differ in sign where the two domains hold
    different amounts of gold, so the geometric mean of both is taken. The value is 0 where
    neither differs from that of noise; the limit says how much may hide there.
    """
    noisy_third, noisy_fourth = _cumulants(noisy, noisy_filter)
    clean_third, clean_fourth = _cumulants(clean, clean_filter)
    estimates = []
    sign, limit = 1.0, 0.0
    third, error = _trimmed_mean(noisy_third, independent)
    reference = _trimmed_mean(clean_third, independent)[0]
    if reference != 0:
        ratio = third / reference
        limit = (abs(ratio) + error / abs(reference)) ** (1 / 3)
        # Only a contrast transfer beyond its first zero reverses the sign: that must be sure.
        if abs(third) > (SIGNIFICANT if ratio > 0 else REVERSED) * error:
            sign = float(np.sign(ratio))
            estimates.append(abs(ratio) ** (1 / 3))
    fourth, reference = float(np.mean(noisy_fourth)), float(np.mean(clean_fourth))
    typical, error = _trimmed_mean(noisy_fourth, independent)
    if typical > SIGNIFICANT * error and fourth > 0 and reference > 0:
        estimates.append((fourth / reference) ** 0.25)
    if not estimates:
        return 0.0, limit
    return sign * float(np.exp(np.mean(np.log(estimates)))), limit


def _fill_bands(centres: np.ndarray, found: Sequence[Tuple[float, float]]) -> np.ndarray:
    """The transfer of every band, also of those where noise hides it.

    There it goes on from the nearest band that shows it, in proportion to the frequency (as the
    contrast transfer of a weak phase object below its first maximum roughly does), up to the limit.
    Where no band shows any, as in a small and very noisy volume, part of the limits is taken.
    """
    values = np.array([value for value, _ in found])
    limits = np.array([limit for _, limit in found])
    sure = np.flatnonzero(values)
    if len(sure) == 0:
        return HIDDEN * limits
    for band in np.flatnonzero(values == 0):
        nearest = sure[np.argmin(np.abs(sure - band))]
        onward = values[nearest] * centres[band] / centres[nearest]
        values[band] = np.sign(onward) * min(abs(onward), limits[band])
    return values


def _cumulants(
    spectra: Sequence[np.ndarray], band: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Third and fourth cumulant of each filtered block."""
    third, fourth = [], []
    band = band.astype(np.float32)
    # Under a taper even Gaussian noise has a fourth moment above three squares of the second.
    flatness = float(np.mean(taper(len(band)) ** 4))
    for spectrum in spectra:
        values = scipy.fft.irfftn(spectrum * band, norm="ortho")
        squares = values * values
        third.append(np.mean(squares * values))
        fourth.append(np.mean(squares * squares) - 3.0 * flatness * np.mean(squares) ** 2)
    return np.array(third, dtype=np.float64), np.array(fourth, dtype=np.float64)


def _trimmed_mean(values: np.ndarray, independent: float) -> Tuple[float, float]:
    """Mean without the extreme blocks, and its standard error (Tukey and McLaughlin 1963)."""
    cut = int(TRIM * len(values))
    kept = np.sort(values)[cut : len(values) - cut]
    winsorised = np.clip(values, kept[0], kept[-1])
    error = np.std(winsorised) / (1.0 - 2.0 * TRIM) / np.sqrt(min(len(values), independent))
    return float(np.mean(kept)), float(error)


def _describe(
    transfer: np.ndarray, clean_power: np.ndarray, noise_power: np.ndarray, frequency: np.ndarray
) -> Tuple[Tuple[float, float, float], ...]:
    rows = []
    for low, high in zip(BAND_EDGES[:-1], BAND_EDGES[1:]):
        inside = (frequency >= low) & (frequency < high)
        if inside.any():
            signal = float(np.mean((transfer**2 * clean_power)[inside]))
            noise = float(np.mean(noise_power[inside]))
            rows.append(((low + high) / 2, float(transfer[inside].mean()), signal / noise))
    return tuple(rows)
