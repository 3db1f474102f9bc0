"""A linear model of the noisy domain, found from the two domains without pairs.

The model is ``t = H v + n``: a transfer function H of the structure (contrast transfer, missing
wedge, filter of the reconstruction) and Gaussian noise n of power N, both over the spatial
frequency. It fixes the strength of the simulated noise against the structure, which is what the
adversarial game of two networks leaves free to drift.

N is measured on the tomograms alone (`dual_core.noise_model.noise_floor`), from halves where they
exist. What their power has beyond it is structure: ``H^2 = (S_t - N) / S_v``, band by band and by
direction, with powers that are trimmed over blocks, since gold is in few of them and rules every
mean. The sign of H is that of the third cumulants (`dual_core.noise_model.cumulants`), which also
give a second opinion on its size where both domains hold like things.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import scipy.fft

from dual_core.noise_model.cumulants import band_transfer, trimmed_mean
from dual_core.noise_model.directions import measured_directions, steepness_of
from dual_core.noise_model.noise_floor import NoiseFloor, noise_from_blocks
from dual_core.noise_model.tapered_power import (
    FLOOR,
    half_grid_frequency,
    smoothed,
    taper,
    unsmeared,
)
from dual_core.volumes.interface import Triple
from dual_core.volumes.patches import StandardisedVolume

logger = logging.getLogger(__name__)

SIDE = 64  # of the blocks that spectra are taken from, in voxels
BLOCKS = 120  # of each domain
CUMULANT_BLOCKS = 80  # of them that cumulants are taken of, which is slow
MARGIN = 16  # voxels about a simulated block, in which its filter fades out
BAND_EDGES = (0.02, 0.03, 0.04, 0.055, 0.07, 0.085, 0.1, 0.12, 0.15, 0.2, 0.3)  # cycles per voxel
STEEPNESS = np.array([0.0, 0.3, 0.6, 0.85, 1.0])  # distance from the tilt axis over frequency
STEEPNESS_WIDTH = 0.2
FAR = 0.6  # steepness from which structure is taken as the reconstruction weights most of it
LAST_EDGE = 0.45  # of a band beyond the others, where the powers are looked at alone
UNSURE = {"halves": 0.03, "blocks": 0.12}  # relative error of N
CUMULANT_ERROR = 1.0  # of log H^2 by the cumulants, whose domains never quite match
FINEST = 0.36  # cycles per voxel from which power is noise
EVEN = 1.08  # factor of the noise from place to place that may be structure as well
FAINT = 0.01  # signal-to-noise ratio that passes for none
WEIGHTED = 1.6  # factor of H from direction to direction below which it passes for none
FEW = 60.0  # coefficients of a direction that count as much as the mean over all directions
MOST_SIGNAL = 0.98  # of the power in a band
DISAGREEMENT = 2.0  # factor between two estimates of a signal-to-noise ratio that is worth a word


@dataclass(frozen=True)
class LinearModel:
    """Transfer of the structure and amplitude of the noise, on an FFT grid.

    Attributes
    ----------
    transfer : H on the half grid of a real FFT, ``(side, side, side // 2 + 1)``, real.
    noise_amplitude : sqrt(N) in units of white noise of deviation 1, same shape.
    bands : (centre in cycles per voxel, mean H, signal-to-noise ratio) for the log.
    source : where N is from: ``halves``, ``blocks``, or nothing where it is made up.
    measured : how much of each coefficient was measured, 0 to 1, same shape; None for all.
    weighting : the reconstruction's weighting A of structure by direction, same shape; None where
        it has none. A tomogram is then ``H (A v) + n``, and what can be had from it is A v.
    """

    transfer: np.ndarray
    noise_amplitude: np.ndarray
    bands: Tuple[Tuple[float, float, float], ...]
    source: str = ""
    measured: Optional[np.ndarray] = None
    weighting: Optional[np.ndarray] = None


def fit_linear_model(
    noisy: Sequence[StandardisedVolume],
    clean: Sequence[StandardisedVolume],
    generator: np.random.Generator,
    floor: Optional[NoiseFloor] = None,
) -> LinearModel:
    """Fit ``t = H v + n`` to two unpaired domains.

    Parameters
    ----------
    noisy, clean : the domains, standardised, of one contrast and voxel size.
    generator : draws the blocks that are looked at.
    floor : the noise power, from halves; by default it is measured on the blocks of `noisy`.
    """
    side = min(SIDE, *(length for entry in (*noisy, *clean) for length in entry.volume.shape))
    side -= side % 2
    noisy_spectra = _block_spectra(noisy, side, generator)
    clean_spectra = _block_spectra(clean, side, generator)
    frequency = half_grid_frequency(side)
    noisy_power = _mean_power(noisy_spectra)
    clean_power = _mean_power(clean_spectra)
    measured = measured_directions(noisy_power, side)
    whole_power = unsmeared(noisy_power, measured, side + 2 * MARGIN)
    if floor is None:
        floor = noise_from_blocks(noisy, measured, generator)
    noise = floor.on_grid(side)
    noise *= _level(_powers(noisy_spectra), noise, measured)
    voxels = min(sum(np.prod(entry.volume.shape) for entry in domain) for domain in (noisy, clean))
    independent = float(voxels) / (side / 2) ** 3  # blocks; those of a small domain overlap
    few = slice(None, CUMULANT_BLOCKS)
    second = _second_opinion(noisy_spectra[few], clean_spectra[few], measured, independent)
    powers = _powers(noisy_spectra), _powers(clean_spectra)
    unsure = UNSURE[floor.source]
    magnitude, weighting = _magnitude(powers, noise, measured, dict(second), unsure)
    transfer = magnitude * _sign(frequency, second) * measured
    ceiling = np.sqrt(MOST_SIGNAL * whole_power / np.maximum(clean_power, FLOOR))
    transfer = np.clip(transfer, -ceiling, ceiling)
    # In the missing wedge there is nothing but what the reconstruction left there.
    noise_power = np.maximum(measured * noise + (1.0 - measured) * whole_power, FLOOR)
    bands = _describe(transfer, powers[1], noise_power, measured)
    _compare(bands, second)
    return LinearModel(
        transfer.astype(np.float32),
        np.sqrt(noise_power).astype(np.float32),
        bands,
        floor.source,
        measured.astype(np.float32),
        weighting,
    )


def _magnitude(
    powers: Tuple[np.ndarray, np.ndarray],
    noise: np.ndarray,
    measured: np.ndarray,
    second: Dict[float, float],
    unsure: float,
) -> Tuple[np.ndarray, Optional[np.ndarray]]:
    """|H| of every coefficient from the power beyond the noise, and the weighting A if any.

    A reconstruction may weight structure near the tilt axis otherwise than that far from it, so
    each band is taken by direction too; a direction with few coefficients leans on all others.

    Parameters
    ----------
    powers : of the blocks of both domains, ``(count, side, side, side // 2 + 1)``.
    noise : N.
    measured : how much of each coefficient was measured.
    second : band's centre -> H by the cumulants.
    unsure : relative error of N.
    """
    frequency = half_grid_frequency(noise.shape[0])
    steepness = steepness_of(noise.shape[0])
    inside = measured > 0.5
    centres, values, rows = [], [], []
    before = 0.0
    for low, high in zip(BAND_EDGES, (*BAND_EDGES[1:], LAST_EDGE)):
        band = inside & (frequency >= low) & (frequency < high)
        if not band.any():
            continue
        centre = (low + high) / 2
        reference = _trimmed_power(powers[1], (frequency >= low) & (frequency < high))

        def squared(ring: np.ndarray, reference: float = reference) -> float:
            beyond = _trimmed_power(powers[0], ring) - float(noise[ring].mean())
            return max(beyond, 0.0) / max(reference, FLOOR)

        far = band & (steepness >= FAR) if (band & (steepness >= FAR)).any() else band
        bulk = squared(far)
        other = second.get(centre, 0.0) ** 2 or before
        before = _believed(bulk, other, reference / float(noise[far].mean()), unsure)
        row = []
        for middle in STEEPNESS:
            ring = band & (np.abs(steepness - middle) < STEEPNESS_WIDTH)
            count = float(ring.sum())
            share = squared(ring) / bulk if count and bulk > 0 else 1.0
            row.append((count * share + FEW) / (count + FEW))
        centres.append(centre)
        values.append(np.sqrt(before))
        rows.append(np.sqrt(row))
    magnitude = np.interp(frequency, centres, values)
    table = np.array(rows)
    sure = np.abs(np.log(table)) > np.log(WEIGHTED)
    if not sure.any():
        return magnitude, None
    table = np.where(sure, table, 1.0)
    weighting = _interpolated(np.array(centres), table, frequency, steepness)
    return magnitude, weighting.astype(np.float32)


def _believed(squared: float, other: float, per_noise: float, unsure: float) -> float:
    """H^2 from the powers and from the cumulants, by how sure each is of it.

    Where structure is well above the noise the powers decide. Where it is far below, a small error
    of N is a large one of what is beyond it, and the cumulants decide, if they are sure of any.

    Parameters
    ----------
    squared, other : H^2 from the powers and from the cumulants (or the band before; 0: none).
    per_noise : what turns H^2 into a signal-to-noise ratio.
    unsure : relative error of N.
    """
    if other <= 0:
        return squared
    ratio = max(squared * per_noise, FAINT)
    error = unsure * (1.0 + ratio) / ratio
    weight = CUMULANT_ERROR**2 / (CUMULANT_ERROR**2 + error**2)
    both = float(np.exp(weight * np.log(ratio / per_noise) + (1.0 - weight) * np.log(other)))
    return min(both, (ratio + unsure * (1.0 + ratio)) / per_noise)


def _trimmed_power(powers: np.ndarray, ring: np.ndarray) -> float:
    """Mean power of a ring without the extreme blocks."""
    return trimmed_mean(powers[:, ring].mean(axis=1), len(powers))[0]


def _level(powers: np.ndarray, noise: np.ndarray, measured: np.ndarray) -> float:
    """How much stronger the noise is in these blocks than where N was measured.

    In a small volume blocks of another size see other places, and noise is not equally strong
    everywhere. At the highest frequencies there is nothing else; a small part may be structure.
    """
    fine = (measured > 0.5) & (half_grid_frequency(len(noise)) >= FINEST)
    found = _trimmed_power(powers, fine) / float(noise[fine].mean())
    return max(found / EVEN, 1.0) if found > 1.0 else min(found * EVEN, 1.0)


def _interpolated(
    centres: np.ndarray, rows: np.ndarray, frequency: np.ndarray, steepness: np.ndarray
) -> np.ndarray:
    """A table of band and direction, linearly between its places."""
    by_direction = np.stack(
        [np.interp(frequency, centres, column) for column in rows.T], axis=-1
    )
    place = np.interp(steepness, STEEPNESS, np.arange(len(STEEPNESS)))
    lower = np.minimum(place.astype(int), len(STEEPNESS) - 2)
    part = place - lower
    low = np.take_along_axis(by_direction, lower[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(by_direction, lower[..., None] + 1, axis=-1)[..., 0]
    return (1.0 - part) * low + part * high


def _second_opinion(
    noisy: Sequence[np.ndarray],
    clean: Sequence[np.ndarray],
    measured: np.ndarray,
    independent: float,
) -> List[Tuple[float, float]]:
    """(centre, H by cumulants or 0) of each band."""
    frequency = half_grid_frequency(measured.shape[0])
    found = []
    for low, high in zip(BAND_EDGES, BAND_EDGES[1:]):
        centre = (low + high) / 2
        band = np.exp(-0.5 * ((frequency - centre) / ((high - low) / 2)) ** 2)
        band[0, 0, 0] = 0.0
        band *= steepness_of(len(band)) >= FAR
        value, _ = band_transfer(noisy, clean, band, band * measured, independent)
        found.append((centre, value))
    return found


def _sign(frequency: np.ndarray, second: Sequence[Tuple[float, float]]) -> np.ndarray:
    """-1 in the bands where the cumulants are sure that density is reversed, else 1."""
    centres = np.array([centre for centre, _ in second])
    signs = np.array([-1.0 if value < 0 else 1.0 for _, value in second])
    for band in range(1, len(signs) - 1):  # between two reversed bands there is no third sign
        if signs[band - 1] == signs[band + 1]:
            signs[band] = signs[band - 1]
    return np.where(np.interp(frequency, centres, signs) < 0, -1.0, 1.0)


def _compare(
    bands: Sequence[Tuple[float, float, float]], second: Sequence[Tuple[float, float]]
) -> None:
    """Say so where the cumulants see another signal-to-noise ratio than the powers do."""
    opinions = dict(second)
    told = []
    for (centre, transfer, ratio) in bands:
        value = opinions.get(centre, 0.0)
        if value != 0.0 and transfer != 0.0 and ratio > FAINT:
            other = ratio * (value / transfer) ** 2
            logger.debug("%.4f cycles per voxel: signal over noise %.3f, by cumulants %.3f",
                         centre, ratio, other)
            told.append(other / ratio)
    if told and not 1 / DISAGREEMENT < float(np.median(told)) < DISAGREEMENT:
        logger.warning(
            "by the likeness of both domains the structure would be %.2g times as strong against "
            "the noise as was measured on the tomograms; the measurement is used, but the clean "
            "domain may not hold what the tomograms show", float(np.median(told)),
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
        start = [int(generator.integers(n - side + 1)) for n in entry.volume.shape]
        position: Triple = (start[0], start[1], start[2])
        block = entry.read(position, (side, side, side)) * window
        spectra.append(scipy.fft.rfftn(block, norm="ortho"))
    return spectra


def _powers(spectra: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([np.abs(spectrum) ** 2 for spectrum in spectra], dtype=np.float32)


def _mean_power(spectra: Sequence[np.ndarray]) -> np.ndarray:
    return smoothed(np.mean([np.abs(spectrum) ** 2 for spectrum in spectra], axis=0))


def _describe(
    transfer: np.ndarray, clean_powers: np.ndarray, noise_power: np.ndarray, measured: np.ndarray
) -> Tuple[Tuple[float, float, float], ...]:
    """(centre, H, signal-to-noise ratio) of each band where measured, of a common block."""
    frequency = half_grid_frequency(len(transfer))
    rows = []
    for low, high in zip(BAND_EDGES[:-1], BAND_EDGES[1:]):
        band = (frequency >= low) & (frequency < high)
        inside = band & (measured > 0.5) & (steepness_of(len(transfer)) >= FAR)
        if inside.any():
            squared = float(np.mean(transfer[inside] ** 2 / noise_power[inside]))
            ratio = squared * _trimmed_power(clean_powers, band)
            rows.append(((low + high) / 2, float(transfer[inside].mean()), ratio))
    return tuple(rows)
