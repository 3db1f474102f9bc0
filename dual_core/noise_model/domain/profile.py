"""Noise against structure, and the shape of the spectrum, from a sample of blocks.

Of each block the power is taken in a few bands. A training remembers two mean profiles: that of its
tomograms, and that of their emptiest blocks, which passes for noise; the rest is structure. The
profile of any tomogram is then ``a (structure + k^2 noise)``, fitted over the bands: k says how
many times as strong its noise is, and what the fit leaves over says how much another spectrum
it has. The emptiest blocks are not free of structure, and in structureless bands nothing can be
told, so k is too small where noise is very strong; docs/denoising.md has figures.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import scipy.fft
from scipy.optimize import nnls

from dual_core.networks.card import TrainedRange
from dual_core.noise_model.directions import measured_directions
from dual_core.noise_model.domain.seen_tilts import Range, suggest_tilt_range
from dual_core.noise_model.tapered_power import FLOOR, half_grid_frequency, taper
from dual_core.volumes.patches import StandardisedVolume

SIDE = 32  # voxels of a block
BLOCKS = 64
BAND_EDGES = (0.03, 0.06, 0.09, 0.13, 0.2, 0.3, 0.45)  # cycles per voxel
EMPTIEST = 0.05  # quantile of the blocks that passes for noise
EXTREME = 0.1  # of the blocks on either side that do not count for the mean: gold, and holes
LEAST_STRUCTURE = 0.02  # of the noise
MOST_TOMOGRAMS = 12  # that are looked at, evenly over the list
STRONGEST = 99.0  # noise factor


class Profile(NamedTuple):
    """Power of a standardised tomogram in each band of `BAND_EDGES`, in units of white noise.

    ``mean`` of its blocks, and of the ``emptiest`` ones; in the measured directions alone.
    """

    mean: np.ndarray
    emptiest: np.ndarray


class Facts(NamedTuple):
    """What a tomogram looks like; None where it is too small to tell.

    ``tilt_range_deg`` is the one that its spectrum shows.
    """

    profile: Optional[Profile]
    tilt_range_deg: Optional[Range]


def facts_of(entry: StandardisedVolume) -> Facts:
    """Look at a sample of blocks of a standardised tomogram, tilt axis y."""
    return Facts(_profile_of(entry), suggest_tilt_range(entry.volume))


def measure_range(
    entries: Sequence[StandardisedVolume], voxel_sizes_A: Sequence[float]
) -> TrainedRange:
    """What the tomograms of a training look like, for its card.

    Parameters
    ----------
    entries : the tomograms as the networks see them; of many a dozen are looked at.
    voxel_sizes_A : of the files, angstrom.
    """
    chosen = np.unique(np.linspace(0, len(entries) - 1, MOST_TOMOGRAMS).round().astype(int))
    facts = [facts_of(entries[number]) for number in chosen]
    tilts = [one.tilt_range_deg for one in facts if one.tilt_range_deg is not None]
    smallest, largest = (
        _ends([tilt[end] for tilt in tilts]) if tilts else None for end in range(2)
    )
    profiles = [one.profile for one in facts if one.profile is not None]
    known = TrainedRange(_ends(voxel_sizes_A), smallest, largest)
    if not profiles:
        return known
    mean, noise = (
        np.exp(np.mean([np.log(profile[kind]) for profile in profiles], axis=0))
        for kind in range(2)
    )
    structure = np.maximum(mean - noise, LEAST_STRUCTURE * noise)
    fits = [noise_factor(profile, structure, noise) for profile in profiles]
    return TrainedRange(
        known.voxel_size_A,
        smallest,
        largest,
        tuple(float(f"{value:.4g}") for value in structure),
        tuple(float(f"{value:.4g}") for value in noise),
        _ends([factor for factor, _ in fits]),
        round(max(misfit for _, misfit in fits), 2),
    )


def noise_factor(
    profile: Profile, structure: Sequence[float], noise: Sequence[float]
) -> Tuple[float, float]:
    """How many times as strong the noise is against the structure, and the largest misfit in dB."""
    parts = np.stack([np.asarray(structure), np.asarray(noise)], axis=1) / profile.mean[:, None]
    (of_structure, of_noise), _ = nnls(parts, np.ones(len(parts)))
    fitted = parts @ np.array([of_structure, of_noise])
    misfit = float(np.abs(10 * np.log10(np.maximum(fitted, FLOOR))).max())
    if of_noise >= STRONGEST**2 * of_structure:
        return STRONGEST, misfit
    return float(np.sqrt(of_noise / of_structure)), misfit


def _ends(values: Sequence[float]) -> Tuple[float, float]:
    return round(float(min(values)), 4), round(float(max(values)), 4)


def _profile_of(entry: StandardisedVolume) -> Optional[Profile]:
    if min(entry.volume.shape) < SIDE:
        return None
    generator = np.random.default_rng(0)
    size = (SIDE,) * 3
    window = taper(SIDE)
    powers: List[np.ndarray] = []
    for _ in range(BLOCKS):
        block = entry.read(entry.random_start(size, generator), size) * window
        powers.append(np.abs(scipy.fft.rfftn(block, norm="ortho")) ** 2)
    measured = measured_directions(np.mean(powers, axis=0) + FLOOR, SIDE) > 0.5
    frequency = half_grid_frequency(SIDE)
    mean, emptiest = [], []
    for low, high in zip(BAND_EDGES, BAND_EDGES[1:]):
        band = measured & (frequency >= low) & (frequency < high)
        if not band.any():
            return None
        found = np.sort([power[band].mean() for power in powers])
        left_out = int(EXTREME * BLOCKS)
        mean.append(found[left_out : BLOCKS - left_out].mean())
        emptiest.append(np.quantile(found, EMPTIEST))
    return Profile(np.maximum(mean, FLOOR), np.maximum(emptiest, FLOOR))
