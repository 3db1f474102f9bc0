"""What every task asks of a volume that it is given: its contrast, its voxel size."""

from __future__ import annotations

import contextlib
import functools
import logging
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.safety.leftovers import temporary_name
from dual_core.volumes.contrast import detect_contrast
from dual_core.volumes.described.describe import Described, describe
from dual_core.volumes.patches import StandardisedVolume
from dual_core.volumes.reading import ReadableVolume, Triple, Volume, warn_of_orientation
from dual_core.volumes.resampling import ResampledVolume, same_voxel_size
from dual_core.volumes.views import ExchangedVolume

logger = logging.getLogger(__name__)

FOREIGN_VOXEL_SIZE = 0.2


class GivenTomogram:
    """A tomogram as a network is to see it: described, turned, on the model's voxel size.

    Blank regions and extreme values do not set the scale; the network sees the mean where it is
    blank and nothing beyond `dual_core.volumes.described.describe.SEEN` deviations.

    Attributes
    ----------
    volume : Volume
        As in the file.
    described : Described
        The same, where it is blank, and its robust mean and deviation.
    contrast : str
        ``dark`` or ``bright``.
    sign : 1 or -1
        Whether it is turned.
    entry : StandardisedVolume
        On the model's voxel size, with the tilt axis y; ``read`` gives what the network sees.
    """

    def __init__(
        self, volume: Volume, card: Any, contrast: str, tilt_axis: str = "y"
    ) -> None:
        # First of all, so that of an unusable volume nothing else is said.
        self.described = describe(volume)
        self.volume = volume
        self.contrast = contrast_of(volume, contrast, self.described)
        self.sign = 1 if self.contrast == card.contrast else -1
        self._voxel_size_A = card.working_voxel_size_A(volume.voxel_size_A)
        self._tilt_axis = tilt_axis

    @functools.cached_property
    def entry(self) -> StandardisedVolume:
        """Made when it is first asked for: to find its mean and deviation takes a while."""
        on_the_grid_of(self.volume, self._voxel_size_A, warn=False)  # says so where it is another
        entry = self.described.on_grid(self._voxel_size_A).standardised(self.sign)
        return entry.exchanged((1, 2)) if self._tilt_axis == "x" else entry

    @property
    def resampled(self) -> bool:
        """Whether the model's voxel size is not that of the tomogram."""
        return not same_voxel_size(self.volume.voxel_size_A, self._voxel_size_A)

    @property
    def shape(self) -> Triple:
        """``(z, y, x)`` on the model's voxel size."""
        return self.entry.volume.shape

    @property
    def voxel_size_A(self) -> float:
        """Of `entry`."""
        return self.entry.volume.voxel_size_A

    def back(self, volume: ReadableVolume) -> ReadableVolume:
        """A volume on the grid of `entry` as one on the grid of the file, tilt axis included."""
        if self._tilt_axis == "x":
            volume = ExchangedVolume(volume, (1, 2))
        if self.resampled:
            volume = ResampledVolume(volume, self.volume.voxel_size_A, self.volume.shape)
        return volume

    def content(self, start: Triple, *blocks: np.ndarray) -> Tuple[np.ndarray, ...]:
        """Of blocks ``(z, y, x)`` at `start` of `entry` the voxels that are not blank."""
        if self.entry.mask is None:
            return blocks
        z, y, x = blocks[0].shape
        kept = ~self.entry.mask.read(start, (z, y, x))
        return tuple(block[kept][np.newaxis] for block in blocks)


def contrast_of(volume: Volume, wanted: str, described: Optional[Described] = None) -> str:
    """``dark`` or ``bright``: as given or, for ``auto``, as detected; said in the log.

    Of a described volume the blank parts are left out, and hot voxels have no say. As every task
    asks this of a tomogram first, it also warns of one that lies wrongly.
    """
    warn_of_orientation(volume)
    if wanted != "auto":
        logger.info("%s: density is %s (as given)", volume.name, wanted)
        return wanted
    verdict = detect_contrast(volume) if described is None else described.contrast
    logger.info(
        "%s: density is %s (detected, skewness %.2f)",
        volume.name,
        verdict.contrast,
        verdict.skewness,
    )
    if not verdict.confident:
        logger.warning(
            "%s: the contrast is hard to tell; check it and give --contrast", volume.name
        )
    return str(verdict.contrast)


def on_the_grid_of(
    volume: ReadableVolume, voxel_size_A: float, warn: bool = True
) -> ReadableVolume:
    """The volume itself where its voxel size is the model's, else resampled to it.

    `warn` of one that is far away; `dual_core.tasks.domain_check` does so of tomograms.
    """
    if same_voxel_size(volume.voxel_size_A, voxel_size_A):
        return volume
    foreign = warn and abs(volume.voxel_size_A / voxel_size_A - 1) > FOREIGN_VOXEL_SIZE
    tell = logger.warning if foreign else logger.info
    tell(
        "%s: voxels of %.3f A are resampled to the model's %.3f A and back%s",
        volume.name,
        volume.voxel_size_A,
        voxel_size_A,
        "; a model trained near this voxel size does better"
        if foreign
        else "",
    )
    return ResampledVolume(volume, voxel_size_A)


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A name for a temporary volume beside `path`, which is removed in the end."""
    temporary = temporary_name(path, ".mrc")
    try:
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def check_choice(what: str, value: str, choices: Tuple[str, ...]) -> None:
    """Raise a DualError unless the value is one of the choices."""
    if value not in choices:
        raise DualError(f"{what} '{value}' is unknown; choose {', '.join(choices)}")
