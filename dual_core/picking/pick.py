"""Template-free particle picking: maxima of a Difference of Gaussians (paper, Methods).

Sigma and diameter
------------------
A ball of radius r answers the Laplacian of a Gaussian, which the difference of two Gaussians
approximates, most strongly for sigma = r / sqrt(3) in three dimensions. So a particle of diameter D
is picked with sigma = D / (2 sqrt(3)), D in voxels. The paper picks ribosomes of 28 nm in voxels
of 1 nm: 8.1 by this formula, and 8.0 is what it used.
"""

from __future__ import annotations

import logging
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import List, Optional, Tuple

import numpy as np
from scipy.spatial import cKDTree

from dual_core.errors import DualError
from dual_core.picking.difference_of_gaussians import BOUNDARIES, DifferenceOfGaussians
from dual_core.picking.scan import Report, Scan
from dual_core.volumes.described.describe import Described, describe
from dual_core.volumes.reading import ReadableVolume

logger = logging.getLogger(__name__)

DEFAULT_THRESHOLD = 4.0
# The paper's 24 nm for ribosomes of 28 nm.
MIN_DISTANCE_PER_DIAMETER = 24 / 28
# Below it a sampled Gaussian is no Gaussian any more.
SMALLEST_SIGMA = 0.5


@dataclass(frozen=True)
class PickOptions:
    """How to pick.

    Attributes
    ----------
    diameter_A : float, optional
        Of the particle; needed unless ``sigma`` is given.
    sigma : float, optional
        Of the narrower Gaussian in voxels; by default from the diameter.
    factor : float
        The wider Gaussian has ``factor * sigma``.
    min_distance_A : float, optional
        Between two picks; by default 24/28 of the diameter.
    number : int, optional
        The best so many.
    threshold : float, optional
        Lowest score in robust deviations of the filtered volume; by default
        ``DEFAULT_THRESHOLD`` where no number is given.
    contrast : {"auto", "dark", "bright"}
    border_A : float
        No picks this near to a face of the volume.
    boundary : {"mean", "mirror"}
        What is assumed outside the volume: see `dual_core.picking.difference_of_gaussians`.
    """

    diameter_A: Optional[float] = None
    sigma: Optional[float] = None
    factor: float = 1.1
    min_distance_A: Optional[float] = None
    number: Optional[int] = None
    threshold: Optional[float] = None
    contrast: str = "auto"
    border_A: float = 0.0
    boundary: str = "mean"

    def in_voxels(self, voxel_size_A: float) -> Tuple[float, float, float]:
        """Sigma, least distance and border in voxels.

        Raises
        ------
        DualError
            Values that make no sense.
        """
        if self.sigma is None and self.diameter_A is None:
            raise DualError("no size of the particle; give --diameter A or --sigma VOXELS")
        if self.factor <= 1:
            raise DualError(f"factor {self.factor:g}: give a number above 1, such as 1.1")
        if self.boundary not in BOUNDARIES:
            raise DualError(f"boundary '{self.boundary}': give one of {', '.join(BOUNDARIES)}")
        sigma = self.sigma or sigma_of_diameter(self.diameter_A or 0.0, voxel_size_A)
        if sigma < SMALLEST_SIGMA:
            raise DualError(
                f"sigma is {sigma:.2g} voxels of {voxel_size_A:g} A, less than {SMALLEST_SIGMA}; "
                "give the diameter in angstrom, or pick on a volume with smaller voxels"
            )
        diameter = self.diameter_A or sigma * 2 * math.sqrt(3) * voxel_size_A
        distance = self.min_distance_A
        if distance is None:
            distance = MIN_DISTANCE_PER_DIAMETER * diameter
        return sigma, distance / voxel_size_A, self.border_A / voxel_size_A


@dataclass(frozen=True)
class PickResult:
    """What was picked, the best first.

    Attributes
    ----------
    positions : ndarray of int, (n, 3)
        ``(z, y, x)`` in voxels, counted from 0.
    values : ndarray of float, (n,)
        Difference of Gaussians there, in grey values; density counts as positive.
    scores : ndarray of float, (n,)
        The same in robust deviations from the median of the filtered volume.
    contrast : str
        The one that was picked in.
    sigma, min_distance : float
        Voxels.
    maxima : int
        Local maxima before the least distance was imposed.
    """

    positions: np.ndarray
    values: np.ndarray
    scores: np.ndarray
    contrast: str
    sigma: float
    min_distance: float
    maxima: int


def sigma_of_diameter(diameter_A: float, voxel_size_A: float) -> float:
    """Sigma in voxels of the narrower Gaussian for a particle; see the top of this module."""
    return diameter_A / (2 * math.sqrt(3)) / voxel_size_A


