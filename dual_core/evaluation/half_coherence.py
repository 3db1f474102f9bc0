"""Half coherence: does a result know more of the specimen than a filter? Measured without a truth.

Two halves of a tomogram show one specimen under independent noise. The coherence of one half with
the **other as it was measured**, shell by shell, tells how much of the specimen it shows. A filter
that works shell by shell leaves it as it is: ratio 1. What a denoiser knows beyond a filter lifts
it above 1, up to ``1 / sqrt(raw with raw)``; what it invents or drops lowers it. Two denoised
halves that agree prove nothing, since what a network expects is common to both: hence the
comparison with the half that no network has seen.

Even a perfect density map stays a little below 1 where a tomogram shows what a density map does not
(solvent, thickness, weighting by direction), at low resolution. Only measured coefficients count.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import scipy.fft

from dual_core.errors import DualError
from dual_core.figures import COLOURS, _new_figure, _plain, _save
from dual_core.volumes.geometry import frequency_radius, sine_taper, wedge_mask

EDGES = (0.02, 0.05, 0.08, 0.11, 0.15, 0.2, 0.25)  # cycles per voxel
SIDE = 64  # of the blocks, in voxels; they overlap by half
JUDGED = (0.2, 0.95)  # raw coherence of the shells that a verdict is taken from
LEAST = 1e-3  # raw coherence below which a limit says nothing


@dataclass(frozen=True)
class HalfCoherence:
    """Sums over blocks, of one tomogram or of several: they add up.

    Attributes
    ----------
    voxel_size_A : of the halves.
    cross : ``(2, shells)``: raw with raw; denoised with the other raw, both ways' mean.
    power : ``(4, shells)``: of the raw halves and the denoised ones.
    """

    voxel_size_A: float
    cross: np.ndarray
    power: np.ndarray

    def __add__(self, other: HalfCoherence) -> HalfCoherence:
        return HalfCoherence(
            self.voxel_size_A, self.cross + other.cross, self.power + other.power
        )

    @property
    def detail_A(self) -> np.ndarray:
        """The middle of each shell as a length."""
        edges = np.array(EDGES)
        return 2.0 * self.voxel_size_A / (edges[1:] + edges[:-1])

    @property
    def raw(self) -> np.ndarray:
        """Coherence of the raw halves."""
        return self.cross[0] / np.sqrt(np.maximum(self.power[0] * self.power[1], 1e-30))

    @property
    def denoised(self) -> np.ndarray:
        """Coherence of a denoised half with the other raw one."""
        raw, result = self.power[0] + self.power[1], self.power[2] + self.power[3]
        return 2.0 * self.cross[1] / np.sqrt(np.maximum(raw * result, 1e-30))

    @property
    def ratio(self) -> np.ndarray:
        """Of both: 1 for a filter, above it for what knows more."""
        return self.denoised / np.where(np.abs(self.raw) < LEAST, np.nan, self.raw)

    @property
    def limit(self) -> np.ndarray:
        """The ratio of what the halves have in common, without any noise."""
        return 1.0 / np.sqrt(np.maximum(self.raw, LEAST))

    @property
    def judged(self) -> np.ndarray:
        """The shells in which the raw coherence lets one judge, boolean."""
        return (self.raw >= JUDGED[0]) & (self.raw <= JUDGED[1])

    @property
    def verdict(self) -> Optional[float]:
        """Mean ratio over the judged shells; None where there is none."""
        return float(np.mean(self.ratio[self.judged])) if self.judged.any() else None

    def rows(self) -> List[Dict[str, float]]:
        """A row for each shell."""
        return [
            {"detail_A": float(d), "raw": float(r), "denoised": float(n), "ratio": float(q),
             "limit": float(m)}
            for d, r, n, q, m in zip(
                self.detail_A, self.raw, self.denoised, self.ratio, self.limit
            )
        ]


def half_coherence(
    halves: Tuple[np.ndarray, np.ndarray],
    denoised: Tuple[np.ndarray, np.ndarray],
    voxel_size_A: float,
    tilt_range_deg: Optional[Tuple[float, float]] = None,
    tilt_axis: str = "y",
) -> HalfCoherence:
    """The sums of one tomogram.

    Parameters
    ----------
    halves : the two raw halves, ``(z, y, x)``.
    denoised : each of them denoised by itself, same shape.
    voxel_size_A : of all.
    tilt_range_deg : smallest and largest tilt; None counts every coefficient.
    tilt_axis : ``y`` or ``x``.

    Raises
    ------
    DualError
        For volumes of different shapes, for constant ones, and for thin ones.
    """
    volumes = [*halves, *denoised]
    shapes = {volume.shape for volume in volumes}
    if len(shapes) > 1:
        raise DualError(f"the halves differ in shape: {sorted(shapes)}; give volumes of one shape")
    (shape,) = shapes
    side = tuple(min(SIDE, length) for length in shape)
    size = side[0], side[1], side[2]
    if min(size) < 8:
        raise DualError(f"{shape} voxels (z, y, x) are too thin for a half coherence; 8 are needed")
    scaled = []
    for volume in volumes:
        deviation = float(volume.std(dtype=np.float64))
        if deviation == 0.0:
            raise DualError("a half is constant, so that nothing can be compared")
        scaled.append((float(volume.mean(dtype=np.float64)), deviation))
    distance = frequency_radius(size)
    inside = np.ones(size, dtype=bool)
    if tilt_range_deg is not None:
        inside = wedge_mask(size, tilt_range_deg, tilt_axis)
    shells = [
        np.flatnonzero(inside & (distance >= low) & (distance < high))
        for low, high in zip(EDGES, EDGES[1:])
    ]
    cross, power = np.zeros((2, len(shells))), np.zeros((4, len(shells)))
    window = np.ones(size)
    for axis, length in enumerate(size):
        window = window * sine_taper(length).reshape([-1 if a == axis else 1 for a in range(3)])
    for region in _regions(shape, size):
        spectra = [
            scipy.fft.fftn((volume[region] - mean) / deviation * window).ravel()
            for volume, (mean, deviation) in zip(volumes, scaled)
        ]
        for number, shell in enumerate(shells):
            a, b, da, db = (spectrum[shell] for spectrum in spectra)
            cross[0, number] += float(np.vdot(b, a).real)
            cross[1, number] += float(np.vdot(b, da).real + np.vdot(a, db).real) / 2
            for row, part in enumerate((a, b, da, db)):
                power[row, number] += float(np.vdot(part, part).real)
    return HalfCoherence(voxel_size_A, cross, power)


def coherence_figure(
    found: Sequence[Tuple[str, HalfCoherence]], path: Path, title: Optional[str] = None
) -> Path:
    """Draw the ratio over the detail, with what a filter (1) and a truth (the limit) would have."""
    figure = _new_figure(6.0, 3.8)
    panel = figure.add_subplot()
    places = range(len(EDGES) - 1)
    panel.axhline(1.0, color="#999999", linestyle=":", linewidth=1.0)
    for colour, (label, one) in zip(COLOURS, found):
        panel.plot(places, one.ratio, color=colour, linewidth=1.7, marker="o", label=label)
    last = found[-1][1]
    panel.plot(places, last.limit, color="#666666", linestyle="--", linewidth=1.0, label="limit")
    panel.set_xticks(list(places))
    panel.set_xticklabels([f"{detail:.0f}" for detail in last.detail_A])
    panel.set_xlabel("Detail (Å)")
    panel.set_ylabel("Half coherence, against a filter")
    panel.set_ylim(0.0, 1.1 * max(1.0, *(float(np.nanmax(one.ratio)) for _, one in found)))
    _plain(panel)
    panel.legend(fontsize=9, frameon=False)
    return _save(figure, path, title)


def _regions(
    shape: Sequence[int], size: Tuple[int, int, int]
) -> Iterator[Tuple[slice, slice, slice]]:
    """Blocks that overlap by half; the last one of each axis ends at the face."""
    starts = [
        sorted({min(first, n - side) for first in range(0, n, max(side // 2, 1))})
        for n, side in zip(shape, size)
    ]
    for z, y, x in product(*starts):
        yield slice(z, z + size[0]), slice(y, y + size[1]), slice(x, x + size[2])
