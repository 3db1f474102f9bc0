"""Half tomograms: Fourier shell correlation between them, raw and each denoised by itself.

The halves of a tomogram (odd and even frames, or odd and even tilts) show one specimen with
independent noise. The correlation of the raw halves says how much of each shell is signal.
That of the denoised halves says how far a denoiser gives the same answer twice. It is no proof of
truth: what the networks have learnt to expect is common to both halves and correlates as well
as signal does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Mapping, Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.evaluation.bands import BAND_EDGES
from dual_core.evaluation.truth.metrics import FSC_THRESHOLDS, FscCurve, fourier_scores, standardise
from dual_core.figures import COLOURS, _new_figure, _plain, _save

Function = Callable[[np.ndarray], np.ndarray]

CAUTION = (
    "The FSC of denoised halves measures consistency, not truth: what the network expects to see "
    "is common to both halves."
)


@dataclass(frozen=True)
class HalvesResult:
    """Curves by name (``raw`` and, with a model, ``denoised``).

    ``noise_energy``: deviation of the denoised difference of the halves over that of their
    denoised mean; None without a model.
    """

    curves: Dict[str, FscCurve]
    noise_energy: Optional[float] = None

    @property
    def gain(self) -> Optional[float]:
        """Mean FSC of the denoised halves minus that of the raw ones, at the particles' scale."""
        if "denoised" not in self.curves:
            return None
        raw, denoised = self.curves["raw"], self.curves["denoised"]
        # Both curves end at Nyquist, 0.5 cycles per voxel.
        per_voxel = raw.frequency_per_A / raw.frequency_per_A[-1] * 0.5
        inside = (per_voxel >= BAND_EDGES[0]) & (per_voxel < BAND_EDGES[-1])
        if not inside.any():
            inside = np.ones_like(inside)
        return float(np.mean(denoised.correlation[inside] - raw.correlation[inside]))

    def rows(self) -> Dict[str, Dict[str, Optional[float]]]:
        """Resolutions in angstrom by curve and threshold, None where it is never reached."""
        return {
            name: {f"fsc_{limit:g}_A": curve.resolution_A(limit) for limit in FSC_THRESHOLDS}
            for name, curve in self.curves.items()
        }


def half_fsc(
    first: np.ndarray,
    second: np.ndarray,
    voxel_size_A: float,
    mask: Optional[np.ndarray] = None,
) -> FscCurve:
    """Fourier shell correlation of two volumes.

    Parameters
    ----------
    first, second : ndarray, (z, y, x)
    voxel_size_A : float
    mask : ndarray, (z, y, x), optional
        0 to 1; both are multiplied by it after standardising. Give it a soft edge.

    Raises
    ------
    DualError
        If shapes differ or a volume is constant.
    """
    for name, other in (("other half", second), ("mask", mask)):
        if other is not None and other.shape != first.shape:
            raise DualError(
                f"the {name} has shape {tuple(other.shape)} and the half {tuple(first.shape)} "
                "(z, y, x); give volumes of one shape"
            )
    where = None
    if mask is not None:
        where = mask > 0.5
        if not where.any():
            raise DualError("the mask holds no voxel above 0.5; use a mask with values 0 to 1")
    a, b = standardise(first, where), standardise(second, where)
    if mask is not None:
        a, b = a * mask, b * mask
    curve, _, _ = fourier_scores(a, b, voxel_size_A)
    return curve


def compare_halves(
    first: np.ndarray,
    second: np.ndarray,
    voxel_size_A: float,
    denoise: Optional[Function] = None,
    mask: Optional[np.ndarray] = None,
) -> Tuple[HalvesResult, Dict[str, np.ndarray]]:
    """Correlate the halves of a tomogram, raw and denoised one by one.

    Parameters
    ----------
    first, second : ndarray, (z, y, x)
        Standardised, of one contrast: that of the model where there is one.
    voxel_size_A : float
    denoise : callable, optional
        The denoiser; called four times.
    mask : ndarray, (z, y, x), optional
        As in `half_fsc`.

    Returns
    -------
    HalvesResult
    dict
        Volumes by name, for pictures.
    """
    curves = {"raw": half_fsc(first, second, voxel_size_A, mask)}
    volumes = {"half A": first, "half B": second}
    if denoise is None:
        return HalvesResult(curves), volumes
    volumes["A denoised"] = denoise(first)
    volumes["B denoised"] = denoise(second)
    for name in ("A denoised", "B denoised"):
        if float(np.ptp(volumes[name])) == 0.0:
            raise DualError(f"half {name} is constant: the model finds nothing; train it longer")
    curves["denoised"] = half_fsc(
        volumes["A denoised"], volumes["B denoised"], voxel_size_A, mask
    )
    # Noise is independent, so that of the difference is that of the mean. What the halves share
    # (structure, solvent) is gone from it.
    mean = (first + second) / 2
    deviation = float(mean.std(dtype=np.float64)) or 1.0
    structure = denoise((mean / np.float32(deviation)).astype(np.float32))
    noise = denoise(((first - second) / np.float32(2 * deviation)).astype(np.float32))
    strength = float(structure.std(dtype=np.float64))
    energy = float(noise.std(dtype=np.float64)) / strength if strength > 0 else 1.0
    volumes["A - B denoised"] = noise
    return HalvesResult(curves, energy), volumes


def crossing_text(curve: FscCurve, threshold: float = FSC_THRESHOLDS[0]) -> str:
    """Where a curve falls below a threshold, in words: ``82 A``, ``no frequency``, ...

    A curve that stays above to the end has not been seen to cross: ``none up to 20 A``.
    """
    resolution = curve.resolution_A(threshold)
    if resolution is None:
        return "no frequency"
    if curve.correlation[-1] >= threshold and curve.crossing(threshold) == float(
        curve.frequency_per_A[-1]
    ):
        return f"none up to {resolution:.0f} A"
    return f"{resolution:.0f} A"


def fsc_figure(curves: Mapping[str, FscCurve], path: Path, title: Optional[str] = None) -> Path:
    """Draw Fourier shell correlations over the spatial frequency, with both thresholds."""
    figure = _new_figure(6.0, 3.8)
    panel = figure.add_subplot()
    for limit in FSC_THRESHOLDS:
        panel.axhline(limit, color="#999999", linestyle=":", linewidth=1.0)
        panel.text(
            1.01, limit, f"{limit:g}", transform=panel.get_yaxis_transform(),
            fontsize=8, color="#666666", va="center",
        )
    for colour, (label, curve) in zip(COLOURS, curves.items()):
        panel.plot(
            curve.frequency_per_A, curve.correlation, color=colour, linewidth=1.7,
            label=f"{label} halves, crossing of 0.5: {crossing_text(curve)}",
        )
    panel.set_xlabel("Spatial frequency (1/Å)")
    panel.set_ylabel("Fourier shell correlation")
    panel.set_ylim(-0.1, 1.05)
    panel.set_xlim(left=0)
    _plain(panel)
    panel.legend(fontsize=9, frameon=False)
    return _save(figure, path, title)
