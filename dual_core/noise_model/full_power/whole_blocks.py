"""The power of tomograms by blocks as thick as they are: single tilts show in it as rays.

The log power of a typical block is the median over blocks, which the few with gold do not change.
Blocks are tapered, and a taper smears: rays as thin as one over the thickness, and the edge of
the missing wedge. `field_power` finds the power of a field whose blocks look like that.

Everything is on the half grid of ``(side, HEIGHT, side)`` voxels, in units of white noise of
deviation 1. Along the tilt axis y power is smooth, so that few coefficients do.
"""

from __future__ import annotations

from typing import List, Sequence

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter1d

from dual_core.errors import DualError
from dual_core.tiles.plan import as_triple
from dual_core.volumes.geometry import half_overlapping, sine_taper, squared_sine_window
from dual_core.volumes.interface import Triple
from dual_core.volumes.patches import MOST_BLANK, StandardisedVolume

THICKEST = 100  # voxels of a block along z and x: neighbouring rays are apart from half of it on
HEIGHT, BLOCK_HEIGHT = 32, 28  # of the grid and of the blocks along the tilt axis, in voxels
ROOM = 1.6  # side of the grid over that of the blocks: as much reaches noise beyond a block
MOST_BLOCKS = 160
STEPS = 12
FASTER = 2.0  # exponent of a step: as good as two
LARGEST_CHANGE = 5.0
FLOOR = 1e-6
SMOOTHING = 1.0  # coefficients along the tilt axis


def grid_of(thickness: int) -> Triple:
    """The grid ``(side, HEIGHT, side)`` for tomograms of a thickness in voxels."""
    side = int(ROOM * min(thickness, THICKEST))
    return side - side % 2, HEIGHT, side - side % 2


def block_of(grid: Triple) -> Triple:
    """The blocks whose power is on a grid."""
    side = int(np.ceil(grid[0] / ROOM))
    return side, BLOCK_HEIGHT, side


def typical_power(
    volumes: Sequence[StandardisedVolume], grid: Triple, generator: np.random.Generator
) -> np.ndarray:
    """The power of a typical block, ``(side, HEIGHT, side // 2 + 1)``, float32.

    Both directions along the tilt axis are taken together.

    Raises
    ------
    DualError
        For tomograms that are shorter than a block.
    """
    block = as_triple([
        min(wanted, *(entry.volume.shape[axis] for entry in volumes))
        for axis, wanted in enumerate(block_of(grid))
    ])
    window = squared_sine_window(block).astype(np.float32)
    window /= np.sqrt(np.sum(window**2))
    each = MOST_BLOCKS // len(volumes) + 1
    powers: List[np.ndarray] = []
    for entry in volumes:
        for start in _starts(entry, block, each, generator):
            spectrum = scipy.fft.rfftn(entry.read(start, block) * window, s=grid)
            powers.append(np.abs(spectrum).astype(np.float32) ** 2)
    if not powers:
        raise DualError("the tomograms are blank wherever their noise was to be measured")
    # The power of a coefficient of noise is spread exponentially: its median is ln 2 of its mean.
    median = np.log(np.maximum(np.median(powers, axis=0) / np.log(2.0), FLOOR))
    both = (median + np.roll(median[:, ::-1], 1, axis=1)) / 2
    power: np.ndarray = np.exp(gaussian_filter1d(both, SMOOTHING, axis=1, mode="wrap"))
    return power


def field_power(typical: np.ndarray, grid: Triple) -> np.ndarray:
    """The power with which a field's blocks have a `typical_power`.

    Found by multiplying with the ratio of what is wanted and what comes out, as in
    `dual_core.noise_model.tapered_power.unsmeared`.
    """
    double: Triple = (2 * grid[0], 2 * grid[1], 2 * grid[2])
    overlap = _overlap(block_of(grid), double)
    found = typical.astype(np.float32)
    for _ in range(STEPS):
        response = scipy.fft.rfftn(kernel_on(np.sqrt(found), grid, double))
        covariance = scipy.fft.irfftn(np.abs(response) ** 2, s=double) * overlap
        seen = np.maximum(scipy.fft.rfftn(covariance).real[::2, ::2, ::2], FLOOR)
        ratio = np.clip((typical / seen) ** FASTER, 1 / LARGEST_CHANGE, LARGEST_CHANGE)
        found = np.maximum(found * ratio, FLOOR)
    return found


def kernel_on(amplitude: np.ndarray, grid: Triple, shape: Triple) -> np.ndarray:
    """The filter of an amplitude in space, about the origin of a grid of another shape.

    Parameters
    ----------
    amplitude : on the half grid of `grid`.
    shape : ``(z, y, x)``; where it is smaller than the grid the ends of the filter are cut.
    """
    kernel = scipy.fft.irfftn(amplitude.astype(np.float32), s=grid)
    result = np.zeros(shape, dtype=np.float32)
    here, there = [], []
    for length, wanted in zip(grid, shape):
        half = min(length, wanted) // 2
        lags = np.arange(-half, half)
        here.append(lags % length)
        there.append(lags % wanted)
    result[np.ix_(*there)] = kernel[np.ix_(*here)]
    return result


def _starts(
    entry: StandardisedVolume, block: Triple, most: int, generator: np.random.Generator
) -> List[Triple]:
    """Corners of blocks half a block apart, at random where there would be too many."""
    corners = half_overlapping(entry.volume.shape, block)
    starts = [corners[at] for at in np.sort(generator.permutation(len(corners))[:most])]
    return [start for start in starts if entry.blank(start, block) <= MOST_BLANK]


def _overlap(block: Triple, grid: Triple) -> np.ndarray:
    """Products of the blocks' window with itself at every lag of a grid; 1 at lag 0."""
    axes: List[np.ndarray] = []
    for length, size in zip(block, grid):
        power = np.abs(np.fft.rfft(sine_taper(length) ** 2, 2 * max(size, length))) ** 2
        products = np.fft.irfft(power)
        lags = np.minimum(np.arange(size), size - np.arange(size))
        axes.append((products[lags] / products[0]).astype(np.float32))
    z, y, x = axes
    return z[:, None, None] * y[None, :, None] * x[None, None, :]
