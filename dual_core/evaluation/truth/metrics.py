"""How close a volume is to the truth: PSNR, SSIM, Pearson correlation and Fourier shells.

Everything is measured on standardised volumes (mean 0, deviation 1): a denoiser is judged by the
structure it shows, not by its grey scale. The mean squared error is then ``2 (1 - CC)``, so PSNR
and CC say the same thing in two units; SSIM and the Fourier measures add to it. The PSNR is
``10 log10(data_range^2 / MSE)``: equation 10 of the paper leaves its B open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import numpy as np
import scipy.fft
from scipy.ndimage import uniform_filter

from dual_core.errors import DualError
from dual_core.volumes.geometry import wedge_mask

SSIM_WINDOW = 7
FSC_THRESHOLDS = (0.5, 0.143)
# Radii (per voxel) between which coefficients are correlated: below is the slow background that
# no filter changes, above is little but noise in a tomogram.
CORRELATION_BAND = (1 / 100, 1 / 4)


@dataclass(frozen=True)
class FscCurve:
    """Fourier shell correlation: ``correlation[i]`` at ``frequency_per_A[i]`` (1/angstrom)."""

    frequency_per_A: np.ndarray
    correlation: np.ndarray

    def crossing(self, threshold: float) -> Optional[float]:
        """Return the frequency (1/A) where the curve first falls below ``threshold``.

        Linear between shells. None if the curve never reaches the threshold, its last frequency
        if it stays above. Shells before the first that reaches the threshold are passed over: the
        lowest frequencies hold few coefficients and a tomogram's background.
        """
        above = self.correlation >= threshold
        if not above.any():
            return None
        start = int(np.argmax(above))
        below = np.flatnonzero(~above[start:])
        if below.size == 0:
            return float(self.frequency_per_A[-1])
        right = start + int(below[0])
        high, low = self.correlation[right - 1], self.correlation[right]
        part = (high - threshold) / (high - low)
        left_frequency = self.frequency_per_A[right - 1]
        return float(left_frequency + part * (self.frequency_per_A[right] - left_frequency))

    def resolution_A(self, threshold: float) -> Optional[float]:
        """Return the resolution in angstrom at which the curve falls below ``threshold``."""
        frequency = self.crossing(threshold)
        return None if frequency is None else 1.0 / frequency


@dataclass(frozen=True)
class VolumeScores:
    """The scores of one volume against the truth, both standardised.

    ``cc`` is the Pearson correlation of the voxels; ``cc_measured`` and ``cc_wedge`` are those of
    the Fourier coefficients of `CORRELATION_BAND` that the tilt range measures, and of those in
    the missing wedge (nan where there are none). ``data_range`` is the peak value of PSNR and
    SSIM, in deviations of the truth.
    """

    psnr_db: float
    ssim: float
    cc: float
    cc_measured: float
    cc_wedge: float
    data_range: float
    fsc: FscCurve

    def as_dict(self) -> Dict[str, Optional[float]]:
        """Return the scores as flat numbers, units in the names; None where not finite."""
        names = ("psnr_db", "ssim", "cc", "cc_measured", "cc_wedge", "data_range")
        values = {name: float(getattr(self, name)) for name in names}
        numbers: Dict[str, Optional[float]] = {
            name: value if np.isfinite(value) else None for name, value in values.items()
        }
        for threshold in FSC_THRESHOLDS:
            numbers[f"fsc_{threshold:g}_A"] = self.fsc.resolution_A(threshold)
        return numbers


def standardise(volume: np.ndarray, where: Optional[np.ndarray] = None) -> np.ndarray:
    """Return ``volume`` as float32 with mean 0 and deviation 1 over the voxels ``where`` (all).

    Raises
    ------
    DualError
        If the volume is constant or holds values that are not finite.
    """
    sample = volume if where is None else volume[where]
    mean = float(sample.mean(dtype=np.float64))
    std = float(sample.std(dtype=np.float64))
    if not np.isfinite(std):
        raise DualError("the volume holds NaN or infinite values; write it again without them")
    if std <= 1e-12 * abs(mean):
        raise DualError("the volume is constant where it is scored; nothing can be compared")
    return ((volume - np.float64(mean)) / std).astype(np.float32)


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Pearson correlation of two arrays of one shape."""
    a = standardise(first).ravel()
    b = standardise(second).ravel()
    return float(np.mean(a * b, dtype=np.float64))


