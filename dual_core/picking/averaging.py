"""Average of what lies at picks, without alignment: do the picks sit on particles?

Particles lie in all orientations, so their average without alignment is round: a ball of the
particle's size, high where the picks are right, and smeared where they are off centre. It is a
check and not a structure. Picks in pure noise show a ball as well, since maxima were picked, but
a low one: compare the height with that of picks that are known to be right.

Arrays are ``(z, y, x)``. A box of ``n`` voxels has its centre at voxel ``n // 2``, as in RELION
and EMAN2.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Iterable, Optional, Tuple, Union

import numpy as np

from dual_core.errors import DualError
from dual_core.figures import COLOURS, PLANES, central_slice, contrast_limits
from dual_core.tiles.plan import as_triple
from dual_core.volumes.described.describe import Described, describe
from dual_core.volumes.reading import ReadableVolume

logger = logging.getLogger(__name__)

SMALLEST_BOX = 4
NEAREST = 0.25  # of the box: a pick that is nearer to a face has no whole particle around it


@dataclass(frozen=True)
class Average:
    """The average of boxes around picks.

    Attributes
    ----------
    volume : ndarray, (box, box, box), float32
        In deviations of the tomograms, density bright.
    counts : ndarray, of that shape
        Particles at each voxel: a box that leaves its tomogram counts with the part inside.
    used, left_out : int
        Picks that went in, and those too near to a face.
    """

    volume: np.ndarray
    counts: np.ndarray
    used: int
    left_out: int


@dataclass(frozen=True)
class BallFit:
    """The ball, of one value inside and another outside, that fits a volume best.

    Attributes
    ----------
    radius_A : float
    height : float
        Mean inside minus mean outside.
    noise : float
        Standard deviation outside.
    explained : float
        Part of the volume's variance that the ball explains, 0 to 1.
    """

    radius_A: float
    height: float
    noise: float
    explained: float

    def as_dict(self) -> Dict[str, float]:
        """All of it by name."""
        return asdict(self)


def average_particles(
    picked: Iterable[Tuple[ReadableVolume, np.ndarray]], box: int, contrast: str = "auto"
) -> Average:
    """Average boxes around picks; every particle counts the same, where it was seen.

    Parameters
    ----------
    picked : tomograms with their picks, taken one by one
        Picks are ``(n, 3)``, voxels ``(z, y, x)``, 0 at the centre of the first; rounded.
    box : int
        Side in voxels.
    contrast : {"auto", "dark", "bright"}
        Of the tomograms.

    Raises
    ------
    DualError
        A box that is too small, no pick far enough from the faces of its tomogram, NaN.
    """
    if box < SMALLEST_BOX:
        raise DualError(f"a box of {box} voxels is too small; give at least {SMALLEST_BOX}")
    total, counts = np.zeros((box, box, box)), np.zeros((box, box, box), dtype=np.int64)
    used = left_out = 0
    nearest = int(NEAREST * box)
    for volume, positions in picked:
        centres = np.rint(np.asarray(positions).reshape(-1, 3)).astype(np.intp)
        sides = np.array(volume.shape)
        inside = (centres >= nearest).all(axis=1) & (centres < sides - nearest).all(axis=1)
        left_out += int((~inside).sum())
        if not inside.any():
            continue
        described = describe(volume)
        statistics = described.statistics
        sign = -1 if _contrast(described, contrast) == "dark" else 1
        for start in centres[inside] - box // 2:
            first, last = np.maximum(start, 0), np.minimum(start + box, sides)
            cut = volume.read(as_triple(first), as_triple(last - first))
            part = tuple(slice(a, b) for a, b in zip(first - start, last - start))
            total[part] += sign * (cut - statistics.mean) / statistics.std
            counts[part] += 1
        used += int(inside.sum())
    if used == 0:
        raise DualError(
            f"no pick is {nearest} voxels from the faces of its tomogram, a quarter of the box of "
            f"{box} ({left_out} picks); give a smaller box, or the picks that belong to the "
            "tomograms"
        )
    return Average((total / np.maximum(counts, 1)).astype(np.float32), counts, used, left_out)


def radial_profile(
    volume: np.ndarray, voxel_size_A: float, counts: Optional[np.ndarray] = None
) -> Tuple[np.ndarray, np.ndarray]:
    """Mean over shells of one voxel around the centre, as far as they are whole.

    Parameters
    ----------
    volume : ndarray, (n, n, n)
    voxel_size_A : float
    counts : ndarray, (n, n, n), optional
        How often each voxel counts; once by default.

    Returns
    -------
    radius_A, mean : ndarray
    """
    shell = np.rint(_distances(volume.shape[0])).astype(np.intp).ravel()
    weights = np.ones(volume.size) if counts is None else counts.ravel()
    total = np.bincount(shell, weights * volume.ravel())
    number = np.bincount(shell, weights)
    whole = (volume.shape[0] - 1) // 2 + 1
    return np.arange(whole) * voxel_size_A, (total / np.maximum(number, 1))[:whole]


def fit_ball(
    volume: np.ndarray, voxel_size_A: float, counts: Optional[np.ndarray] = None
) -> BallFit:
    """Fit a centred ball by least squares, within the largest ball that the box holds.

    Parameters
    ----------
    volume : ndarray, (n, n, n)
        Density bright.
    voxel_size_A : float
    counts : ndarray, (n, n, n), optional
        How often each voxel counts; once by default.
    """
    distances = _distances(volume.shape[0])
    inner = distances <= (volume.shape[0] - 1) // 2
    if counts is not None:
        inner &= counts > 0
    radii, inverse = np.unique(distances[inner], return_inverse=True)
    values = volume[inner].astype(np.float64)
    weights = np.ones(values.size) if counts is None else counts[inner] / counts.max()
    number = np.cumsum(np.bincount(inverse, weights))
    total = np.cumsum(np.bincount(inverse, weights * values))
    # Sum of squares between inside and outside, for an edge behind each radius but the last.
    rest = number[-1] - number[:-1]
    heights = total[:-1] / number[:-1] - (total[-1] - total[:-1]) / rest
    between = np.where(heights > 0, number[:-1] * rest / number[-1] * heights**2, 0.0)
    best = int(between.argmax())
    variance = float(np.sum(weights * values**2) - total[-1] ** 2 / number[-1])
    # The ball whose volume is that of its voxels: an edge lies between two radii.
    voxels = np.count_nonzero(distances <= radii[best])
    radius = (3 * voxels / (4 * np.pi)) ** (1 / 3)
    return BallFit(
        radius_A=float(radius * voxel_size_A),
        height=float(heights[best]),
        noise=float(values[inverse > best].std()),
        explained=float(between[best] / variance) if variance > 0 else 0.0,
    )


def _distances(box: int) -> np.ndarray:
    offset = np.arange(box) - box // 2
    z, y, x = np.meshgrid(offset, offset, offset, indexing="ij", sparse=True)
    distances: np.ndarray = np.sqrt(z**2 + y**2 + x**2)
    return distances


def _contrast(described: Described, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    volume = described.volume
    verdict = described.contrast
    if not verdict.confident:
        logger.warning(
            "%s: the contrast is hard to tell; check it and give --contrast", volume.name
        )
    return str(verdict.contrast)


def average_figure(
    average: Average,
    ball: BallFit,
    voxel_size_A: float,
    path: Union[str, Path],
    diameter_A: Optional[float] = None,
) -> Path:
    """Draw the central slices and the radial profile; return the path of the PNG."""
    from dual_core.figures import _draw_scale_bar, _new_figure, _plain, _save

    figure = _new_figure(13.0, 3.4)
    axes = figure.subplots(1, 4, squeeze=False, gridspec_kw={"width_ratios": [1, 1, 1, 1.3]})[0]
    panels, curve = axes[:3], axes[3]
    low, high = contrast_limits(average.volume)
    for panel, (plane, (_, vertical, horizontal)) in zip(panels, PLANES.items()):
        cut = central_slice(average.volume, plane)
        panel.imshow(cut, cmap="gray", vmin=low, vmax=high, origin="lower")
        panel.set(xticks=[], yticks=[], xlabel=horizontal, ylabel=vertical)
        panel.set_title(f"{plane} plane", fontsize=11)
    _draw_scale_bar(panels[0], average.volume.shape, voxel_size_A)
    radius, mean = radial_profile(average.volume, voxel_size_A, average.counts)
    curve.plot(radius, mean, color=COLOURS[0], linewidth=1.8, label="average")
    curve.axvline(
        ball.radius_A, color=COLOURS[1], linestyle="--", label=f"best ball: {ball.radius_A:.0f} Å"
    )
    if diameter_A is not None:
        curve.axvline(
            diameter_A / 2, color=COLOURS[2], linestyle=":", label=f"given: {diameter_A / 2:.0f} Å"
        )
    curve.set_xlabel("Radius (Å)")
    curve.set_ylabel("Density (deviations)")
    curve.set_xlim(0, radius[-1])
    _plain(curve)
    curve.legend(fontsize=8, frameon=False)
    return _save(figure, path, f"{average.used} particles")
