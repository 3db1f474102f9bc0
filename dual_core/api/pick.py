"""`pick`: particles by a 3D Difference of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from dual_core.api.given import Given, PathLike, as_volume, mask_of
from dual_core.errors import DualError
from dual_core.picking.files import write_picks
from dual_core.picking.pick import PickOptions, pick_particles


@dataclass(frozen=True)
class Picked:
    """Picks, the best first.

    Attributes
    ----------
    positions : ndarray of int ``(n, 3)``, ``(z, y, x)`` in voxels, counted from 0.
    scores : ndarray ``(n,)``: the Difference of Gaussians there, in robust deviations.
    values : ndarray ``(n,)``: the same in grey values; density counts as positive.
    voxel_size_A : of the tomogram, in angstrom.
    contrast : ``dark`` or ``bright``: the density that was picked.
    sigma, min_distance : of the narrower Gaussian, and between two picks, in voxels.
    maxima : local maxima before the least distance was imposed.
    path, star : the lists that were written (CSV, and STAR for RELION), or None.
    """

    positions: np.ndarray
    scores: np.ndarray
    values: np.ndarray
    voxel_size_A: float
    contrast: str
    sigma: float
    min_distance: float
    maxima: int
    path: Optional[Path]
    star: Optional[Path]


def pick(
    tomogram: Given,
    *,
    diameter_A: Optional[float] = None,
    voxel_size_A: Optional[float] = None,
    output: Optional[PathLike] = None,
    number: Optional[int] = None,
    threshold: Optional[float] = None,
    sigma: Optional[float] = None,
    factor: float = 1.1,
    min_distance_A: Optional[float] = None,
    border_A: float = 0.0,
    mask: Optional[Given] = None,
    boundary: str = "mean",
    contrast: str = "auto",
    progress: Optional[Callable[[int, int], None]] = None,
) -> Picked:
    """Pick particles, as ``dual pick`` does (Difference of Gaussians; Methods of the paper).

    Parameters
    ----------
    tomogram : path of an MRC file, or ndarray ``(z, y, x)``; best a denoised one.
    diameter_A : of the particle in angstrom; needed unless `sigma` is given.
    voxel_size_A : in angstrom; needed for an array, else instead of the header's.
    output : CSV file to write; a STAR file is written beside it.
    number : the best so many.
    threshold : lowest score, in robust deviations; 4 where no number is given.
    sigma : of the narrower Gaussian in voxels; by default from the diameter.
    factor : the wider Gaussian is so many times the narrower.
    min_distance_A : between two picks; by default 24/28 of the diameter.
    border_A : no picks this near to a face of the tomogram.
    mask : path or ndarray ``(z, y, x)``; picks lie where it is above 0.5.
    boundary : ``mean`` or ``mirror``: what is assumed outside the tomogram.
    contrast : ``auto``, ``dark`` or ``bright``: density in the tomogram.
    progress : called with (planes done, all planes).

    Raises
    ------
    DualError
        No size of the particle, a mask of another shape; else as `dual_core.denoise`.
    """
    options = PickOptions(
        diameter_A, sigma, factor, min_distance_A, number, threshold, contrast, border_A, boundary
    )
    if output is not None and Path(output).suffix != ".csv":
        raise DualError(f"{output}: give a name that ends in .csv; the STAR file lies beside it")
    volume = as_volume(tomogram, voxel_size_A, "tomogram")
    found = pick_particles(volume, options, mask_of(mask), progress)
    path = None if output is None else Path(output)
    star = None if path is None else write_picks(path, volume, found)
    return Picked(
        found.positions, found.scores, found.values, volume.voxel_size_A, found.contrast,
        found.sigma, found.min_distance, found.maxima, path, star,
    )
