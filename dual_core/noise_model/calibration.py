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
from typing import List, Optional, Sequence, Tuple

import numpy as np
import scipy.fft

from dual_core.noise_model.cumulants import band_transfer
from dual_core.noise_model.directions import measured_directions, steepness_of
from dual_core.noise_model.noise_floor import NoiseFloor, noise_from_blocks
from dual_core.noise_model.structure_power import (
    BAND_EDGES,
    FAINT,
    FAR,
    magnitude_of,
    noise_level,
    trimmed_power,
)
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
BLOCKS = 120  # of each domain
CUMULANT_BLOCKS = 80  # of them that cumulants are taken of, which is slow
MARGIN = 16  # voxels about a simulated block, in which its filter fades out
UNSURE = {"halves": 0.03, "blocks": 0.12}  # relative error of N
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
    likeness : signal-to-noise ratio by the cumulants of both domains over that by their powers, the
        median of the bands; far from 1 where the clean domain does not hold what the tomograms
        show. None where it cannot be told.
    """

    transfer: np.ndarray
    noise_amplitude: np.ndarray
    bands: Tuple[Tuple[float, float, float], ...]
    source: str = ""
    measured: Optional[np.ndarray] = None
    weighting: Optional[np.ndarray] = None
    likeness: Optional[float] = None


def seen_through(density: np.ndarray, *responses: np.ndarray) -> np.ndarray:
    """A block of density behind filters, mirrored by `MARGIN` voxels beyond its faces; float32.

    Parameters
    ----------
    density : ``(z, y, x)``.
    responses : on the half grid of the block with `MARGIN` voxels on either side.
    """
    padded = np.pad(density, MARGIN, mode="reflect")
    spectrum = scipy.fft.rfftn(padded)
    for response in responses:
        spectrum *= response
    block: np.ndarray = scipy.fft.irfftn(spectrum, s=padded.shape)[(slice(MARGIN, -MARGIN),) * 3]
    return block.astype(np.float32)


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
    noise *= noise_level(_powers(noisy_spectra), noise, measured)
    voxels = min(sum(np.prod(entry.volume.shape) for entry in domain) for domain in (noisy, clean))
    independent = float(voxels) / (side / 2) ** 3  # blocks; those of a small domain overlap
    few = slice(None, CUMULANT_BLOCKS)
    second = _second_opinion(noisy_spectra[few], clean_spectra[few], measured, independent)
    powers = _powers(noisy_spectra), _powers(clean_spectra)
    unsure = UNSURE[floor.source]
    magnitude, weighting = magnitude_of(
        powers, noise, measured, dict(second), unsure, background=floor.source == "halves"
    )
    transfer = magnitude * _sign(frequency, second) * measured
    ceiling = np.sqrt(MOST_SIGNAL * whole_power / np.maximum(clean_power, FLOOR))
    transfer = np.clip(transfer, -ceiling, ceiling)
    # In the missing wedge there is nothing but what the reconstruction left there.
    noise_power = np.maximum(measured * noise + (1.0 - measured) * whole_power, FLOOR)
    bands = _describe(transfer, powers[1], noise_power, measured)
    likeness = _likeness(bands, second)
    return LinearModel(
        transfer.astype(np.float32),
        np.sqrt(noise_power).astype(np.float32),
        bands,
        floor.source,
        measured.astype(np.float32),
        weighting,
        likeness,
    )


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


def _likeness(
    bands: Sequence[Tuple[float, float, float]], second: Sequence[Tuple[float, float]]
) -> Optional[float]:
    """The cumulants' signal-to-noise ratio over the powers'; said where they are far apart."""
    opinions = dict(second)
    told = []
    for (centre, transfer, ratio) in bands:
        value = opinions.get(centre, 0.0)
        if value != 0.0 and transfer != 0.0 and ratio > FAINT:
            other = ratio * (value / transfer) ** 2
            logger.debug("%.4f cycles per voxel: signal over noise %.3f, by cumulants %.3f",
                         centre, ratio, other)
            told.append(other / ratio)
    if not told:
        return None
    likeness = float(np.median(told))
    if not 1 / DISAGREEMENT < likeness < DISAGREEMENT:
        logger.warning(
            "by the likeness of both domains the structure would be %.2g times as strong against "
            "the noise as was measured on the tomograms; the measurement is used, but the clean "
            "domain may not hold what the tomograms show", likeness,
        )
    return likeness


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
            ratio = squared * trimmed_power(clean_powers, band)
            rows.append(((low + high) / 2, float(transfer[inside].mean()), ratio))
    return tuple(rows)
