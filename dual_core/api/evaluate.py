"""`evaluate` and `evaluate_picks`: scores against a truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple, Union

import numpy as np

from dual_core.api.given import Given, PathLike, as_volume, mask_of
from dual_core.errors import DualError
from dual_core.evaluation.picks import PickScores, score_picks
from dual_core.evaluation.truth.metrics import FscCurve, pearson, score_volume
from dual_core.particles import read_particles

SAME_VOXEL_SIZE = 0.01


@dataclass(frozen=True)
class Scores:
    """Scores of a volume against the truth, both standardised.

    Attributes
    ----------
    contrast : ``dark`` or ``bright``: density in the volume, as given or by the truth.
    psnr_db : peak signal-to-noise ratio in decibel (equation 10 of the paper).
    ssim : structural similarity, -1 to 1 (equation 11).
    cc : Pearson correlation of the voxels, -1 to 1.
    cc_measured, cc_wedge : correlation of the Fourier coefficients that the tilt range measures,
        and of those in the missing wedge; NaN where there are none.
    data_range : peak value of PSNR and SSIM, in deviations of the truth.
    fsc : Fourier shell correlation; ``fsc.resolution_A(0.5)`` is where it falls below 0.5.
    voxel_size_A : in angstrom.
    """

    contrast: str
    psnr_db: float
    ssim: float
    cc: float
    cc_measured: float
    cc_wedge: float
    data_range: float
    fsc: FscCurve
    voxel_size_A: float


def evaluate(
    volume: Given,
    truth: Given,
    *,
    voxel_size_A: Optional[float] = None,
    contrast: str = "auto",
    margin: int = 0,
    mask: Optional[Given] = None,
    data_range: Optional[float] = None,
    tilt_range: Tuple[float, float] = (-60.0, 60.0),
    tilt_axis: str = "y",
) -> Scores:
    """Score a volume against a truth, as ``dual evaluate volumes`` does.

    Parameters
    ----------
    volume, truth : paths of MRC files, or ndarrays ``(z, y, x)`` of one shape; density is bright
        in the truth.
    voxel_size_A : in angstrom; needed for arrays, else instead of the headers'.
    contrast : ``dark``, ``bright`` or ``auto``: the one that correlates with the truth.
    margin : voxels left out along every face.
    mask : path or ndarray ``(z, y, x)`` of 0 to 1; best with a soft edge.
    data_range : peak for PSNR and SSIM in deviations of the truth; by default its max - min.
    tilt_range, tilt_axis : of the tomogram, in degrees, and ``y`` or ``x``.

    Raises
    ------
    DualError
        Volumes of different shapes or voxel sizes, a constant volume, NaN.
    """
    if contrast not in ("auto", "dark", "bright"):
        raise DualError(f"contrast '{contrast}' is unknown; choose auto, dark or bright")
    if tilt_range[0] >= tilt_range[1]:
        raise DualError("tilt_range needs the smaller angle first, for example (-60, 60)")
    one = as_volume(volume, voxel_size_A, "volume")
    other = as_volume(truth, voxel_size_A, "truth")
    size = other.voxel_size_A
    if abs(one.voxel_size_A / size - 1) > SAME_VOXEL_SIZE:
        raise DualError(
            f"{one.name} has voxels of {one.voxel_size_A:g} A, its truth of {size:g} A; give "
            "voxel_size_A if a header is wrong"
        )
    if tuple(one.shape) != tuple(other.shape):
        raise DualError(f"{one.name} has shape {one.shape}, its truth {other.shape} (z, y, x)")
    found, known, within = one.load(), other.load(), mask_of(mask)
    if contrast == "auto":
        contrast = "dark" if pearson(found, known) < 0 else "bright"
    scores = score_volume(
        found if contrast == "bright" else -found, known, size, data_range, margin,
        None if within is None else within.load(), tilt_range, tilt_axis,
    )
    return Scores(
        contrast, scores.psnr_db, scores.ssim, scores.cc, scores.cc_measured, scores.cc_wedge,
        scores.data_range, scores.fsc, size,
    )


def evaluate_picks(
    picks: Union[PathLike, np.ndarray],
    truth: Union[PathLike, np.ndarray],
    *,
    tolerance_A: float,
    voxel_size_A: Optional[float] = None,
    only_class: Optional[str] = None,
    counting: str = "one-to-one",
) -> PickScores:
    """Precision, recall and F1 of picks against known particles (``dual evaluate picks``).

    Parameters
    ----------
    picks, truth : paths of CSV or STAR files, or ndarrays ``(n, 3)`` of positions ``(z, y, x)`` in
        voxels from 0, such as ``positions`` of `dual_core.pick` and `dual_core.pack`.
    tolerance_A : largest distance of a pick from its particle, in angstrom.
    voxel_size_A : of arrays, and of lists that have positions in voxels only.
    only_class : particles of this class only (number or name, in a list of particles).
    counting : ``one-to-one``, or ``overlap`` as the paper counts.

    Raises
    ------
    DualError
        A list that cannot be read, arrays without a voxel size or not ``(n, 3)``, no particles.
    """
    known = _positions_A(truth, voxel_size_A, only_class, "truth")
    if len(known) == 0:
        raise DualError("the truth holds no particles; nothing can be compared")
    found = _positions_A(picks, voxel_size_A, None, "picks")
    return score_picks(known, found, tolerance_A, counting)


def _positions_A(
    given: Union[PathLike, np.ndarray], size: Optional[float], only: Optional[str], what: str
) -> np.ndarray:
    if not isinstance(given, np.ndarray):
        listed = read_particles(Path(given))
        return (listed if only is None else listed.of_class(only)).positions_A(size)
    if given.ndim != 2 or given.shape[1] != 3:
        raise DualError(f"{what}: an array of shape {given.shape}; give (n, 3), z y x in voxels")
    if only is not None:
        raise DualError("only_class is for a list of particles in a file; select from the array")
    if size is None:
        raise DualError(f"{what}: positions in voxels and no voxel size; give voxel_size_A")
    return given * float(size)
