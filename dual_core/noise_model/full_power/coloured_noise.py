"""What is linear in equation 1, for a volume of any size: ``h * v`` and ``c * P(Gn(z))``.

The white noise is a function of seed and position (`dual_core.noise_model.noise_field`) and goes on
outside the volume. The filter c has an end, half the profile's grid away. So the noise of a part
is exact with that much around it, and parts fit together to within rounding.
"""

from __future__ import annotations

import functools
import itertools
import threading
from typing import Callable, List, Tuple, TypeVar

import numpy as np
import scipy.fft
from scipy.special import ndtri

from dual_core.noise_model.full_power.noise_profile import NoiseProfile
from dual_core.noise_model.noise_field import NoiseField
from dual_core.tiles.plan import as_triple
from dual_core.volumes.interface import Triple

Result = TypeVar("Result")

MARGIN = 32  # voxels around a region of density; what reaches further is the wedge's edge alone
PART = 160  # voxels along each axis of what is filtered at once


class SeenStructure:
    """How a tomogram of a profile shows a density, before the network and after it.

    Parameters
    ----------
    profile : of the noisy domain.
    denoised : the density is a denoised tomogram, not a grand model: the weighting of structure by
        direction is in it already.
    """

    def __init__(self, profile: NoiseProfile, denoised: bool = False) -> None:
        self.profile = profile
        transfer = profile.transfer_on if denoised else profile.weighted_transfer_on
        self._transfer = _kept(transfer, 1)
        self._measured = _kept(profile.measured_on, 1)
        self._gain = _kept(profile.gain_on, 1)

    def structure_of(self, density: np.ndarray) -> np.ndarray:
        """``h * v`` of a region that is given with `MARGIN` voxels around it, float32."""
        whole = _through(density, self._transfer(as_triple(density.shape)))
        return np.ascontiguousarray(whole[(slice(MARGIN, -MARGIN),) * 3])

    def corrected(self, made: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """What a network made of ``h * v``, without what it should not have changed.

        Neither what it has put into the missing wedge, where there is a hundredth of the noise, so
        that the little that a network spills shows; nor what a filter does (`network_gain`). What
        goes beyond the values of the tomograms, gold and its fringes, saturates outside the wedge.

        Parameters
        ----------
        made, seen : the network's output and its input, of one shape. Near the faces, closer than
            half the grid of what was measured, the result is not that of a larger region.
        """
        shape = as_triple(made.shape)
        gain, measured = self._gain(shape), self._measured(shape)
        if gain is None and measured is None:
            return made
        change = scipy.fft.rfftn(made if gain is not None else made - seen)
        if gain is not None:
            change -= gain * scipy.fft.rfftn(seen)
        if measured is not None:
            change *= measured
        kept: np.ndarray = scipy.fft.irfftn(change, s=shape, overwrite_x=True)
        kept += seen
        if measured is not None:
            low, high = self.profile.limits
            beyond = np.clip(kept, np.float32(low), np.float32(high)) - kept
            if beyond.any():
                kept += _through(beyond, measured)
        return kept


class ColouredNoise(SeenStructure):
    """Noise of a profile at every voxel of space, and the structure beside it.

    Parameters
    ----------
    field : white noise. Its values are made normal: that of a tomogram is a sum over all tilts.
        What Gn learns of the distribution within a training is not near enough (kurtosis 3 to 7,
        where tomograms have 3.0 to 3.3), and shows wherever c is nearly white.
    profile : the power to give it.
    """

    def __init__(self, field: NoiseField, profile: NoiseProfile) -> None:
        super().__init__(profile)
        self._field = NoiseField(normal_scores(field.values), int(field.seed))
        self._response = _kept(profile.response, 4)

    def added_to(self, structure: np.ndarray, start: Triple) -> np.ndarray:
        """A part of a tomogram from its structure: the noise on top, within the limits."""
        noise = self.read(start, as_triple(structure.shape))
        noise += np.float32(self.profile.structure) * structure
        low, high = self.profile.limits
        result: np.ndarray = np.clip(noise, np.float32(low), np.float32(high), out=noise)
        return result

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """A region, float32. Its parts depend on start and size, and only by rounding."""
        result = np.empty(size, dtype=np.float32)
        axes = [_parts(length) for length in size]
        for part in itertools.product(*axes):
            corner = as_triple([first + at for first, (at, _) in zip(start, part)])
            extent = as_triple([length for _, length in part])
            inside = tuple(slice(at, at + length) for at, length in part)
            result[inside] = self._filtered(corner, extent)
        return result

    def _filtered(self, start: Triple, size: Triple) -> np.ndarray:
        grid = self.profile.grid
        around = [side // 2 for side in grid]
        shape = as_triple(
            [scipy.fft.next_fast_len(n + 2 * m, real=True) for n, m in zip(size, around)]
        )
        white = self._field.read(as_triple([s - m for s, m in zip(start, around)]), shape)
        noise = _through(white, self._response(shape))
        return noise[tuple(slice(m, m + n) for m, n in zip(around, size))]


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Values that are distributed normally, mean 0 and deviation 1, in the order of `values`.

    Parameters
    ----------
    values : ``(n,)``, at least two.
    """
    quantiles = (np.arange(values.size) + 0.5) / values.size
    scores = np.empty(values.size, dtype=np.float64)
    scores[np.argsort(values, kind="stable")] = ndtri(quantiles)
    result: np.ndarray = (scores / scores.std()).astype(np.float32)
    return result


def _kept(function: Callable[[Triple], Result], count: int) -> Callable[[Triple], Result]:
    """A function of a shape that keeps its latest results, found once for all threads."""
    lock, cached = threading.Lock(), functools.lru_cache(count)(function)

    def result(shape: Triple) -> Result:
        with lock:
            return cached(shape)

    return result


def _through(volume: np.ndarray, response: np.ndarray) -> np.ndarray:
    """A volume behind a filter that is given on its half grid."""
    spectrum = scipy.fft.rfftn(volume)
    spectrum *= response
    result: np.ndarray = scipy.fft.irfftn(spectrum, s=volume.shape, overwrite_x=True)
    return result


def _parts(length: int) -> List[Tuple[int, int]]:
    """(start, length) of even parts of an axis."""
    count = -(-length // PART)
    edges = np.linspace(0, length, count + 1).round().astype(int)
    return [(int(first), int(last - first)) for first, last in zip(edges, edges[1:])]
