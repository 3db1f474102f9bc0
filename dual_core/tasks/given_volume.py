"""What every task asks of a volume that it is given: its contrast, its voxel size."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Iterator, Tuple

from dual_core.errors import DualError
from dual_core.safety.leftovers import temporary_name
from dual_core.volumes.contrast import detect_contrast
from dual_core.volumes.reading import ReadableVolume, Volume, warn_of_orientation
from dual_core.volumes.resampling import ResampledVolume, same_voxel_size

logger = logging.getLogger(__name__)

FOREIGN_VOXEL_SIZE = 0.2


def contrast_of(volume: Volume, wanted: str) -> str:
    """``dark`` or ``bright``: as given or, for ``auto``, as detected; said in the log.

    As every task asks this of a tomogram first, it also warns of one that lies wrongly.
    """
    warn_of_orientation(volume)
    if wanted != "auto":
        logger.info("%s: density is %s (as given)", volume.name, wanted)
        return wanted
    verdict = detect_contrast(volume)
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


def on_the_grid_of(volume: Volume, voxel_size_A: float) -> ReadableVolume:
    """The volume itself where its voxel size is the model's, else resampled to it."""
    if same_voxel_size(volume.voxel_size_A, voxel_size_A):
        return volume
    foreign = abs(volume.voxel_size_A / voxel_size_A - 1) > FOREIGN_VOXEL_SIZE
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
