"""A tomogram described so that padding, gold and hot voxels do not set its scale.

Mean and deviation are those of the voxels that are neither blank nor extreme. Extreme is what lies
beyond five deviations, found again and again until nothing is left out any more (sigma clipping,
from the plain deviation downwards). Of Gaussian noise that is one voxel in two million, so that its
deviation changes by 1e-5; a bead of gold or a dead pixel goes entirely, however large its value.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np

from dual_core.overlap import in_order, threads
from dual_core.volumes.contrast import ContrastVerdict, detect_contrast
from dual_core.volumes.described.finding import BlankFinder, RepeatedValues, bricks
from dual_core.volumes.described.mask import NearestMask
from dual_core.volumes.interface import ReadableVolume, Triple
from dual_core.volumes.patches import StandardisedVolume
from dual_core.volumes.reading import volume_statistics
from dual_core.volumes.resampling import ResampledVolume
from dual_core.volumes.running_statistics import RunningStatistics, VolumeStatistics

logger = logging.getLogger(__name__)

EXTREME = 5.0  # deviations
# More than this beyond five deviations is no rare thing but how the values are distributed.
MOST_EXTREME = 0.03
# What a network sees lies within so many deviations of the mean. Bytes saturate there too.
SEEN = 10.0
_SAMPLE = 1 << 21
_ROUNDS = 100


@dataclass(frozen=True)
class Described:
    """A volume, where it is blank, and the mean and deviation of the rest.

    Attributes
    ----------
    volume : ReadableVolume
    statistics : VolumeStatistics
        Robust mean and deviation; minimum and maximum of all voxels that are not blank, no
        further than `SEEN` deviations from the mean.
    blank : volume of bool, optional
        ``blank.read(start, size)`` says which voxels are blank; None where none is.
    share : float
        The blank part of the volume, 0 to 1.
    cut : float
        Deviations beyond which nothing is seen; infinite for grand models, whose gold is meant.
    """

    volume: ReadableVolume
    statistics: VolumeStatistics
    blank: Optional[ReadableVolume] = None
    share: float = 0.0
    cut: float = SEEN

    @property
    def contrast(self) -> ContrastVerdict:
        """Whether density is dark or bright; neither padding nor hot voxels decide."""
        return detect_contrast(self.seen, self.blank)

    @property
    def seen(self) -> ReadableVolume:
        """The volume as a network is to see it: the mean where blank, nothing extreme."""
        return SeenVolume(self.volume, self.statistics, self.blank, self.cut)

    @property
    def filled(self) -> ReadableVolume:
        """The volume with its mean where it is blank; the rest as it is."""
        return SeenVolume(self.volume, self.statistics, self.blank, np.inf)

    def on_grid(self, voxel_size_A: float) -> Described:
        """The same of `seen` on another voxel size (or on its own)."""
        view = ResampledVolume(self.seen, voxel_size_A)
        if not view.is_resampled:
            return Described(self.seen, self.statistics, self.blank, self.share)
        blank = self.blank and NearestMask(self.blank, view.shape, view.voxel_size_A)
        return Described(view, _moments_of(view, blank), blank, self.share)

    def standardised(self, sign: float = 1.0) -> StandardisedVolume:
        """With its own mean and deviation, turned where `sign` is negative."""
        found = self.statistics
        return StandardisedVolume(self.volume, found.mean, sign * found.std, self.blank, self.cut)


class SeenVolume:
    """A view of a volume with one value where it is blank, and nothing beyond some deviations.

    Parameters
    ----------
    volume : ReadableVolume
    statistics : VolumeStatistics
        Its robust mean, which blank voxels get, and deviation.
    blank : volume of bool, optional
    most : float
        Deviations from the mean at which values are cut.
    """

    def __init__(
        self,
        volume: ReadableVolume,
        statistics: VolumeStatistics,
        blank: Optional[ReadableVolume],
        most: float,
    ) -> None:
        self._volume = volume
        self._mean = statistics.mean
        self._most = most * statistics.std
        self._blank = blank
        self.name = volume.name
        self.shape = volume.shape
        self.voxel_size_A = volume.voxel_size_A

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """Region of `size` at `start`, float32, inside the volume."""
        block = self._volume.read(start, size)
        if np.isfinite(self._most):
            low, high = np.float32(self._mean - self._most), np.float32(self._mean + self._most)
            np.clip(block, low, high, out=block)
        if self._blank is not None:
            block[self._blank.read(start, size)] = np.float32(self._mean)
        return block

    def load(self) -> np.ndarray:
        """The whole volume, float32."""
        return self.read((0, 0, 0), self.shape)


def keep_blank(
    block: np.ndarray, start: Triple, volume: ReadableVolume, blank: ReadableVolume, by: float = 1.0
) -> None:
    """Put ``by`` times the values of `volume` into its block ``(z, y, x)`` where it is blank."""
    z, y, x = block.shape
    where = blank.read(start, (z, y, x))
    if where.any():
        block[where] = by * volume.read(start, (z, y, x))[where]


def describe(volume: ReadableVolume) -> Described:
    """Find the blank parts of a tomogram, and mean and deviation of the rest.

    The volume is read two times, brick by brick (three times where the repeated values turn out to
    be content); besides a brick only a sample of two million values and the mask are in memory.
    Says in the log how much is blank, if anything is.

    Raises
    ------
    DualError
        NaN or infinite values, or a volume in which all voxels are equal.
    """
    repeated, sample = RepeatedValues(), _Sample(volume.shape)

    def watch(slab: np.ndarray) -> None:
        repeated.add(slab)
        sample.add(slab)

    plain = volume_statistics(volume, watch)
    values = repeated.values
    if values:
        limits = _limits(sample.without(values))
        finder = BlankFinder(volume, values)
        moments = _Moments(limits)
        for start, size in bricks(volume.shape):
            brick, blank = finder.next(start, size)
            moments.add(brick[~blank])
        if finder.mask.share > 0 and moments.usable:
            found = moments.result()
            if not finder.is_background(plain.minimum, plain.maximum, found.std):
                share = finder.mask.share
                logger.info(
                    "%s: %.1f %% is blank (filled with one value) and left out",
                    volume.name, 100 * share,
                )
                return Described(volume, found, finder.mask, share)
    return Described(volume, _moments_of(volume, None, sample, plain))


def _moments_of(
    volume: ReadableVolume,
    blank: Optional[ReadableVolume],
    sample: Optional[_Sample] = None,
    plain: Optional[VolumeStatistics] = None,
) -> VolumeStatistics:
    """Robust moments of what is not blank; the plain ones where there is no telling."""
    if sample is None or plain is None:
        sample = _Sample(volume.shape)
        plain = volume_statistics(volume, sample.add)
    moments = _Moments(_limits(sample.without(())))

    def look(region: Tuple[Triple, Triple]) -> _Moments:
        brick, part = volume.read(*region), moments.empty()
        part.add(brick.ravel() if blank is None else brick[~blank.read(*region)])
        return part

    for part in in_order(look, bricks(volume.shape), threads()):
        moments.merge(part)
    return moments.result() if moments.usable else plain


class _Sample:
    """Every so many voxels of a volume, in the order in which they go by."""

    def __init__(self, shape: Triple) -> None:
        voxels = float(np.prod(shape, dtype=np.float64))
        # Odd, so that it runs through rows of an even length.
        self._step = int(voxels // _SAMPLE) | 1
        self._parts: List[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        """Take in an array of any shape."""
        self._parts.append(block.ravel()[:: self._step].copy())

    def without(self, values: Sequence[float]) -> np.ndarray:
        """The sample less some values, float64."""
        whole = np.concatenate(self._parts)
        return whole[~np.isin(whole, np.array(values, dtype=np.float32))].astype(np.float64)


class _Moments:
    """Moments of what lies within limits, and the range of all, from pieces."""

    def __init__(self, limits: Tuple[float, float]) -> None:
        self._limits = limits
        self._low, self._high = (np.float32(limit) for limit in limits)
        self._within, self._all = RunningStatistics(), RunningStatistics()
        self._kept = self._count = 0

    def add(self, values: np.ndarray) -> None:
        """Take in a flat array."""
        if values.size == 0:
            return
        minimum, maximum = values.min(), values.max()
        self._all.add(np.array([minimum, maximum]))
        kept = values
        if minimum < self._low or maximum > self._high:
            kept = values[(values >= self._low) & (values <= self._high)]
        self._count += values.size
        self._kept += kept.size
        if kept.size:
            self._within.add(kept)

    def empty(self) -> _Moments:
        """Another with the same limits."""
        return _Moments(self._limits)

    def merge(self, other: _Moments) -> None:
        """Take in what another has taken in."""
        self._within.merge(other._within)
        self._all.merge(other._all)
        self._count += other._count
        self._kept += other._kept

    @property
    def usable(self) -> bool:
        """Whether what was left out is rare, and the rest not constant."""
        rare = self._kept >= (1 - MOST_EXTREME) * self._count
        return self._kept > 1 and rare and self._within.result.std > 0

    def result(self) -> VolumeStatistics:
        """Robust mean and deviation; the range, no further than `SEEN` deviations."""
        found, whole = self._within.result, self._all.result
        reach = SEEN * found.std
        return VolumeStatistics(
            found.mean,
            found.std,
            max(whole.minimum, found.mean - reach),
            min(whole.maximum, found.mean + reach),
        )


def _limits(values: np.ndarray) -> Tuple[float, float]:
    """Five deviations to either side, after all beyond them has been left out."""
    mean, deviation = 0.0, np.inf
    for _ in range(_ROUNDS):
        kept = values[np.abs(values - mean) <= EXTREME * deviation]
        if kept.size == 0 or kept.size == values.size and np.isfinite(deviation):
            break
        values, mean, deviation = kept, float(kept.mean()), float(kept.std())
    return mean - EXTREME * deviation, mean + EXTREME * deviation
