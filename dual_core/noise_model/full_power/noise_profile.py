"""The noise profile: how strong a domain's noise is, by direction and frequency."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter

from dual_core.noise_model.full_power.whole_blocks import HEIGHT, kernel_on, typical_power
from dual_core.noise_model.tapered_power import half_grid_frequency, on_grid
from dual_core.volumes.interface import Triple
from dual_core.volumes.patches import StandardisedVolume

NAMES = ("profile_amplitude", "profile_power", "profile_transfer", "profile_limits")
GAIN = "profile_gain"  # not in models of dual 0.1, nor before Gs was trained
WEIGHTING = "profile_weighting"  # only where a reconstruction weights structure by direction
MEASURED = "measured"  # of the linear model that lies beside it
# Coefficients over which one tomogram's power is compared with the domain's: it has few blocks.
BLUR = (3.0, 1.5, 3.0)
STRENGTH_RANGE = (0.25, 4.0)  # of one tomogram's power over the domain's
WEAKEST_STRUCTURE = 0.3
SHELLS = 16  # of the gain, from 0 to 0.5 cycles per voxel


@dataclass(frozen=True)
class NoiseProfile:
    """The noise of the noisy domain, in units of standardised tomograms.

    Attributes
    ----------
    amplitude : sqrt(N), float32, on the half grid of ``(side, HEIGHT, side)`` voxels: wide
        enough for the tomograms' thickness, so that the rays of single tilts and the edge of the
        missing wedge are in it. The tilt axis is y.
    power : `typical_power` of the tomograms, structure included, same shape.
    transfer : H of the structure on a cubic half grid.
    limits : lowest and highest value of the tomograms.
    structure : factor of the structure beside this noise.
    measured : how much of each coefficient was measured, 0 to 1, on a cubic half grid, or None.
    weighting : the reconstruction's weighting A of structure by direction, on the grid of
        `transfer`, or None. What can be had from a tomogram is A v: a grand model is seen behind
        H and A, a denoised tomogram behind H alone.
    gain : ``(SHELLS,)``, the linear part of Gs (`network_gain`), or None for 1.
    """

    amplitude: np.ndarray
    power: np.ndarray
    transfer: np.ndarray
    limits: Tuple[float, float]
    structure: float = 1.0
    measured: Optional[np.ndarray] = None
    weighting: Optional[np.ndarray] = None
    gain: Optional[np.ndarray] = None

    @property
    def grid(self) -> Triple:
        """``(z, y, x)`` of the full grid."""
        side = self.amplitude.shape[0]
        return side, HEIGHT, side

    def response(self, shape: Triple) -> np.ndarray:
        """The filter that gives white noise of a shape this power, on the half grid of the shape.

        Sampled, not stretched: power per frequency is the same for every shape.
        """
        spectrum = scipy.fft.rfftn(kernel_on(self.amplitude, self.grid, shape))
        return np.ascontiguousarray(spectrum.real)

    def transfer_on(self, shape: Triple) -> np.ndarray:
        """H on the half grid of a shape."""
        return on_grid(self.transfer, shape)

    def weighted_transfer_on(self, shape: Triple) -> np.ndarray:
        """H A on the half grid of a shape."""
        both = self.transfer if self.weighting is None else self.transfer * self.weighting
        return on_grid(both, shape)

    def measured_on(self, shape: Triple) -> Optional[np.ndarray]:
        """What was measured on the half grid of a shape; None for all."""
        return None if self.measured is None else on_grid(self.measured, shape)

    def gain_on(self, shape: Triple) -> Optional[np.ndarray]:
        """The gain on the half grid of a shape; None for 1."""
        if self.gain is None:
            return None
        centres = (np.arange(SHELLS) + 0.5) / (2 * SHELLS)
        return np.interp(half_grid_frequency(shape), centres, self.gain).astype(np.float32)

    def with_power(self, power: np.ndarray) -> NoiseProfile:
        """The same with another N, of the same shape."""
        return replace(self, amplitude=np.sqrt(power).astype(np.float32))

    def of_tomogram(self, entry: StandardisedVolume) -> NoiseProfile:
        """The profile of one tomogram: the domain's times the ratio of their powers.

        The ratio is smooth, since one tomogram has few blocks; rays and wedge are the domain's.
        What the noise has more the structure has less, as tomograms are standardised.

        Raises
        ------
        DualError
            For a tomogram that is blank or shorter than a block.
        """
        own = typical_power([entry], self.grid, np.random.default_rng(0))
        logs = np.log(own / self.power)
        # The noise rules where it is most of the power; elsewhere the ratio is that of the cells.
        share = np.clip(self.amplitude**2 / self.power, 1e-3, 1.0)
        mode = ("wrap", "wrap", "nearest")
        weight = gaussian_filter(share, BLUR, mode=mode)
        ratio = np.exp(gaussian_filter(share * logs, BLUR, mode=mode) / weight)
        changed = self.with_power(self.amplitude**2 * np.clip(ratio, *STRENGTH_RANGE))
        left = [max(1.0 - profile.variance, 1e-3) for profile in (self, changed)]
        structure = float(np.clip(np.sqrt(left[1] / left[0]), WEAKEST_STRUCTURE, 1.5))
        return replace(changed, structure=structure)

    @property
    def variance(self) -> float:
        """Of the noise."""
        inner = self.amplitude[..., 1:-1] ** 2
        ends = self.amplitude[..., [0, -1]] ** 2
        return float((2 * inner.sum() + ends.sum()) / np.prod(self.grid))


def profile_to_arrays(profile: NoiseProfile) -> Dict[str, np.ndarray]:
    """As it lies in a model file: half precision, and one half of what is symmetric along y."""
    half = slice(0, HEIGHT // 2 + 1)
    values = (profile.amplitude[:, half], profile.power[:, half], profile.transfer)
    arrays = {
        name: np.ascontiguousarray(value.astype(np.float16)) for name, value in zip(NAMES, values)
    }
    if profile.weighting is not None:
        arrays[WEIGHTING] = np.ascontiguousarray(profile.weighting.astype(np.float16))
    if profile.gain is not None:
        arrays[GAIN] = profile.gain.astype(np.float32)
    return {**arrays, NAMES[3]: np.array(profile.limits, dtype=np.float32)}


def profile_of(tensors: Mapping[str, Any]) -> Optional[NoiseProfile]:
    """The profile of `DualModel.linear`; None for a model that has none."""
    if not all(name in tensors for name in NAMES):
        return None
    amplitude, power, transfer, limits = (
        np.asarray(tensors[name], dtype=np.float32) for name in NAMES
    )
    low, high = (float(value) for value in limits)
    measured, weighting, gain = (
        np.asarray(tensors[name], dtype=np.float32) if name in tensors else None
        for name in (MEASURED, WEIGHTING, GAIN)
    )
    return NoiseProfile(
        _mirrored(amplitude), _mirrored(power), transfer, (low, high),
        measured=measured, weighting=weighting, gain=gain,
    )


def symmetric(profile: NoiseProfile) -> NoiseProfile:
    """The profile as it is after it was in a file."""
    found = profile_of(profile_to_arrays(profile))
    assert found is not None
    return replace(found, measured=profile.measured)


def shells_of(shape: Triple) -> np.ndarray:
    """The shell of each coefficient of a half grid, int; `SHELLS` for what is beyond them all."""
    return np.minimum((half_grid_frequency(shape) * 2 * SHELLS).astype(np.intp), SHELLS)


def _mirrored(half: np.ndarray) -> np.ndarray:
    others: Sequence[int] = range(HEIGHT // 2 - 1, 0, -1)
    return np.ascontiguousarray(np.concatenate([half, half[:, others]], axis=1))
