"""The power of a tomogram's noise, measured on the tomogram itself; no clean domain is involved.

*From halves.* Two halves show the same structure under independent noise. So half of their
difference has the noise power of their mean, exactly, in every direction.

*From blocks.* The power of a block is ``(N + S_b) G``: the noise's, and that of the structure which
happens to be in the block, times a fluctuation G which is known, since white noise behind the same
taper shows it. A low percentile alone would mix up both: G puts the 5th percentile of small rings
at 0.4 N, structure lifts it again. Instead the likelihood of all block powers is taken, with S_b
spread as a Gamma variable, and the uppermost blocks (gold) known only as "above".
Rings about the tilt axis are used, since a reconstruction's noise depends on the distance from the
axis and the height along it. Where structure is many times the noise a ring alone says little, and
neighbouring rings say the rest: log N is smooth over the frequency.

Noise need not be equally strong everywhere: towards the faces of a reconstruction fewer projections
overlap. Each block's powers are therefore divided by its power at the highest frequencies, where
structure hardly counts.

Power is in units of white noise of deviation 1 (orthonormal transforms), on the half grid of a real
FFT, ``(side, side, side // 2 + 1)``; the tilt axis is y.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Iterator, Sequence, Tuple

import numpy as np
import scipy.fft
from scipy.ndimage import map_coordinates

from dual_core.noise_model.ring_likelihood import NOISE_LEVELS, misfits, smoothest
from dual_core.noise_model.tapered_power import (
    FLOOR,
    half_grid_frequency,
    on_grid,
    smoothed,
    taper,
)
from dual_core.volumes.interface import Triple
from dual_core.volumes.patches import StandardisedVolume

# Voxels of a block: smaller ones have no coarse rings, larger ones are never without structure.
LARGEST_SIDE = 32
MOST_BLOCKS = 300  # of all tomograms together
STEP = 12  # voxels from block to block of a small volume
BLOCK_VOXELS = 16**3  # that a tapered block sees; blocks of a small volume overlap
FINE = 0.3  # cycles per voxel from which a block's power is its noise's
GAIN_RANGE = (0.25, 1.5)  # of the median; what is beyond is gold
RING, HEIGHT = 2.0, 4.0  # coefficients from the tilt axis and along it, that make a ring
RISING = 2  # rings from the tilt axis up to which the noise grows
FEWEST = 6.0  # degrees of freedom of a ring
WHITE_BLOCKS = 300


@dataclass(frozen=True)
class NoiseFloor:
    """The noise power of tomograms.

    Attributes
    ----------
    power : N on a cubic half grid, float64; in the missing wedge all the power there is.
    error : standard error of log N, over the rings; 0.1 means sure to a tenth.
    source : ``halves`` or ``blocks``.
    """

    power: np.ndarray
    error: float
    source: str

    def on_grid(self, side: int) -> np.ndarray:
        """The power on the half grid of another side."""
        return np.maximum(on_grid(self.power, (side,) * 3), FLOOR)


def noise_from_halves(
    halves: Sequence[Tuple[StandardisedVolume, StandardisedVolume]],
    generator: np.random.Generator,
) -> NoiseFloor:
    """The noise power of the mean of two halves.

    Parameters
    ----------
    halves : (even, odd) of each tomogram, in the units of the standardised tomogram.
    generator : chooses the blocks.
    """
    side = _side([even for even, _ in halves])
    size = (side,) * 3
    powers = [
        _power((even.read(start, size) - odd.read(start, size)) / 2)
        for even, odd in halves
        for start in _starts(even.volume.shape, side, MOST_BLOCKS // len(halves) + 1, generator)
    ]
    return NoiseFloor(smoothed(np.mean(powers, axis=0)), 1.0 / np.sqrt(len(powers)), "halves")


def noise_from_blocks(
    volumes: Sequence[StandardisedVolume], measured: np.ndarray, generator: np.random.Generator
) -> NoiseFloor:
    """The noise power of tomograms from the powers of their blocks.

    Where every block is full of structure it is an upper bound.

    Parameters
    ----------
    volumes : the tomograms, standardised.
    measured : how much of each coefficient was measured, 0 to 1, on any cubic half grid.
    generator : chooses the blocks.
    """
    side = _side(volumes)
    blocks = np.array([
        _power(entry.read(start, (side,) * 3))
        for entry in volumes
        for start in _starts(entry.volume.shape, side, MOST_BLOCKS // len(volumes) + 1, generator)
    ])
    inside = on_grid(measured, (side,) * 3) > 0.5
    mean = smoothed(blocks.mean(axis=0))
    fine = inside & (half_grid_frequency(side) >= FINE)
    gain = blocks[:, fine].mean(axis=1)
    gain = np.clip(gain / np.median(gain), *GAIN_RANGE)
    blocks /= gain[:, None, None, None]
    typical = smoothed(np.median(blocks, axis=0))
    voxels = sum(float(np.prod(entry.volume.shape)) for entry in volumes)
    independent = min(1.0, voxels / BLOCK_VOXELS / len(blocks))
    share, error = _noise_shares(blocks / typical, typical, inside, independent)
    power = np.where(inside, share * typical * gain.mean(), mean)
    return NoiseFloor(np.maximum(power, FLOOR), error, "blocks")


def _power(block: np.ndarray) -> np.ndarray:
    return np.abs(scipy.fft.rfftn(block * taper(len(block)), norm="ortho")) ** 2


def _side(volumes: Sequence[StandardisedVolume]) -> int:
    thinnest = min(min(entry.volume.shape) for entry in volumes)
    return min(LARGEST_SIDE, thinnest - thinnest % 2)


def _starts(
    shape: Triple, side: int, most: int, generator: np.random.Generator
) -> Iterator[Triple]:
    """Corners of blocks, evenly over the volume, at random where there would be too many."""
    axes = [np.unique(np.linspace(0, n - side, (n - side) // STEP + 1).astype(int)) for n in shape]
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = generator.permutation(len(corners))[:most]
    for z, y, x in corners[np.sort(chosen)]:
        yield int(z), int(y), int(x)


def _ring_places(side: int) -> Tuple[np.ndarray, np.ndarray]:
    """Where each coefficient lies in the table of rings: (from the tilt axis, along it)."""
    full, half = np.fft.fftfreq(side) * side, np.fft.rfftfreq(side) * side
    away = np.sqrt(full[:, None, None] ** 2 + half[None, None, :] ** 2) + 0.0 * full[None, :, None]
    return away / RING, np.abs(full)[None, :, None] / HEIGHT + 0.0 * away


def _noise_shares(
    blocks: np.ndarray, typical: np.ndarray, inside: np.ndarray, independent: float
) -> Tuple[np.ndarray, float]:
    """N of every coefficient in units of the typical power, and the standard error of log N.

    Parameters
    ----------
    blocks : powers ``(count, side, side, side // 2 + 1)`` in units of the typical one.
    typical : that power.
    inside : the coefficients that were measured.
    independent : of the blocks, the share that counts.
    """
    side = typical.shape[0]
    away, along = _ring_places(side)
    rows, columns = away.astype(int), along.astype(int)
    shape = (int(rows[inside].max()) + 1, int(columns[inside].max()) + 1)
    white = _white_blocks(side)
    excess = _excess_fluctuation(blocks, white, inside & (half_grid_frequency(side) >= FINE), rows)
    table = np.zeros((*shape, len(NOISE_LEVELS)))
    scale = np.ones(shape)
    for row, column in np.ndindex(*shape):
        ring = inside & (rows == row) & (columns == column)
        ring[0, 0, 0] = False
        if not ring.any():
            continue
        freedom = max(1.0 / (_relative_variance(white[:, ring].mean(axis=1)) + excess), FEWEST)
        powers = blocks[:, ring].mean(axis=1)
        scale[row, column] = np.median(powers)
        table[row, column] = independent * misfits(powers / scale[row, column], freedom)
    height = np.log(scale) + np.log(_ring_means(typical, rows, columns, inside, shape))
    found, error = smoothest(table, height)
    # The weighting that restores structure makes noise grow with the distance from the tilt axis;
    # where it seems to fall there, all blocks are full of structure.
    for row in range(min(RISING, shape[0] - 1) - 1, -1, -1):
        found[row] = np.minimum(found[row] + height[row], found[row + 1] + height[row + 1])
        found[row] -= height[row]
    places = np.stack([np.maximum(away - 0.5, 0.0).ravel(), np.maximum(along - 0.5, 0.0).ravel()])
    log_share = map_coordinates(found + np.log(scale), places, order=1, mode="nearest")
    return np.exp(log_share).reshape(away.shape), error


def _excess_fluctuation(
    blocks: np.ndarray, white: np.ndarray, fine: np.ndarray, rows: np.ndarray
) -> float:
    """Relative variance of fine rings' power from block to block beyond that of white noise.

    Noise whose spectrum changes over the volume has it, and structure is not to blame.
    """
    found = []
    for row in np.unique(rows[fine]):
        ring = fine & (rows == row)
        both = (_relative_variance(powers[:, ring].mean(axis=1)) for powers in (blocks, white))
        found.append(next(both) - next(both))
    return max(float(np.median(found)), 0.0)


def _relative_variance(values: np.ndarray) -> float:
    """Of the lower half alone: structure is in the upper one."""
    middle, low = np.quantile(values, (0.5, 0.16))
    return float(((middle - low) / middle) ** 2)


@functools.lru_cache(maxsize=1)
def _white_blocks(side: int) -> np.ndarray:
    """Powers of blocks of white noise."""
    generator = np.random.default_rng(0)
    size = (side,) * 3
    return np.array([_power(generator.standard_normal(size)) for _ in range(WHITE_BLOCKS)])


def _ring_means(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, inside: np.ndarray,
    shape: Tuple[int, int],
) -> np.ndarray:
    """Mean of values over each ring; 1 for a ring without a coefficient."""
    number = rows[inside] * shape[1] + columns[inside]
    totals = np.bincount(number, values[inside], minlength=shape[0] * shape[1])
    counts = np.bincount(number, minlength=shape[0] * shape[1])
    return np.where(counts > 0, totals / np.maximum(counts, 1), 1.0).reshape(shape)
