"""The transfer of the structure from the third and fourth cumulants of both domains.

Second moments alone cannot tell structure from noise: any H goes with the power
``S_t - |H|^2 S_v`` of noise. Higher cumulants can, since those of Gaussian noise are zero while
density is sparse: in each band of frequencies the third cumulant of the tomogram is H^3 and the
fourth H^4 times that of the clean domain after the same filter. They hold as far as both domains
show like things; their sign holds always.
"""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np
import scipy.fft

from dual_core.noise_model.tapered_power import taper

TRIM = 0.25  # of the blocks at each end; gold is in few blocks and would outweigh all else
SIGNIFICANT = 2.5  # standard errors below which a cumulant of the tomograms is not believed
REVERSED = 6.0  # standard errors below which a negative third cumulant is not believed


def band_transfer(
    noisy: Sequence[np.ndarray],
    clean: Sequence[np.ndarray],
    noisy_filter: np.ndarray,
    clean_filter: np.ndarray,
    independent: float,
) -> Tuple[float, float]:
    """H of one band from the cumulants of the filtered domains: (value, upper limit).

    The third, trimmed, follows the many particles and has a sign; the fourth, untrimmed, is
    strongest for the few beads of gold. Their errors differ in sign where the two domains hold
    different amounts of gold, so the geometric mean of both is taken. The value is 0 where
    neither differs from that of noise; the limit says how much may hide there.
    """
    noisy_third, noisy_fourth = _cumulants(noisy, noisy_filter)
    clean_third, clean_fourth = _cumulants(clean, clean_filter)
    estimates = []
    sign, limit = 1.0, 0.0
    third, error = trimmed_mean(noisy_third, independent)
    reference = trimmed_mean(clean_third, independent)[0]
    if reference != 0:
        ratio = third / reference
        limit = (abs(ratio) + error / abs(reference)) ** (1 / 3)
        # Only a contrast transfer beyond its first zero reverses the sign: that must be sure.
        if abs(third) > (SIGNIFICANT if ratio > 0 else REVERSED) * error:
            sign = float(np.sign(ratio))
            estimates.append(abs(ratio) ** (1 / 3))
    fourth, reference = float(np.mean(noisy_fourth)), float(np.mean(clean_fourth))
    typical, error = trimmed_mean(noisy_fourth, independent)
    if typical > SIGNIFICANT * error and fourth > 0 and reference > 0:
        estimates.append((fourth / reference) ** 0.25)
    if not estimates:
        return 0.0, limit
    return sign * float(np.exp(np.mean(np.log(estimates)))), limit


def _cumulants(
    spectra: Sequence[np.ndarray], band: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Third and fourth cumulant of each filtered block."""
    third, fourth = [], []
    band = band.astype(np.float32)
    # Under a taper even Gaussian noise has a fourth moment above three squares of the second.
    flatness = float(np.mean(taper(len(band)) ** 4))
    for spectrum in spectra:
        values = scipy.fft.irfftn(spectrum * band, norm="ortho")
        squares = values * values
        third.append(np.mean(squares * values))
        fourth.append(np.mean(squares * squares) - 3.0 * flatness * np.mean(squares) ** 2)
    return np.array(third, dtype=np.float64), np.array(fourth, dtype=np.float64)


def trimmed_mean(values: np.ndarray, independent: float) -> Tuple[float, float]:
    """Mean without the extreme blocks, and its standard error (Tukey and McLaughlin 1963)."""
    cut = int(TRIM * len(values))
    kept = np.sort(values)[cut : len(values) - cut]
    winsorised = np.clip(values, kept[0], kept[-1])
    error = np.std(winsorised) / (1.0 - 2.0 * TRIM) / np.sqrt(min(len(values), independent))
    return float(np.mean(kept)), float(error)
