"""Even and odd halves of the tomograms: opened as the tomograms are, to tell the noise's power."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import List, Sequence, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.training.config import TrainingConfig
from dual_core.training.domains import open_files, open_volumes
from dual_core.volumes.interface import Triple
from dual_core.volumes.patches import StandardisedVolume

MIDDLE = (64, 128, 128)  # voxels in the middle that tell whether two halves are one file
LEAST_NOISE = 1e-3  # of the halves' power in their difference


def match_halves(
    noisy: Sequence[Path], even: Sequence[str], odd: Sequence[str]
) -> List[Tuple[Path, Path]]:
    """The (even, odd) files of each tomogram, from as many names or from one pattern each.

    Raises
    ------
    DualError
        Where the numbers differ, only one kind is given, or a file is missing.
    """
    if not even and not odd:
        return []
    found = []
    for option, names in (("--even", even), ("--odd", odd)):
        if len(names) == 1 and "{" in names[0]:
            files = [_filled(names[0], path, option) for path in noisy]
        else:
            files = [Path(name) for name in names]
        if len(files) != len(noisy):
            raise DualError(
                f"{option} names {len(files)} halves of {len(noisy)} tomograms; give one for each, "
                "in the same order"
            )
        for file in files:
            if not file.is_file():
                raise DualError(f"{option}: there is no file {file}; check name and pattern")
        found.append(files)
    return list(zip(*found))


def _filled(pattern: str, tomogram: Path, option: str) -> Path:
    """A pattern with a tomogram's name; a name without a folder lies beside the tomogram."""
    try:
        name = Path(pattern.format(name=tomogram.stem, folder=tomogram.parent))
    except (LookupError, ValueError) as error:
        raise DualError(f"{option} '{pattern}': only {{name}} and {{folder}} are known") from error
    return name if name.parent != Path() else tomogram.parent / name


def open_halves(
    halves: Sequence[Tuple[Path, Path]],
    config: TrainingConfig,
    voxel_size_A: float,
    sign: float,
) -> List[Tuple[StandardisedVolume, StandardisedVolume]]:
    """Both halves of each tomogram, in units of their mean's deviation.

    Parameters
    ----------
    halves : (even, odd) files.
    config : for tilt axis and voxel size, as for the tomograms.
    voxel_size_A : that the halves are brought to.
    sign : -1 where the tomograms are turned to the other contrast.

    Raises
    ------
    DualError
        For halves of different shapes, and for two files that are one tomogram.
    """
    found = []
    for pair in halves:
        volumes = open_volumes(pair, config.noisy_voxel_size_A)
        files = open_files(volumes, voxel_size_A, config.tilt_axis)
        even, odd = files.standardised(each=True, sign=sign)
        if even.volume.shape != odd.volume.shape:
            raise DualError(
                f"{pair[0]} and {pair[1]} differ in shape; give the two halves of one tomogram"
            )
        start, size = _middle(even.volume.shape)
        one, other = even.volume.read(start, size), odd.volume.read(start, size)
        if np.var(one - other) < LEAST_NOISE * np.var(one + other):
            raise DualError(
                f"{pair[0]} and {pair[1]} hardly differ; give the even and the odd half, which "
                "have noise of their own"
            )
        # The mean of both is what a tomogram is: its deviation is the unit, whatever the halves'.
        scale = float(np.std((one + other) / 2)) / float(np.std(one))
        deviation = even.deviation * scale
        found.append((
            dataclasses.replace(even, deviation=deviation),
            dataclasses.replace(odd, deviation=deviation),
        ))
    return found


def _middle(shape: Triple) -> Tuple[Triple, Triple]:
    """Start and size of a part in the middle."""
    size = [min(length, most) for length, most in zip(shape, MIDDLE)]
    start = [(length - side) // 2 for length, side in zip(shape, size)]
    return (start[0], start[1], start[2]), (size[0], size[1], size[2])
