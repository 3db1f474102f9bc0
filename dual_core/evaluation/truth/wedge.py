"""How well a missing wedge was filled: against a truth, or by cutting a second wedge (table 3).

The double-wedge protocol of the paper needs no truth. The wedge of a tomogram is filled; the
coefficients that would be missing with the beam along x are cut out of the result; the same method
fills this second wedge; and what it put there is compared with what was cut. What was cut was
measured, noise and all, so even a perfect prediction of the structure is far from it: two
references say what the numbers are worth. As the method runs twice, they do not tell how good a
single run is.

Volumes are ``(z, y, x)`` with the tilt axis y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Optional, Tuple

import numpy as np
import scipy.fft

from dual_core.errors import DualError
from dual_core.evaluation.truth.metrics import fourier_scores, pearson, psnr, score_volume, ssim
from dual_core.tasks.wedge.planes import wedge_content
from dual_core.volumes.geometry import frequency_radius, swap_beam_and_x, wedge_mask

Range = Tuple[float, float]
Scores = Dict[str, Optional[float]]
Compensate = Callable[[np.ndarray], np.ndarray]

NO_COMPENSATION = "no compensation"
NOISE = "noise of the right power"
COMPENSATED = "compensated"


@dataclass(frozen=True)
class DoubleWedge:
    """Result of `double_wedge`.

    Attributes
    ----------
    scores : for `NO_COMPENSATION`, `NOISE` and `COMPENSATED`: ``psnr_db`` and ``ssim`` of what is
        in the second wedge against what was cut from it (data range: largest minus smallest
        value of what was cut), ``cc`` of the same voxels, and ``cc_band``, the correlation of its
        Fourier coefficients between 100 and 4 voxels. None where undefined.
    volumes : ``compensated``, ``cut`` (without the second wedge) and ``compensated again``.
    """

    scores: Dict[str, Scores]
    volumes: Dict[str, np.ndarray]


def score_against_truth(
    volume: np.ndarray,
    truth: np.ndarray,
    raw: np.ndarray,
    tilt_range: Range,
    voxel_size_A: float = 1.0,
) -> Scores:
    """Scores of a compensated tomogram.

    Parameters
    ----------
    volume, truth, raw : compensated tomogram, grand model and tomogram, of one shape and contrast.
    tilt_range : in degrees.

    Returns
    -------
    dict
        ``psnr_db``, ``ssim``, ``cc``, and ``cc_measured`` and ``cc_wedge`` against the truth, see
        `dual_core.evaluation.truth.metrics.VolumeScores`; ``kept``, the correlation with ``raw``
        over
        all coefficients that were measured; ``wedge_power``, see `wedge_power`.
    """
    found = score_volume(volume, truth, voxel_size_A, tilt_range=tilt_range).as_dict()
    names = ("psnr_db", "ssim", "cc", "cc_measured", "cc_wedge")
    scores: Scores = {name: found[name] for name in names}
    scores["kept"] = pearson(
        volume - wedge_content(volume, tilt_range), raw - wedge_content(raw, tilt_range)
    )
    scores["wedge_power"] = wedge_power(volume, tilt_range)
    return scores


def wedge_power(volume: np.ndarray, tilt_range: Range) -> float:
    """Mean power of a coefficient in the wedge over that of one that was measured."""
    depth, _, width = volume.shape
    share = float(np.mean(wedge_mask((depth, 1, width), tilt_range)))
    inside = wedge_content(volume, tilt_range)
    outside = volume - inside
    power = float(np.var(inside, dtype=np.float64)), float(np.var(outside, dtype=np.float64))
    return (power[0] / (1 - share)) / (power[1] / share)


def double_wedge(
    compensate: Compensate,
    tomogram: np.ndarray,
    tilt_range: Range,
    generator: np.random.Generator,
) -> DoubleWedge:
    """The protocol of table 3 of the paper.

    Parameters
    ----------
    compensate : fills the wedge of a volume that was tilted over ``tilt_range``.
    tomogram : ``(z, y, x)``.
    tilt_range : in degrees; the second wedge is the same with z and x swapped.
    generator : draws the noise of the reference.

    Raises
    ------
    DualError
        The two wedges overlap: what was cut would partly be predicted itself.
    """
    if wedges_overlap(tilt_range):
        raise DualError(
            f"tilt range {tilt_range[0]:g} to {tilt_range[1]:g}: the wedge along x would overlap "
            "the one along z, so the protocol cannot be used; a symmetric range of at least 45 "
            "degrees can"
        )
    # Turned, so that the second wedge lies along the beam, as the method expects it.
    first = np.ascontiguousarray(swap_beam_and_x(compensate(tomogram)))
    removed = wedge_content(first, tilt_range)
    cut = first - removed
    second = compensate(cut)
    data_range = float(removed.max()) - float(removed.min())
    filled = {
        NO_COMPENSATION: np.zeros_like(removed),
        NOISE: noise_like(removed, tilt_range, generator),
        COMPENSATED: wedge_content(second, tilt_range),
    }
    scores: Dict[str, Scores] = {}
    for name, content in filled.items():
        some = bool(content.any())
        band = fourier_scores(content, removed, tilt_range=tilt_range)[2] if some else np.nan
        scores[name] = {
            "psnr_db": psnr(content, removed, data_range),
            "ssim": ssim(content, removed, data_range),
            "cc": pearson(content, removed) if some else None,
            "cc_band": float(band) if np.isfinite(band) else None,
        }
    volumes = {"compensated": first, "cut": cut, "compensated again": second}
    return DoubleWedge(
        scores, {name: swap_beam_and_x(volume) for name, volume in volumes.items()}
    )


def noise_like(
    content: np.ndarray, tilt_range: Range, generator: np.random.Generator
) -> np.ndarray:
    """Gaussian noise in the wedge alone, with the power of ``content`` in each frequency shell.

    Float32 ``(z, y, x)``, of mean 0.
    """
    depth, height, width = content.shape
    half = width // 2 + 1
    missing = ~wedge_mask((depth, height, width), tilt_range)[:, :, :half]
    shells = np.rint(frequency_radius((depth, height, width))[:, :, :half] * min(content.shape))
    index = shells.astype(np.intp)[missing]
    white = generator.standard_normal(content.shape, dtype=np.float32)
    spectra = [scipy.fft.rfftn(volume)[missing] for volume in (content, white)]
    wanted, there = (
        np.bincount(index, np.abs(spectrum).astype(np.float64) ** 2) for spectrum in spectra
    )
    scale = np.sqrt(wanted / np.maximum(there, np.finfo(float).tiny))
    result = np.zeros(missing.shape, np.complex64)
    result[missing] = spectra[1] * scale[index]
    return scipy.fft.irfftn(result, s=content.shape).astype(np.float32)


def wedges_overlap(tilt_range: Range) -> bool:
    """Whether the wedge and the one with z and x swapped share directions."""
    # Odd, so that no coefficient stands for two directions.
    measured = wedge_mask((101, 1, 101), tilt_range)
    both_missing = ~measured & ~swap_beam_and_x(measured)
    return bool(both_missing.any())
