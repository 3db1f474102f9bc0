"""How much synthetic tomograms look like real ones: spectra, wedge, histogram, local statistics.

Volumes are standardised (mean 0, deviation 1) one by one and turned to bright density first. A
group of volumes (all real ones, all synthetic ones of one kind) is summed up in a `Portrait`, and
portraits are compared: nothing is compared voxel by voxel, so cells need not be the same, nor
shapes. `two_sample` asks a trained classifier the same question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Sequence, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.evaluation.realism.block_statistics import (
    LOCAL_STATISTICS,
    block_power,
    local_statistics,
)
from dual_core.volumes.geometry import frequency_axes, frequency_radius, wedge_mask

LARGEST_BLOCK = 64
SMALLEST_BLOCK = 16
ANGLE_STEP_DEG = 5
# Coefficients this close to the tilt axis (in Fourier voxels of a block) have no clear direction.
_NEAREST_TO_AXIS = 3.0
_QUANTILES = 4096
_INTENSITIES = np.linspace(-6, 6, 61)


@dataclass(frozen=True)
class RealismConfig:
    """What the comparison needs to know.

    Tilt range (degrees) and tilt axis tell where the missing wedge is, see
    `dual_core.volumes.geometry`;
    ``block`` is the side of the blocks of the power spectra (even), ``local_block`` that of the
    local statistics.
    """

    tilt_range: Tuple[float, float] = (-60.0, 60.0)
    tilt_axis: str = "y"
    block: int = LARGEST_BLOCK
    local_block: int = 24


@dataclass(frozen=True)
class Portrait:
    """What is compared of a group of volumes.

    Attributes
    ----------
    frequency_per_voxel, radial_power : ndarray, (shell,)
        Mean power of a Fourier coefficient in each shell up to Nyquist, without the mean.
    angle_deg, angular_power : ndarray, (angle,)
        Mean log10 power by direction in the plane seen along the tilt axis: 0 along x, 90 along
        the beam.
    wedge_contrast : float
        Mean log10 power inside the missing wedge minus outside; nan where nothing is missing.
    quantiles : ndarray
        Of the intensities, evenly spaced.
    intensity, histogram : ndarray
        Share of voxels at each intensity; what is beyond the ends counts there.
    local : dict of `LOCAL_STATISTICS` to ndarray, (block,)
    """

    frequency_per_voxel: np.ndarray
    radial_power: np.ndarray
    angle_deg: np.ndarray
    angular_power: np.ndarray
    wedge_contrast: float
    quantiles: np.ndarray
    intensity: np.ndarray
    histogram: np.ndarray
    local: Dict[str, np.ndarray]


@dataclass(frozen=True)
class RealismScores:
    """Distances of a synthetic group from the real one; 0 is alike.

    Attributes
    ----------
    radial_rms, radial_log_rms
        Root mean square over all shells of ``S_synthetic / S_real - 1``; the same of the natural
        logarithm of the ratio, where too little power counts as much as too much.
    angular_rms
        The same of the difference of the angular log10 profiles, each less its mean.
    wedge_contrast, wedge_contrast_real, wedge_error
        Mean log10 power inside the missing wedge minus outside, and how far the first is from the
        second, as a part of the second (signed).
    wasserstein, total_variation
        Of the intensities: mean distance of the quantiles, in deviations; half the sum of the
        differences of the histograms, 0 to 1.
    local
        Kolmogorov distance (0 to 1) of each of `LOCAL_STATISTICS`.
    """

    radial_rms: float
    radial_log_rms: float
    angular_rms: float
    wedge_contrast: float
    wedge_contrast_real: float
    wedge_error: float
    wasserstein: float
    total_variation: float
    local: Dict[str, float]

    @property
    def local_mean(self) -> float:
        """Mean of the local distances."""
        return float(np.mean(list(self.local.values())))

    def as_dict(self) -> Dict[str, object]:
        """Flat numbers; None where undefined."""
        numbers = {name: value for name, value in vars(self).items() if name != "local"}
        numbers["local"] = self.local_mean
        numbers.update({f"local_{name}": value for name, value in self.local.items()})
        return {n: float(v) if np.isfinite(v) else None for n, v in numbers.items()}


def choose_blocks(
    shapes: Sequence[Sequence[int]],
    tilt_range: Tuple[float, float] = (-60.0, 60.0),
    tilt_axis: str = "y",
) -> RealismConfig:
    """The largest blocks that fit in all volumes, at most 64; spectra need equal ones.

    Raises
    ------
    DualError
        If a side is shorter than 16 voxels.
    """
    shortest = min(min(shape) for shape in shapes)
    if shortest < SMALLEST_BLOCK:
        raise DualError(
            f"a volume is {shortest} voxels thin, less than the {SMALLEST_BLOCK} that spectra "
            "need; give larger volumes or a smaller --margin"
        )
    block = min(LARGEST_BLOCK, shortest // 2 * 2)
    return RealismConfig(tilt_range, tilt_axis, block, max(8, min(24, shortest // 2)))


def portrait(volumes: Sequence[np.ndarray], config: RealismConfig) -> Portrait:
    """Sum up a group of standardised volumes ``(z, y, x)`` with bright density."""
    power = np.mean([block_power(volume, config.block) for volume in volumes], axis=0)
    frequency, radial = radial_power(power)
    log_power = np.log10(np.maximum(power, 1e-20))
    angles, angular = angular_profile(log_power, config.tilt_axis)
    values = np.concatenate([volume.ravel() for volume in volumes])
    local = [local_statistics(volume, config.local_block) for volume in volumes]
    return Portrait(
        frequency,
        radial,
        angles,
        angular,
        wedge_contrast(log_power, config.tilt_range, config.tilt_axis),
        np.quantile(values, (np.arange(_QUANTILES) + 0.5) / _QUANTILES),
        _INTENSITIES,
        _histogram(values),
        {name: np.concatenate([one[name] for one in local]) for name in LOCAL_STATISTICS},
    )


def compare(real: Portrait, synthetic: Portrait) -> RealismScores:
    """Distances of two portraits of one configuration."""
    ratio = synthetic.radial_power / np.maximum(real.radial_power, 1e-20)
    profiles = [one.angular_power - one.angular_power.mean() for one in (real, synthetic)]
    here, there = synthetic.wedge_contrast, real.wedge_contrast
    error = (here - there) / abs(there) if there else float("nan")
    return RealismScores(
        radial_rms=_rms(ratio - 1),
        radial_log_rms=_rms(np.log(np.maximum(ratio, 1e-20))),
        angular_rms=_rms(profiles[1] - profiles[0]),
        wedge_contrast=here,
        wedge_contrast_real=there,
        wedge_error=error,
        wasserstein=float(np.mean(np.abs(synthetic.quantiles - real.quantiles))),
        total_variation=float(np.sum(np.abs(synthetic.histogram - real.histogram)) / 2),
        local={name: kolmogorov(real.local[name], synthetic.local[name]) for name in real.local},
    )


def radial_power(power: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Mean of a cubic spectrum over shells: frequencies (per voxel, to Nyquist) and means."""
    side = power.shape[0]
    shell = np.rint(frequency_radius((side, side, side)) * side).astype(np.intp).ravel()
    number = np.bincount(shell)[1 : side // 2 + 1]
    total = np.bincount(shell, power.ravel())[1 : side // 2 + 1]
    return np.arange(1, side // 2 + 1) / side, total / number


def angular_profile(log_power: np.ndarray, tilt_axis: str) -> Tuple[np.ndarray, np.ndarray]:
    """Mean of a cubic log spectrum by direction seen along the tilt axis.

    Returns the middles of the bins in degrees, -90 to 90, and the means. The angle is
    ``arctan(kz / kx)``, that of the tilt that measures the coefficient.
    """
    side = log_power.shape[0]
    beam, y, x = frequency_axes((side, side, side))
    across = x if tilt_axis == "y" else y
    inside = frequency_radius((side, side, side)) <= 0.5
    # Near the axis a coefficient's width covers many directions; -1/2 stands for both signs.
    inside &= np.hypot(beam, across) >= min(_NEAREST_TO_AXIS, side / 8) / side
    inside &= (beam > -0.5) & (across > -0.5)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.degrees(np.arctan(beam / across))
    bins = 180 // ANGLE_STEP_DEG
    which = np.floor((angle + 90) / ANGLE_STEP_DEG)
    place = np.broadcast_to(np.nan_to_num(which), log_power.shape)[inside].astype(np.intp) % bins
    number = np.bincount(place, minlength=bins)
    total = np.bincount(place, log_power[inside], minlength=bins)
    middles = -90 + ANGLE_STEP_DEG * (np.arange(bins) + 0.5)
    there = number > 0
    return middles[there], total[there] / number[there]


def wedge_contrast(
    log_power: np.ndarray, tilt_range: Tuple[float, float], tilt_axis: str = "y"
) -> float:
    """Mean of a cubic log spectrum inside the missing wedge minus outside, up to Nyquist.

    nan where the tilt range leaves nothing out.
    """
    side = log_power.shape[0]
    measured = wedge_mask((side, side, side), tilt_range, tilt_axis)
    radius = frequency_radius((side, side, side))
    # The taper smears the strong lowest frequencies over two shells, into the wedge.
    band = (radius > 2.5 / side) & (radius <= 0.5)
    if not (band & ~measured).any():
        return float("nan")
    inside, outside = log_power[band & ~measured], log_power[band & measured]
    return float(inside.mean() - outside.mean())


def kolmogorov(first: np.ndarray, second: np.ndarray) -> float:
    """Largest distance of two empirical distribution functions, 0 to 1."""
    first, second = np.sort(first), np.sort(second)
    values = np.concatenate([first, second])
    below = [np.searchsorted(one, values, side="right") / one.size for one in (first, second)]
    return float(np.max(np.abs(below[0] - below[1])))


def _histogram(values: np.ndarray) -> np.ndarray:
    """Share of voxels at each of `_INTENSITIES`; a voxel counts in part for both neighbours.

    Sharp bins would make a comb of the few grey levels of an integer file.
    """
    last = _INTENSITIES.size - 1
    place = np.clip((values - _INTENSITIES[0]) / (_INTENSITIES[1] - _INTENSITIES[0]), 0, last)
    left = np.minimum(place.astype(np.intp), last - 1)
    part = place - left
    counts = np.bincount(left, 1 - part, last + 1) + np.bincount(left + 1, part, last + 1)
    return counts / values.size


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