def psnr(volume: np.ndarray, truth: np.ndarray, data_range: float) -> float:
    """Return the peak signal-to-noise ratio in decibel; infinite for equal arrays."""
    error = float(np.mean(np.square(volume - truth), dtype=np.float64))
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def ssim(
    volume: np.ndarray,
    truth: np.ndarray,
    data_range: float,
    mask: Optional[np.ndarray] = None,
    slab: int = 16,
) -> float:
    """Return the mean structural similarity (Wang 2004; equation 11 of the paper).

    Equal to ``skimage.metrics.structural_similarity(..., win_size=7)``. It is computed here since
    scikit-image holds a dozen arrays of the whole volume at once; slabs need a few planes, and
    only windows that lie inside the volume count, so slabs have no border of their own.

    Volumes are ``(z, y, x)``; with a boolean ``mask`` the windows whose centre lies in it count.
    ``slab`` planes of centres are worked on at once, which changes nothing in the result.

    Raises
    ------
    DualError
        If a side is smaller than the window, or the mask holds no window.
    """
    radius = SSIM_WINDOW // 2
    if min(truth.shape) < SSIM_WINDOW:
        raise DualError(f"SSIM needs {SSIM_WINDOW} voxels along each axis; use a larger volume")
    count = SSIM_WINDOW**truth.ndim
    unbiased = count / (count - 1)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    inner = (slice(radius, -radius),) * truth.ndim

    def local_mean(values: np.ndarray) -> np.ndarray:
        return uniform_filter(values, size=SSIM_WINDOW)[inner]

    total, number = 0.0, 0
    for start in range(0, truth.shape[0] - 2 * radius, slab):
        planes = slice(start, start + slab + 2 * radius)
        x = volume[planes].astype(np.float64)
        y = truth[planes].astype(np.float64)
        mean_x, mean_y = local_mean(x), local_mean(y)
        var_x = unbiased * (local_mean(x * x) - mean_x**2)
        var_y = unbiased * (local_mean(y * y) - mean_y**2)
        cov = unbiased * (local_mean(x * y) - mean_x * mean_y)
        similarity = ((2 * mean_x * mean_y + c1) * (2 * cov + c2)) / (
            (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
        )
        if mask is not None:
            similarity = similarity[mask[planes][inner]]
        total += float(similarity.sum())
        number += similarity.size
    if number == 0:
        raise DualError("the mask holds no voxel away from the border; use a larger mask")
    return total / number


def fourier_scores(
    volume: np.ndarray,
    truth: np.ndarray,
    voxel_size_A: float = 1.0,
    tilt_range: Tuple[float, float] = (-60.0, 60.0),
    tilt_axis: str = "y",
) -> Tuple[FscCurve, float, float]:
    """Correlate the Fourier coefficients of two volumes, by shell and by wedge.

    Volumes are ``(z, y, x)``, the tilt range is in degrees. Returns the curve, in shells of one
    Fourier voxel of the shortest axis up to Nyquist and without the mean, and the correlations
    over the coefficients of `CORRELATION_BAND` that are measured and that lie in the missing
    wedge (nan where there is none).
    """
    shape = (truth.shape[0], truth.shape[1], truth.shape[2])
    measured = wedge_mask(shape, tilt_range, tilt_axis)[:, :, : shape[2] // 2 + 1]
    # scipy keeps single precision, which halves the memory; sums are in double precision.
    first = scipy.fft.rfftn(volume.astype(np.float32, copy=False))
    second = scipy.fft.rfftn(truth.astype(np.float32, copy=False))
    fz, fy = (np.fft.fftfreq(side) for side in shape[:2])
    fx = np.fft.rfftfreq(shape[2])
    # A half-transform holds one of each pair of conjugate coefficients, but for x frequency 0 (and
    # Nyquist), where both are there.
    weight = np.full(fx.size, 2.0)
    weight[0] = 1.0
    if shape[2] % 2 == 0:
        weight[-1] = 1.0

    # Every shell holds coefficients of every direction; finer ones would zigzag in thin volumes.
    shortest = min(shape)
    shells = shortest // 2 + 1
    by_shell = np.zeros((3, shells))
    by_wedge = np.zeros((3, 2))
    low, high = CORRELATION_BAND
    for z in range(shape[0]):
        radius = np.sqrt(fz[z] ** 2 + fy[:, None] ** 2 + fx[None, :] ** 2)
        shell = np.rint(radius * shortest).astype(np.intp)
        inside = shell < shells
        band = (radius >= low) & (radius <= high)
        region = measured[z].astype(np.intp)[band]
        a = first[z].astype(np.complex128)
        b = second[z].astype(np.complex128)
        products = ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2)
        for row, product in enumerate(products):
            values = product * weight
            by_shell[row] += np.bincount(shell[inside], values[inside], minlength=shells)
            by_wedge[row] += np.bincount(region, values[band], minlength=2)

    curve = _correlation(by_shell)[1:]
    frequency = np.arange(1, shells) / (shortest * voxel_size_A)
    in_wedge, in_measured = _correlation(by_wedge)
    return FscCurve(frequency, np.nan_to_num(curve)), float(in_measured), float(in_wedge)


def score_volume(
    volume: np.ndarray,
    truth: np.ndarray,
    voxel_size_A: float = 1.0,
    data_range: Optional[float] = None,
    margin: int = 0,
    mask: Optional[np.ndarray] = None,
    tilt_range: Tuple[float, float] = (-60.0, 60.0),
    tilt_axis: str = "y",
) -> VolumeScores:
    """Score a volume against the truth.

    Parameters
    ----------
    volume, truth : ndarray, (z, y, x)
        One shape and one contrast; both are standardised over the scored voxels.
    voxel_size_A : float
    data_range : float, optional
        Peak value in deviations of the truth; by default the largest minus the smallest
        scored value of the standardised truth.
    margin : int
        Voxels left out along every face (a denoiser's border need not count).
    mask : ndarray, (z, y, x), optional
        Values 0 to 1. PSNR, SSIM and CC use the voxels above 0.5; the Fourier measures multiply
        by the mask as it is: give it a soft edge, since a hard one raises the FSC.
    tilt_range, tilt_axis
        As in `fourier_scores`.

    Raises
    ------
    DualError
        If shapes differ, the margin or the mask leaves nothing, or a volume is constant.
    """
    for name, other in (("volume", volume), ("mask", mask)):
        if other is not None and other.shape != truth.shape:
            raise DualError(
                f"the {name} has shape {other.shape}, the truth {truth.shape} (z, y, x); "
                "compare volumes of one shape"
            )
    if margin < 0 or 2 * margin >= min(truth.shape):
        raise DualError(
            f"a margin of {margin} voxels leaves nothing of shape {truth.shape}; use a smaller one"
        )
    crop = tuple(slice(margin, side - margin) for side in truth.shape)
    where = None
    if mask is not None:
        mask = mask[crop]
        where = mask > 0.5
        if not where.any():
            raise DualError("the mask holds no voxel above 0.5; use a mask with values 0 to 1")
    a = standardise(volume[crop], where)
    b = standardise(truth[crop], where)
    scored_a, scored_b = (a, b) if where is None else (a[where], b[where])
    if data_range is None:
        data_range = float(scored_b.max()) - float(scored_b.min())
    psnr_db = psnr(scored_a, scored_b, data_range)
    similarity = ssim(a, b, data_range, where)
    cc = float(np.mean(scored_a * scored_b, dtype=np.float64))
    if mask is not None:
        a, b = a * mask, b * mask
    fsc, measured, wedge = fourier_scores(a, b, voxel_size_A, tilt_range, tilt_axis)
    return VolumeScores(psnr_db, similarity, cc, measured, wedge, data_range, fsc)


def _correlation(sums: np.ndarray) -> np.ndarray:
    """Return cross / sqrt(power * power) per column; nan where a power is 0."""
    cross, first, second = sums
    power = np.sqrt(first * second)
    return np.divide(cross, power, out=np.full_like(cross, np.nan), where=power > 0)
