"""The groups of volumes that ``dual evaluate realism`` compares: their names and their reading."""

from __future__ import annotations

import argparse
import logging
import os
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Sequence, Tuple

from dual_core.cli.evaluations.against_truth import SAME_VOXEL_SIZE
from dual_core.errors import DualError

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

UNNAMED = "synthetic"


class GreyLevels(NamedTuple):
    """Of integer files, in deviations of the volume: the step, the lowest and the highest."""

    step: float
    low: float
    high: float


def named_groups(items: Sequence[str]) -> Dict[str, List[str]]:
    """Files by the name in front of them (``NAME=PATH``); `UNNAMED` where there is none.

    A file whose own name holds a ``=`` is a file.

    Raises
    ------
    DualError
        For an empty name or path, or the name ``real``.
    """
    groups: Dict[str, List[str]] = {}
    for item in items:
        name, equals, path = item.partition("=")
        if not equals or os.path.exists(item):
            name, path = UNNAMED, item
        if not name or not path:
            raise DualError(f"--synthetic {item}: give NAME=S.mrc or S.mrc")
        if name == "real":
            raise DualError("--synthetic real=...: 'real' are the tomograms of --real; rename it")
        groups.setdefault(name, []).append(path)
    return groups


def load_group(
    paths: Sequence[str],
    args: argparse.Namespace,
    wanted_A: Optional[float] = None,
    levels: Optional[GreyLevels] = None,
) -> Tuple[List[np.ndarray], float, Optional[GreyLevels]]:
    """Standardised volumes with bright density, their voxel size, and the grey levels of the files.

    Parameters
    ----------
    paths : files of the group.
    args : options ``voxel_size``, ``contrast``, ``margin`` and ``seed`` of the command.
    wanted_A : voxel size that all must have, or None for that of the first.
    levels : grey levels that volumes of real numbers are rounded to.

    Raises
    ------
    DualError
        For a volume that cannot be used, named.
    """
    from dual_core.evaluation.truth.metrics import standardise
    from dual_core.volumes.contrast import detect_contrast
    from dual_core.volumes.reading import open_volume, volume_statistics

    found: List[np.ndarray] = []
    own_levels: Optional[GreyLevels] = None
    for path in paths:
        volume = open_volume(path, voxel_size_A=args.voxel_size)
        size = volume.voxel_size_A
        wanted_A = wanted_A or size
        if abs(size / wanted_A - 1) > SAME_VOXEL_SIZE:
            raise DualError(
                f"{path} has voxels of {size:g} A, the first real tomogram of {wanted_A:g} A; "
                "bring them to one size, or give --voxel-size if a header is wrong"
            )
        volume_statistics(volume)  # refuses what is not finite or constant, by name
        contrast = args.contrast
        if contrast == "auto":
            verdict = detect_contrast(volume)
            contrast = verdict.contrast
            if not verdict.confident:
                logger.warning(
                    "%s: density seems %s, but that is not sure; give --contrast", path, contrast
                )
        array = volume.load()
        if contrast == "dark":
            array = -array
        if volume.facts.dtype.kind not in "iu":
            array = as_stored(array, levels)
        elif own_levels is None:
            own_levels = grey_levels(array)
        found.append(standardise(cropped(array, args.margin, path)))
    assert wanted_A is not None  # a group has at least one file
    return found, wanted_A, own_levels


def grey_levels(array: np.ndarray) -> GreyLevels:
    """Those of a volume of whole numbers."""
    mean, deviation = float(array.mean(dtype="f8")), float(array.std(dtype="f8"))
    low, high = float(array.min()), float(array.max())
    return GreyLevels(1 / deviation, (low - mean) / deviation, (high - mean) / deviation)


def as_stored(array: np.ndarray, levels: Optional[GreyLevels]) -> np.ndarray:
    """A volume as it would be in a file of these grey levels; as it is where there are none.

    Rounding is white noise, and a few grey levels fill the missing wedge with it: without this a
    file of real numbers differs from one of integers where the tomograms do not.
    """
    import numpy as np

    from dual_core.evaluation.truth.metrics import standardise

    if levels is None:
        return array
    rounded = np.rint(standardise(array) / levels.step) * levels.step
    return np.clip(rounded, levels.low, levels.high).astype(np.float32)


def cropped(array: np.ndarray, margin: int, path: str) -> np.ndarray:
    """The volume less ``margin`` voxels along every face."""
    if 2 * margin >= min(array.shape):
        raise DualError(f"--margin {margin} leaves nothing of {path}; use a smaller one")
    return array[tuple(slice(margin, side - margin) for side in array.shape)]
