"""The linear model of one tomogram, from it and the density that a denoiser made of it.

A model that was trained on many kinds of tomograms knows the transfer and the noise of none. They
follow from the tomogram t and its density d, which is a pair: what of t goes with d is structure,
and band by band ``H = Re <t d*> / <d d*>`` (least squares; a mean of what is likely, which is what
a denoiser gives, is not biased by the power that it lacks). Where next to nothing but noise is left
the density goes with the noise too: on real crops H was two to four times too large beyond 0.15
cycles per voxel. Taking the noise's part away by the denoiser's divergence (Stein) mends H and
changed no result, so that it is left. The noise is measured on the tomogram alone
(`dual_core.noise_model.noise_floor`), the wedge where its power is missing.
"""

from __future__ import annotations

from typing import Callable, List, Tuple

import numpy as np
import scipy.fft

from dual_core.noise_model.calibration import SIDE, LinearModel
from dual_core.noise_model.directions import measured_directions
from dual_core.noise_model.noise_floor import noise_from_blocks
from dual_core.noise_model.structure_power import BAND_EDGES, LAST_EDGE, noise_level
from dual_core.noise_model.tapered_power import FLOOR, half_grid_frequency, smoothed, taper
from dual_core.volumes.interface import Triple
from dual_core.volumes.patches import StandardisedVolume

BLOCKS = 60
EMPTY = 1e-9  # power of a density that tells nothing
COARSE = 0.17  # cycles per voxel below which noise does not grow towards low frequencies
KEPT = 0.9  # of the blocks: those with the strongest density hold gold, which rules every mean

Read = Callable[[Triple, Triple], np.ndarray]


def own_linear_model(
    tomogram: StandardisedVolume, density: Read, generator: np.random.Generator
) -> LinearModel:
    """Fit ``t = H d + n`` to a tomogram and its density.

    Parameters
    ----------
    tomogram : standardised, density bright, tilt axis y.
    density : ``density(start, size)`` gives a region of the denoiser's output on the same grid.
    generator : draws the blocks that are looked at.

    Returns
    -------
    LinearModel
        In units of the standardised tomogram, on a grid of at most `SIDE` voxels.
    """
    side = min(SIDE, *tomogram.volume.shape)
    side -= side % 2
    spectra = _block_spectra(tomogram, density, side, generator)
    powers = np.array([np.abs(first) ** 2 for first, _ in spectra], dtype=np.float32)
    mean = smoothed(powers.mean(axis=0))
    measured = measured_directions(mean, side)
    noise = noise_from_blocks([tomogram], measured, generator).on_grid(side)
    noise *= noise_level(powers, noise, measured)
    noise *= _less_where_coarse(noise, measured)
    noise = np.maximum(measured * noise + (1.0 - measured) * mean, FLOOR)
    strongest = np.argsort([float(np.abs(other[1:]).sum()) for _, other in spectra])
    kept = [spectra[place] for place in strongest[: max(int(KEPT * len(spectra)), 1)]]
    centres, values = _transfer_by_band(kept, measured)
    frequency = half_grid_frequency(side)
    transfer = np.interp(frequency, centres, values) * measured
    bands = tuple(
        (centre, value, _ratio(kept, value, noise, measured, centre))
        for centre, value in zip(centres, values)
    )
    return LinearModel(
        transfer.astype(np.float32), np.sqrt(noise).astype(np.float32), bands, "blocks",
        measured.astype(np.float32),
    )


def _less_where_coarse(noise: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Factors that take what seems to be noise and is structure from coarse rings.

    The noise of a reconstruction does not grow towards low frequencies: its weighting sees to that.
    Where it seems to, every block is full of structure, as in crowded cytoplasm.
    """
    side = len(noise)
    ring = np.rint(half_grid_frequency(side) * side).astype(np.intp)
    inside = measured > 0.5
    numbers = np.bincount(ring[inside], minlength=side)
    means = np.bincount(ring[inside], noise[inside], side) / np.maximum(numbers, 1)
    last = int(COARSE * side)
    factors = np.ones(side)
    least = np.inf
    for place in range(last, -1, -1):
        if numbers[place]:
            least = min(least, means[place])
            factors[place] = least / means[place]
    return factors[np.minimum(ring, side - 1)]


def _block_spectra(
    tomogram: StandardisedVolume, density: Read, side: int, generator: np.random.Generator
) -> List[Tuple[np.ndarray, np.ndarray]]:
    """Spectra of blocks of both, tapered so that their faces do not count."""
    window, size = taper(side), (side, side, side)
    spectra = []
    for _ in range(BLOCKS):
        start = tomogram.random_start(size, generator)
        blocks = (tomogram.read(start, size), density(start, size))
        first, second = (
            scipy.fft.rfftn((block - block.mean()) * window, norm="ortho") for block in blocks
        )
        spectra.append((first, second))
    return spectra


def _transfer_by_band(
    spectra: List[Tuple[np.ndarray, np.ndarray]], measured: np.ndarray
) -> Tuple[List[float], List[float]]:
    """Centre and H of each band that has measured coefficients."""
    frequency = half_grid_frequency(measured.shape[0])
    centres, values = [], []
    for low, high in zip(BAND_EDGES, (*BAND_EDGES[1:], LAST_EDGE)):
        band = (measured > 0.5) & (frequency >= low) & (frequency < high)
        if not band.any():
            continue
        both = sum(float((t[band] * d[band].conj()).real.sum()) for t, d in spectra)
        own = sum(float((np.abs(d[band]) ** 2).sum()) for _, d in spectra)
        centres.append((low + high) / 2)
        values.append(both / own if own > EMPTY else 0.0)
    return centres, values


def _ratio(
    spectra: List[Tuple[np.ndarray, np.ndarray]],
    transfer: float,
    noise: np.ndarray,
    measured: np.ndarray,
    centre: float,
) -> float:
    """Power of the structure over that of the noise about a frequency."""
    frequency = half_grid_frequency(measured.shape[0])
    band = (measured > 0.5) & (np.abs(frequency - centre) < 0.2 * centre)
    if not band.any():
        return 0.0
    power = float(np.mean([np.mean(np.abs(d[band]) ** 2) for _, d in spectra]))
    return transfer**2 * power / float(noise[band].mean())