def pick_particles(
    volume: ReadableVolume,
    options: PickOptions,
    mask: Optional[ReadableVolume] = None,
    report: Optional[Report] = None,
    threads: Optional[int] = None,
    block: Optional[int] = None,
) -> PickResult:
    """Pick particles in a volume ``(z, y, x)`` of any size, in bounded memory; none in padding.

    The local maxima of the Difference of Gaussians are taken from the highest down, each unless
    a better one is nearer than the least distance. Equal values are taken in the order of z, y, x.

    Parameters
    ----------
    volume : ReadableVolume
    options : PickOptions
    mask : ReadableVolume, optional
        Of the same shape; picks lie where it is above 0.5.
    report : callable, optional
        ``report(done, total)`` in planes.
    threads : int, optional
        By default ``OMP_NUM_THREADS`` or the number of processors.
    block : int, optional
        Planes filtered at a time; the result does not depend on it.

    Raises
    ------
    DualError
        Options that make no sense, a mask of another shape, NaN, nothing in the volume.
    """
    sigma, min_distance, border = options.in_voxels(volume.voxel_size_A)
    if mask is not None and tuple(mask.shape) != tuple(volume.shape):
        raise DualError(
            f"{mask.name} has shape {tuple(mask.shape)}, {volume.name} {tuple(volume.shape)} "
            "(z, y, x); give a mask of the tomogram's shape"
        )
    if any(2 * border >= length for length in volume.shape):
        raise DualError(
            f"{volume.name}: a border of {options.border_A:g} A leaves nothing of "
            f"{tuple(volume.shape)} voxels; give a smaller --border"
        )
    if sigma > max(volume.shape):
        raise DualError(
            f"{volume.name}: a particle of sigma {sigma:.4g} voxels is larger than the volume; "
            "give a smaller --diameter, or check the voxel size"
        )
    described = describe(volume)
    contrast = _contrast(described, options.contrast)
    threads = threads or _threads()
    sign = -1 if contrast == "dark" else 1
    # A padding with its mean instead of its value has no edge that could pass for a particle.
    filtered = DifferenceOfGaussians(
        described.filled, sigma, options.factor, sign, options.boundary, block
    )
    scan = Scan(volume, mask, border, described.blank)
    with ThreadPoolExecutor(threads) as executor:
        scan.run(filtered.planes(executor, threads), executor, threads, report)
    positions, values, median, deviation = scan.result()
    scores = (values - median) / deviation
    threshold = options.threshold
    if threshold is None:
        threshold = DEFAULT_THRESHOLD if options.number is None else -math.inf
    wanted = scores >= threshold
    order = np.flatnonzero(wanted)[np.argsort(-values[wanted], kind="stable")]
    chosen = order[keep_apart(positions[order], min_distance, options.number)]
    if options.number is not None and chosen.size < options.number:
        logger.warning(
            "%s: only %d picks where %d were asked for; there are no more peaks at this distance",
            volume.name, chosen.size, options.number,
        )
    return PickResult(
        positions=positions[chosen],
        values=values[chosen],
        scores=scores[chosen],
        contrast=contrast,
        sigma=sigma,
        min_distance=min_distance,
        maxima=int(values.size),
    )


def keep_apart(
    positions: np.ndarray, distance: float, number: Optional[int] = None
) -> np.ndarray:
    """Leave out positions that are nearer than ``distance`` to an earlier one that is kept.

    Parameters
    ----------
    positions : ndarray, (n, 3)
        The best first.
    distance : float
        Two that are exactly so far apart are both kept.
    number : int, optional
        Stop at so many.

    Returns
    -------
    ndarray of int
        Indices of those kept, in their order.
    """
    if len(positions) == 0:
        return np.zeros(0, dtype=np.intp)
    tree = cKDTree(positions)
    radius = distance * (1 - 1e-9)
    left = np.ones(len(positions), dtype=bool)
    kept: List[int] = []
    for index in range(len(positions)):
        if number is not None and len(kept) >= number:
            break
        if left[index]:
            kept.append(index)
            left[tree.query_ball_point(positions[index], radius)] = False
    return np.array(kept, dtype=np.intp)


def _contrast(described: Described, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    volume = described.volume
    verdict = described.contrast
    logger.info(
        "%s: density is %s (skewness %.2f)", volume.name, verdict.contrast, verdict.skewness
    )
    if not verdict.confident:
        logger.warning(
            "%s: the contrast is hard to tell; check it and give --contrast", volume.name
        )
    return str(verdict.contrast)


def _threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
