"""A second judge that is no network: a linear discriminant on the statistics of small blocks.

Each block is summed up by its log power by direction and frequency and by its intensities. Fisher's
discriminant is fitted on one half of every volume and tested on the other, as the classifier of
`two_sample` is. It sees less than a network; what it sees can be looked up: for every direction and
frequency, how far the two kinds are apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np
import scipy.fft

from dual_core.errors import DualError
from dual_core.volumes.geometry import half_overlapping, squared_sine_window

LARGEST_SIDE, SMALLEST_SIDE = 32, 16
ANGLE_STEP_DEG = 15.0
FREQUENCIES = (0.03, 0.08, 0.14, 0.2, 0.28, 0.36, 0.44, 0.55)  # edges, cycles per voxel
SHRINKAGE = 0.2  # of the covariance towards its diagonal
CLIP = 6.0  # deviations, as for the classifier


@dataclass(frozen=True)
class Judgement:
    """What the judge says.

    Attributes
    ----------
    accuracy, standard_error : on halves that it was not fitted on; 0.5 where it cannot tell.
    angle_deg : middles of the directions about the tilt axis, 0 along x, 90 along the beam.
    frequency_per_voxel : middles of the frequencies' bands.
    apart : ``(frequency, angle)``: mean log power of the synthetic blocks less that of the real
        ones, in deviations from block to block; nan where a band has no coefficient.
    """

    accuracy: float
    standard_error: float
    angle_deg: np.ndarray
    frequency_per_voxel: np.ndarray
    apart: np.ndarray


def judge(
    real: Sequence[np.ndarray], synthetic: Sequence[np.ndarray], tilt_axis: str = "y"
) -> Judgement:
    """Fit and test the discriminant.

    Parameters
    ----------
    real, synthetic : standardised volumes ``(z, y, x)`` with bright density.
    tilt_axis : ``y`` or ``x``.

    Raises
    ------
    DualError
        If a volume is too small for two halves.
    """
    if tilt_axis == "x":
        real, synthetic = ([v.swapaxes(1, 2) for v in group] for group in (real, synthetic))
    shapes = [volume.shape for volume in (*real, *synthetic)]
    shortest = [min(shape[axis] for shape in shapes) for axis in range(3)]
    side = min(LARGEST_SIDE, min(shortest), int(max(shortest) / 2.5)) // 2 * 2
    if side < SMALLEST_SIDE:
        raise DualError(
            f"the volumes are too small for the judge of block statistics: it needs "
            f"{SMALLEST_SIDE} voxels along each axis; give larger volumes"
        )
    bands, seen = _bands(side)
    groups = [
        [_features(volume, side, bands, len(seen)) for volume in group]
        for group in (real, synthetic)
    ]
    axes = [a for a in range(3) if shortest[a] >= 2.5 * side]
    accuracies = []
    for axis in axes:
        for half in (0, 1):
            parts = [
                [np.concatenate([f[_in_half(at, n, axis, part, side)] for f, at, n in group])
                 for group in groups]
                for part in (half, 1 - half)
            ]
            accuracies.append(_accuracy(*parts))
    everything = [np.concatenate([features for features, _, _ in group]) for group in groups]
    spread = np.sqrt((everything[0].var(0) + everything[1].var(0)) / 2) + 1e-9
    difference = (everything[1].mean(0) - everything[0].mean(0)) / spread
    angles = int(180 / ANGLE_STEP_DEG)
    apart = np.full((len(FREQUENCIES) - 1) * angles, np.nan)
    apart[seen] = difference[: len(seen)]
    edges = np.array(FREQUENCIES)
    return Judgement(
        float(np.mean(accuracies)),
        float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))),
        -90 + ANGLE_STEP_DEG * (np.arange(angles) + 0.5),
        (edges[:-1] + edges[1:]) / 2,
        apart.reshape(-1, angles),
    )


def _bands(side: int) -> Tuple[np.ndarray, np.ndarray]:
    """The band of each coefficient of the half grid (-1: none), and which bands there are."""
    kz, ky = np.fft.fftfreq(side)[:, None, None], np.fft.fftfreq(side)[None, :, None]
    kx = np.fft.rfftfreq(side)[None, None, :]
    distance = np.sqrt(kz**2 + kx**2) + 0 * ky
    angle = np.degrees(np.arctan2(kz, kx)) + 0 * ky
    angles = int(180 / ANGLE_STEP_DEG)
    direction = ((angle + 90) // ANGLE_STEP_DEG).astype(int) % angles
    ring = np.digitize(np.sqrt(distance**2 + ky**2), FREQUENCIES) - 1
    inside = (ring >= 0) & (ring < len(FREQUENCIES) - 1) & (distance > 1.5 / side)
    wanted = np.where(inside, ring * angles + direction, -1)
    seen = np.unique(wanted[inside])
    place = np.full(wanted.max() + 2, -1)
    place[seen] = np.arange(len(seen))
    return place[wanted], seen


def _features(
    volume: np.ndarray, side: int, bands: np.ndarray, count: int
) -> Tuple[np.ndarray, np.ndarray, Tuple[int, ...]]:
    """Features ``(block, feature)``, corners ``(block, 3)``, and the volume's shape."""
    taper = squared_sine_window((side,) * 3).astype(np.float32)
    chosen = bands >= 0
    number = np.bincount(bands[chosen], minlength=count)
    found: List[np.ndarray] = []
    corners = half_overlapping(volume.shape, (side,) * 3)
    for z, y, x in corners:
        block = np.clip(volume[z : z + side, y : y + side, x : x + side], -CLIP, CLIP)
        power = np.abs(scipy.fft.rfftn(block * taper)) ** 2
        total = np.bincount(bands[chosen], power[chosen], minlength=count) / number
        mean, deviation = float(block.mean()), float(block.std()) + 1e-9
        shape = ((block - mean) / deviation).astype(np.float64)
        moments = (mean, deviation, np.mean(shape**3), np.mean(shape**4))
        found.append(np.concatenate([np.log(total + 1e-6), moments]))
    return np.array(found), np.array(corners), volume.shape


def _in_half(
    corners: np.ndarray, shape: Tuple[int, ...], axis: int, half: int, side: int
) -> np.ndarray:
    """The blocks of one half, with a gap of half a block between the halves."""
    middle = shape[axis] / 2
    if half == 0:
        result: np.ndarray = corners[:, axis] + side <= middle - side / 4
        return result
    return corners[:, axis] >= middle + side / 4


def _accuracy(fitted: Sequence[np.ndarray], tested: Sequence[np.ndarray]) -> float:
    """Share of the tested blocks that Fisher's discriminant of the fitted ones tells rightly."""
    means = [group.mean(0) for group in fitted]
    scale = np.sqrt(sum(group.var(0) for group in fitted) / 2) + 1e-9
    centred = np.concatenate([(g - m) / scale for g, m in zip(fitted, means)])
    covariance = centred.T @ centred / len(centred)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance))
    direction = np.linalg.solve(covariance, (means[1] - means[0]) / scale)
    middle = (means[0] + means[1]) / 2
    right = [((g - middle) / scale) @ direction for g in tested]
    return float((np.mean(right[0] < 0) + np.mean(right[1] > 0)) / 2)
