"""A density map, opened, looked at and brought to the scale of a model."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

from dual_core.tasks.domain_check import warn_of_domain
from dual_core.tasks.given_volume import GivenTomogram, contrast_of, on_the_grid_of
from dual_core.tasks.simulation.noise_codes import content_hash
from dual_core.volumes.reading import (
    ReadableVolume,
    Triple,
    Volume,
    VolumeStatistics,
    open_volume,
    volume_statistics,
)

logger = logging.getLogger(__name__)

# A model's grand models differ in how full they are; other units differ by more than this.
OTHER_UNITS = 3.0
TRANSLATE = "translate"  # the task whose clean domain are tomograms


@dataclass(frozen=True)
class DensityMap:
    """A volume that is ready to be turned into tomograms; made by `open_density`.

    Attributes
    ----------
    volume : Volume
        As in the file.
    grid : ReadableVolume
        The same on the model's voxel size.
    contrast : str
        Of the file's density.
    statistics : VolumeStatistics
        Of ``grid``.
    mean, deviation : float
        What ``grid`` is standardised with; a negative deviation turns the contrast.
    content : int
        `content_hash` of the voxels.
    tomogram : GivenTomogram, optional
        Where the model's clean domain are tomograms: padding and extreme values are left out.
    """

    volume: Volume
    grid: ReadableVolume
    contrast: str
    statistics: VolumeStatistics
    mean: float
    deviation: float
    content: int
    tomogram: Optional[GivenTomogram] = None

    @property
    def blank(self) -> Optional[ReadableVolume]:
        """Where ``grid`` is blank, a volume of bool; None where it is not."""
        return self.tomogram.entry.mask if self.tomogram is not None else None

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """A region of ``grid``, standardised; a fresh array."""
        if self.tomogram is not None:
            return self.tomogram.entry.read(start, size)
        block = self.grid.read(start, size)
        block -= np.float32(self.mean)
        block /= np.float32(self.deviation)
        return block


def open_density(
    source: Union[str, Path],
    card: Any,
    contrast: str = "auto",
    standardise: str = "model",
    voxel_size_A: Optional[float] = None,
) -> DensityMap:
    """Open a grand model (or a tomogram of the clean domain) for simulation.

    Parameters
    ----------
    source : path
        MRC file.
    card : ModelCard
    contrast : str
        Of its density: ``auto``, ``dark`` or ``bright``.
    standardise : str
        ``model``: by the mean and deviation of the model's clean domain; ``own``: by its own.
    voxel_size_A : float, optional
        Instead of what its header says.

    Raises
    ------
    DualError
        For a file that cannot be read, a constant volume or values that are not finite.
    """
    volume = open_volume(source, voxel_size_A=voxel_size_A)
    if standardise == "own" and card.task == TRANSLATE:
        given = GivenTomogram(volume, card, contrast)
        # Of the clean domain, which such a model was trained on, the card holds no more.
        warn_of_domain(volume.name, card, None, volume.voxel_size_A)
        grid, entry = given.entry.volume, given.entry
        found = VolumeStatistics(entry.mean, abs(entry.deviation), math.nan, math.nan)
        return DensityMap(
            volume, volume if not given.resampled else grid, given.contrast, found, entry.mean,
            entry.deviation, content_hash(volume), given,
        )
    # First of all, so that of an unusable volume nothing else is said.
    statistics = volume_statistics(volume)
    contrast = contrast_of(volume, contrast)
    sign = 1 if contrast == card.contrast else -1
    grid = on_the_grid_of(volume, card.voxel_size_A)
    if grid is not volume:
        statistics = volume_statistics(grid)
    if standardise == "own":
        mean, deviation = statistics.mean, statistics.std
    else:
        # A volume of the other contrast is taken for the negative of one of the model's.
        mean, deviation = sign * card.clean_mean, card.clean_deviation
        _warn_of_other_units(volume.name, statistics, mean, deviation)
    return DensityMap(
        volume, grid, contrast, statistics, mean, sign * deviation, content_hash(volume)
    )


def _warn_of_other_units(
    name: str, found: VolumeStatistics, mean: float, deviation: float
) -> None:
    ratio = found.std / deviation
    away = abs(found.mean - mean) / deviation
    if 1 / OTHER_UNITS <= ratio <= OTHER_UNITS and away <= OTHER_UNITS:
        return
    logger.warning(
        "%s: mean %.4g and deviation %.4g are far from the %.4g and %.4g of the grand models the "
        "model was trained on; if its density has other units use --standardise own",
        name,
        found.mean,
        found.std,
        mean,
        deviation,
    )
