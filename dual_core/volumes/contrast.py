"""Is density dark or bright? Found from the skewness of the voxel values.

What is in a tomogram (particles, membranes, gold) is sparse and denser than the ice around it, so
after averaging the noise away the distribution of the values has a tail on the side of the
density: a negative third moment means dark, a positive one bright. Noise has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Iterator, List, Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.overlap import in_order, threads
from dual_core.volumes.reading import ReadableVolume, Triple

# Only the middle of a thick volume is looked at: vacuum is above and below.
_BLOCK: Triple = (96, 192, 192)
_MOST_BLOCKS: Triple = (1, 2, 2)
_LEVELS = 3
_SMALLEST_SIDE = 8
_LOW_PASS = 1.0
_HIGH_PASS = 4.0
_BORDER = 6
_TAIL = 6.0
# Fewer are not enough to tell, whatever they say.
_FEWEST_VOXELS = 8
# Of 64 pieces of noise, white to smooth over 12 voxels, the largest significance was 3.2.
_CONFIDENT = 5.0


@dataclass(frozen=True)
class ContrastVerdict:
    """Which sign density has in a volume.

    Attributes
    ----------
    contrast : str
        ``"dark"`` or ``"bright"``.
    skewness : float
        Skewness of the values at the scale that shows it best; negative means dark.
    confident : bool
        False where the skewness could be that of mere noise or the scales contradict each other;
        the user should be asked then.
    """

    contrast: str
    skewness: float
    confident: bool


def detect_contrast(
    volume: ReadableVolume, blank: Optional[ReadableVolume] = None
) -> ContrastVerdict:
    """Find out whether density is dark or bright.

    Looks at no more than four blocks of 96 x 192 x 192 voxels spread over the volume, so that
    time and memory are bounded, at three scales (1, 2 and 4 voxels), band-passed so that
    gradients do not count.

    Parameters
    ----------
    volume : ReadableVolume
        Tomogram or grand model.
    blank : volume of bool, optional
        Where it is true nothing is looked at, nor so near to it that the filters reach it, so that
        the edge of a padding never decides. The volume should have its mean there. Where too
        little is left the verdict is not confident.

    Raises
    ------
    DualError
        NaN or infinite values.
    """
    scales: List[List[np.ndarray]] = [[] for _ in range(_LEVELS)]
    wanted: List[List[np.ndarray]] = [[] for _ in range(_LEVELS)]

    def look(region: Tuple[Triple, Triple]) -> List[Tuple[np.ndarray, np.ndarray]]:
        start, size = region
        block = volume.read(start, size)
        left_out = blank.read(start, size) if blank is not None else np.zeros(size, dtype=bool)
        if not np.isfinite(block).all():
            raise DualError(f"{volume.name}: NaN or infinite values; replace them")
        return list(_pyramid(block, left_out))

    for levels in in_order(look, _blocks(volume.shape), threads()):
        for level, (filtered, used) in enumerate(levels):
            scales[level].append(filtered)
            wanted[level].append(used)
    enough = [
        level for level, used in enumerate(wanted)
        if sum(np.count_nonzero(part) for part in used) >= _FEWEST_VOXELS
    ]
    found = list(
        in_order(lambda level: _skewness(scales[level], wanted[level]), enough, threads())
    )
    if not found:
        return ContrastVerdict("dark", 0.0, False)
    skewness, significance = max(found, key=lambda pair: abs(pair[1]))
    return ContrastVerdict(
        contrast="bright" if skewness > 0 else "dark",
        skewness=skewness,
        confident=abs(significance) >= _CONFIDENT
        and not any(other * significance < -(significance**2) / 2 for _, other in found),
    )


def _blocks(shape: Triple) -> Iterator[Tuple[Triple, Triple]]:
    """Spread a bounded number of blocks evenly over a volume."""
    sides, axes = [], []
    for length, wanted, most in zip(shape, _BLOCK, _MOST_BLOCKS):
        number = max(1, min(most, round(length / wanted)))
        side = min(wanted, length // number)
        sides.append(side)
        axes.append([int((2 * i + 1) * length / number - side) // 2 for i in range(number)])
    for z, y, x in product(*axes):
        yield (z, y, x), (sides[0], sides[1], sides[2])


def _pyramid(
    block: np.ndarray, blank: np.ndarray
) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """The block band-passed at 1, 2, 4 voxels, the latter two on coarser grids; what to look at."""
    from scipy.ndimage import gaussian_filter, maximum_filter

    for level in range(_LEVELS):
        if level > 0:
            block, blank = _halved(block), _halved(blank) > 0
            if min(block.shape) < _SMALLEST_SIDE:
                return
        filtered = gaussian_filter(block, _LOW_PASS) - gaussian_filter(block, _HIGH_PASS)
        # A gradient has a kink where the filter reflects it at the border: that is not looked at.
        borders = [min(_BORDER, length // 4) for length in filtered.shape]
        inner = tuple(slice(border, -border or None) for border in borders)
        used = np.ones(block.shape, dtype=bool)
        if blank.any():
            used = ~maximum_filter(blank, 2 * _BORDER + 1, mode="constant")
        yield filtered[inner], used[inner]


def _halved(block: np.ndarray) -> np.ndarray:
    """Mean of every 2 x 2 x 2 voxels; an odd last plane is left out."""
    z, y, x = (length // 2 for length in block.shape)
    cells = block[: 2 * z, : 2 * y, : 2 * x].reshape(z, 2, y, 2, x, 2)
    return cells.mean(axis=(1, 3, 5))


def _skewness(blocks: List[np.ndarray], used: List[np.ndarray]) -> Tuple[float, float]:
    """Skewness of the values, and the same in units of what Gaussian noise would show.

    For a Gaussian field of autocorrelation r the variance of the skewness of N values is
    6/N times the sum of r^3 over all shifts (from E[H3(a) H3(b)] = 6 r^3 of the third
    Hermite polynomial), however coloured the noise is.
    """
    values = np.concatenate([block[where] for block, where in zip(blocks, used)])
    values -= values.mean(dtype=np.float64)
    # Cutting the tails keeps a single hot spot from deciding alone; cut further in, gold would
    # be weaker than the halo of opposite sign that the band-pass gives it. Twice, because the
    # first deviation still has the tails in it.
    for _ in range(2):
        deviation = float(values.std(dtype=np.float64))
        if deviation == 0:
            return 0.0, 0.0
        np.clip(values, -_TAIL * deviation, _TAIL * deviation, out=values)
        values -= values.mean(dtype=np.float64)
    values /= values.std(dtype=np.float64)
    # A product: numpy takes ten times as long for a power of three.
    skewness = float((values * values * values).mean(dtype=np.float64))
    expected = math.sqrt(6 * _correlated_voxels(blocks, used) / values.size)
    return skewness, skewness / expected


def _correlated_voxels(blocks: List[np.ndarray], used: List[np.ndarray]) -> float:
    """Sum of the cubed autocorrelation over all shifts, from the mean power spectrum."""
    power = sum(
        np.abs(np.fft.rfftn(block * where)) ** 2 for block, where in zip(blocks, used)
    )
    correlation = np.fft.irfftn(power, s=blocks[0].shape, axes=(0, 1, 2))
    return float(((correlation / correlation[0, 0, 0]) ** 3).sum())
