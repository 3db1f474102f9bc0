"""MRC density maps to molecules: thresholded, resampled, mass-normalised."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Optional, Tuple

import numpy as np
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.grand_models.molecules.density import PROTEIN_DENSITY, resolution_sigma_A
from dual_core.safety.limits import GREY, MOST_MOLECULE, VOXEL_SIZE_A, check_voxels, within
from dual_core.volumes.reading import ArrayVolume, open_volume
from dual_core.volumes.resampling import ResampledVolume

logger = logging.getLogger(__name__)

MAP_SUFFIXES = (".mrc", ".map", ".ccp4", ".rec")

# Pieces smaller than this part of the largest one are noise around the molecule.
_DUST = 0.05


def _automatic_threshold(values: np.ndarray) -> float:
    """A level above the background noise: 4 robust standard deviations above the median.

    Never under 5 % of the molecule's own level, which is what counts where the background was
    masked to zero.
    """
    background = float(np.median(values))
    noise = 1.4826 * float(np.median(np.abs(values - background)))
    level = float(np.percentile(values, 99.9))
    return max(0.0, background + 4.0 * noise, background + 0.05 * (level - background))


def _without_dust(inside: np.ndarray) -> np.ndarray:
    labels, number = ndimage.label(inside)
    if number <= 1:
        return inside
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= _DUST * sizes.max())[labels])


def estimated_mass_kDa(density: np.ndarray, voxel_size_A: float) -> float:
    """Mass of a map of unknown scale, from the volume inside its half-height surface.

    The half-height surface hardly moves when a map is blurred. Within about 25 % on maps at 10
    to 25 A of molecules of known mass; small and thin ones come out too light.
    """
    level = float(np.percentile(density[density > 0.05 * density.max()], 95.0))
    volume = float(np.count_nonzero(density > 0.5 * level)) * voxel_size_A ** 3
    return volume * PROTEIN_DENSITY / 1000.0


def map_density(path: Path, voxel_size_A: float, resolution_A: float,
                threshold: Optional[float] = None, mass_kDa: Optional[float] = None,
                map_voxel_size_A: Optional[float] = None) -> Tuple[np.ndarray, float, str]:
    """Density of an MRC map on another grid and on the common scale.

    Parameters
    ----------
    path : pathlib.Path
        Density bright, on any scale.
    voxel_size_A : float
        Spacing of the result.
    resolution_A : float
        The map is low-passed where it is better than this; it is taken to reach its own
        Nyquist frequency.
    threshold : float, optional
        Voxels of the map at or below are background; ``None`` for an automatic one.
    mass_kDa : float, optional
        ``None`` for an estimate from the map's volume.
    map_voxel_size_A : float, optional
        Used instead of what the map's header says.

    Returns
    -------
    density : numpy.ndarray
        ``(z, y, x)`` float64, Da/A3, sum x voxel volume = mass.
    mass_kDa : float
    note : str
        The threshold and where the mass is from.

    Raises
    ------
    DualError
        If the map cannot be read, has no voxel size, is dark or has nothing over the threshold.
    """
    volume = open_volume(path, map_voxel_size_A, require_voxel_size=False)
    spacing = volume.facts.header_voxel_size_A if map_voxel_size_A is None else (
        (map_voxel_size_A,) * 3)
    if min(spacing) <= 0.0 or max(spacing) > 1.01 * min(spacing):
        said = " x ".join(f"{size:g}" for size in spacing)
        raise DualError(f"{path}: its header has no usable voxel size (x, y, z: {said} A); give "
                        "voxel_size_A for it in a YAML list of molecules, or correct the header")
    if map_voxel_size_A is None:
        if math.isclose(spacing[0], 1.0, abs_tol=1e-5):
            logger.warning(
                "%s: the header says 1.0 A, which often means 'never set'; if it is wrong give "
                "voxel_size_A for it in a YAML list of molecules", path,
            )
        within(spacing[0], VOXEL_SIZE_A, f"{path}: the voxel size in the header")
    values = volume.load().astype(np.float64)
    if not np.all(np.isfinite(values)):
        raise DualError(f"{path}: the map has NaN or infinite values; export it again")
    for end in (values.min(), values.max()):
        within(float(end), GREY, f"{path}: a value of the map", "export it again, or scale it")
    values_mean = values.mean()
    if float(np.mean((values - values_mean) ** 3)) < 0.0:
        raise DualError(f"{path}: density is dark in this map; invert it (multiply by -1)")
    level = _automatic_threshold(values) if threshold is None else float(threshold)
    inside = _without_dust(values > level)
    if not inside.any():
        raise DualError(f"{path}: no density over the threshold {level:g}; the map's values go "
                        f"from {values.min():g} to {values.max():g}, give another threshold")
    density = _resampled(np.where(inside, values, 0.0), volume.voxel_size_A, voxel_size_A,
                         resolution_A)
    if not density.any():
        raise DualError(f"{path}: nothing of its density is left on voxels of {voxel_size_A:g} A; "
                        "check the map's voxel size, or give another threshold")
    if mass_kDa is None:
        mass_kDa = estimated_mass_kDa(density, voxel_size_A)
        origin = "estimated from its volume"
    else:
        origin = "given"
    density *= mass_kDa * 1000.0 / (float(density.sum()) * voxel_size_A ** 3)
    return density, mass_kDa, f"threshold {level:.4g}, mass {origin}"


def _resampled(values: np.ndarray, map_voxel_size_A: float, voxel_size_A: float,
               resolution_A: float) -> np.ndarray:
    sigma_wanted = resolution_sigma_A(resolution_A)
    sigma_there = resolution_sigma_A(2.0 * map_voxel_size_A)
    sigma_A = np.sqrt(max(0.0, sigma_wanted ** 2 - sigma_there ** 2))
    # Room for the blur and for the kernel of the resampling.
    room = 4.0 * sigma_A / map_voxel_size_A + 4
    for spacing in (map_voxel_size_A, voxel_size_A):
        sides = [(side + 2 * room) * map_voxel_size_A / spacing for side in values.shape]
        check_voxels(sides, f"a molecule's map at voxels of {spacing:g} A",
                     "check the map's voxel size, or give a --voxel-size nearer to it",
                     most=MOST_MOLECULE)
    pad = int(np.ceil(room))
    values = np.pad(values, pad)
    values = ndimage.gaussian_filter(values, sigma_A / map_voxel_size_A, mode="constant")
    volume = ArrayVolume(values, map_voxel_size_A)
    resampled = ResampledVolume(volume, voxel_size_A).load().astype(np.float64)
    return np.asarray(np.clip(resampled, 0.0, None))
