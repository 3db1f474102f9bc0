"""The transfer of the structure from the power that tomograms have beyond their noise."""

from __future__ import annotations

from typing import Dict, Optional, Tuple

import numpy as np

from dual_core.noise_model.cumulants import trimmed_mean
from dual_core.noise_model.directions import steepness_of
from dual_core.noise_model.tapered_power import FLOOR, half_grid_frequency

STEEPNESS = np.array([0.0, 0.3, 0.6, 0.85, 1.0])  # distance from the tilt axis over frequency
STEEPNESS_WIDTH = 0.2
LAST_EDGE = 0.45  # of a band beyond the others, where the powers are looked at alone
CUMULANT_ERROR = 1.0  # of log H^2 by the cumulants, whose domains never quite match
FINEST = 0.36  # cycles per voxel from which power is noise
EVEN = 1.08  # factor of the noise from place to place that may be structure as well
FAINT = 0.01  # signal-to-noise ratio that passes for none
WEIGHTED = 1.6  # factor of H from direction to direction below which it passes for none
QUANTILES = np.arange(5.0, 91.0, 5.0)  # percent of the blocks that are compared
LEAST_DENSITY = 0.4  # of the power beyond the noise that is density's in any case
FEW = 60.0  # coefficients of a direction that count as much as the mean over all directions
BAND_EDGES = (0.02, 0.03, 0.04, 0.055, 0.07, 0.085, 0.1, 0.12, 0.15, 0.2, 0.3)  # cycles per voxel
FAR = 0.6  # steepness from which structure is taken as the reconstruction weights most of it


def magnitude_of(
    powers: Tuple[np.ndarray, np.ndarray],
    noise: np.ndarray,
    measured: np.ndarray,
    second: Dict[float, float],
    unsure: float,
    background: bool = False,
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
    background : whether N is that of halves, beyond which there is more than density.
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
        reference = trimmed_power(powers[1], (frequency >= low) & (frequency < high))

        def squared(ring: np.ndarray, reference: float = reference) -> float:
            beyond = trimmed_power(powers[0], ring) - float(noise[ring].mean())
            return max(beyond, 0.0) / max(reference, FLOOR)

        far = band & (steepness >= FAR) if (band & (steepness >= FAR)).any() else band
        bulk = squared(far)
        other = second.get(centre, 0.0) ** 2 or before
        share = 1.0
        if background:
            share = _share_of_density(
                powers[0][:, far], powers[1][:, far], float(noise[far].mean())
            )
        before = share * _believed(bulk, other, reference / float(noise[far].mean()), unsure)
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


def _share_of_density(noisy: np.ndarray, clean: np.ndarray, noise: float) -> float:
    """How much of the power beyond the noise of halves is density's, where it is below the noise.

    What both halves of a tomogram have in common is more than density: ice, what is left of the
    neighbourhood, interpolation. It is everywhere alike, and density is not. So the share follows
    from how much the blocks differ, beside how much those of the clean domain do: the slope of the
    quantiles of the one against those of the other.

    Parameters
    ----------
    noisy, clean : power of a ring of each block, ``(count, coefficients)``.
    noise : N there.
    """
    beyond, density = noisy.mean(axis=1) - noise, clean.mean(axis=1)
    mean, reference = (trimmed_mean(values, len(values))[0] for values in (beyond, density))
    if not 0.0 < mean < noise or reference <= 0.0:
        return 1.0
    ordered, against = (np.percentile(values, QUANTILES) for values in (beyond, density))
    spread = float(np.var(against))
    if spread <= FLOOR * reference**2:
        return 1.0
    slope = float(np.cov(ordered, against, bias=True)[0, 1]) / spread
    return float(np.clip(slope * reference / mean, LEAST_DENSITY, 1.0))


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


def trimmed_power(powers: np.ndarray, ring: np.ndarray) -> float:
    """Mean power of a ring without the extreme blocks."""
    return trimmed_mean(powers[:, ring].mean(axis=1), len(powers))[0]


def noise_level(powers: np.ndarray, noise: np.ndarray, measured: np.ndarray) -> float:
    """How much stronger the noise is in these blocks than where N was measured.

    In a small volume blocks of another size see other places, and noise is not equally strong
    everywhere. At the highest frequencies there is nothing else; a small part may be structure.
    """
    fine = (measured > 0.5) & (half_grid_frequency(len(noise)) >= FINEST)
    found = trimmed_power(powers, fine) / float(noise[fine].mean())
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
