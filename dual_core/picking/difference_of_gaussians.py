"""Difference of two Gaussians over a volume of any size, plane by plane in bounded memory.

Across a plane the Gaussians are multiplications in the discrete cosine transform (DCT-II). Of the
coefficients only those are kept that the narrower Gaussian lets through: with sigma 8 a twentieth.
Along z the kept coefficients are convolved directly. So the cost hardly grows with sigma, and the
only thing that is cut into blocks is the z axis of the coefficients, with all the overlap that the
kernel needs: every plane comes out the same, to the last bit, for every thickness of the blocks.

What lies outside the volume matters, as a tomogram is often thinner than five sigmas:

* ``mean``: nothing. Every plane's mean and slope are taken out, and zeros follow.
* ``mirror``: the volume mirrored at its faces, which is the default of scipy and scikit-image. It
  doubles whatever is at a face, and many maxima then lie on the faces.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor
from functools import partial
from typing import Dict, Iterator, List, Optional, Tuple

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter1d

from dual_core.errors import DualError
from dual_core.volumes.reading import ReadableVolume

# Where the narrower Gaussian has fallen to this, coefficients are left out.
_NEGLIGIBLE = 1e-7
# Half the length of the kernel along z, in sigmas: what is cut off is 6e-7 of the Gaussian.
_TRUNCATE = 5.0
_BLOCK_BYTES = 1 << 28
_SMALLEST_BLOCK = 4

BOUNDARIES = ("mean", "mirror")


class DifferenceOfGaussians:
    """Yields G(sigma) * volume - G(factor sigma) * volume, in the order of z.

    Parameters
    ----------
    volume : ReadableVolume
    sigma : float
        Of the narrower Gaussian, voxels.
    factor : float
        The wider one has ``factor * sigma``; above 1.
    sign : {1, -1}
        -1 for dark density: peaks of the result are always positive.
    boundary : {"mean", "mirror"}
        What is outside the volume, see the top of this module.
    block : int, optional
        Planes that are filtered along z at a time; changes memory and time, never the result.
        By default what suits 256 MiB.
    """

    def __init__(
        self,
        volume: ReadableVolume,
        sigma: float,
        factor: float,
        sign: int = 1,
        boundary: str = "mean",
        block: Optional[int] = None,
    ) -> None:
        self._volume = volume
        self._sigmas = (sigma, sigma * factor)
        self._sign = sign
        depth, *across = volume.shape
        self._radius = int(_TRUNCATE * self._sigmas[1] + 0.5)
        self._mirror = boundary == "mirror"
        # The transform mirrors what it is given. Its mirror images stay out of reach behind a
        # margin of zeros of half the radius on either side.
        self._margin = 0 if self._mirror else self._radius // 2 + 1
        rows, columns = across if self._mirror else (
            scipy.fft.next_fast_len(length + 2 * self._margin, real=True) for length in across
        )
        self._padded = (rows, columns)
        self._kept = (_kept(rows, sigma), _kept(columns, sigma))
        plane_bytes = 4 * self._kept[0] * self._kept[1]
        room = _BLOCK_BYTES // plane_bytes - 2 * self._radius
        self._block = min(depth, block or max(_SMALLEST_BLOCK, min(room, 4 * self._radius)))
        self._gains = [
            _gain(rows, each)[: self._kept[0], None] * _gain(columns, each)[: self._kept[1]]
            for each in self._sigmas
        ]
        # The difference does not see a constant, but float32 does where it is large.
        middle = volume.read((depth // 2, 0, 0), (1, across[0], across[1]))
        self._level = np.float32(middle.mean(dtype=np.float64))

    def planes(self, executor: Executor, threads: int) -> Iterator[np.ndarray]:
        """Yield the filtered planes ``(y, x)``, float32; work is spread over the executor.

        Raises
        ------
        DualError
            NaN or infinite values.
        """
        depth = self._volume.shape[0]
        transformed: Dict[int, np.ndarray] = {}
        for start in range(0, depth, self._block):
            stop = min(start + self._block, depth)
            first, last = max(0, start - self._radius), min(depth, stop + self._radius)
            missing = [z for z in range(first, last) if z not in transformed]
            transformed.update(zip(missing, executor.map(self._transform, missing)))
            for z in [z for z in transformed if z < first]:
                del transformed[z]
            stack = np.stack([transformed[z] for z in range(first, last)])
            along_z = partial(self._along_z, stack, slice(start - first, stop - first))
            pieces = list(executor.map(along_z, _parts(self._kept[0], threads)))
            del stack
            for begin in range(0, stop - start, threads):
                batch = range(begin, min(begin + threads, stop - start))
                yield from executor.map(partial(self._inverse, pieces), batch)

    def _transform(self, z: int) -> np.ndarray:
        _, rows, columns = self._volume.shape
        plane = self._volume.read((z, 0, 0), (1, rows, columns))[0]
        if not math.isfinite(float(plane.sum(dtype=np.float64))):
            y, x = np.argwhere(~np.isfinite(plane))[0]
            raise DualError(
                f"{self._volume.name}: NaN or infinite values, the first at z, y, x = "
                f"{z}, {y}, {x} (counted from 0); reconstruct it again or replace them"
            )
        plane -= self._level
        plane *= self._sign
        if not self._mirror:
            whole = np.zeros(self._padded, dtype=np.float32)
            whole[self._margin :, self._margin :][:rows, :columns] = _without_slope(plane)
            plane = whole
        across = scipy.fft.dct(plane, axis=1, norm="ortho", overwrite_x=True)
        across = np.ascontiguousarray(across[:, : self._kept[1]])
        return scipy.fft.dct(across, axis=0, norm="ortho", overwrite_x=True)[: self._kept[0]].copy()

    def _along_z(self, stack: np.ndarray, inner: slice, part: slice) -> np.ndarray:
        """The difference in the coefficients of a part of the rows, planes ``inner`` only."""
        mode = "reflect" if self._mirror else "constant"
        narrow, wide = (
            gaussian_filter1d(stack[:, part], sigma, axis=0, mode=mode, truncate=_TRUNCATE)[inner]
            * gain[part]
            for sigma, gain in zip(self._sigmas, self._gains)
        )
        return narrow - wide

    def _inverse(self, pieces: List[np.ndarray], index: int) -> np.ndarray:
        _, rows, columns = self._volume.shape
        down = scipy.fft.idct(
            np.concatenate([piece[index] for piece in pieces]),
            n=self._padded[0],
            axis=0,
            norm="ortho",
            overwrite_x=True,
        )[self._margin :][:rows]
        across = scipy.fft.idct(down, n=self._padded[1], axis=1, norm="ortho", overwrite_x=True)
        return across[:, self._margin :][:, :columns]


def _without_slope(plane: np.ndarray) -> np.ndarray:
    """The plane less its mean and its linear trend along both axes."""
    mean = plane.mean(dtype=np.float64)
    for axis in (0, 1):
        profile = plane.mean(axis=1 - axis, dtype=np.float64) - mean
        position = np.arange(profile.size) - (profile.size - 1) / 2
        slope = (profile @ position) / max(float(position @ position), 1.0)
        trend = (slope * position).astype(np.float32)
        plane = plane - (trend[:, None] if axis == 0 else trend)
    return plane - np.float32(mean)


def _kept(length: int, sigma: float) -> int:
    """How many cosine coefficients the Gaussian lets through."""
    highest = math.sqrt(-2 * math.log(_NEGLIGIBLE)) / sigma
    return min(length, int(highest * length / math.pi) + 2)


def _gain(length: int, sigma: float) -> np.ndarray:
    """The Gaussian's factor for every cosine coefficient, float32."""
    angle = np.arange(length) * (math.pi / length)
    # A Gaussian that is sampled at the voxels has its images too, and is normalised with them.
    images = [np.exp(-0.5 * (sigma * (angle + 2 * math.pi * k)) ** 2) for k in (-2, -1, 0, 1, 2)]
    gain = np.sum(images, axis=0)
    return (gain / gain[0]).astype(np.float32)


def _parts(length: int, number: int) -> List[slice]:
    bounds = np.linspace(0, length, min(number, length) + 1).astype(int).tolist()
    return [slice(first, last) for first, last in zip(bounds[:-1], bounds[1:])]


def local_maxima(
    before: Optional[np.ndarray], plane: np.ndarray, after: Optional[np.ndarray]
) -> Tuple[np.ndarray, np.ndarray]:
    """Positive voxels of a plane that are larger than all of their 26 neighbours.

    Of equal neighbours the first in the order of z, y, x counts as the larger one, so that a
    flat top gives one maximum where it is a box. Neighbours outside the volume do not count.

    Parameters
    ----------
    before, after : ndarray, (y, x), optional
        The planes below and above; None outside the volume.
    plane : ndarray, (y, x)

    Returns
    -------
    y, x : ndarray of int
    """
    found = plane > 0
    # The six nearest neighbours leave so few that the other twenty can be looked up one by one.
    for axis in (0, 1):
        earlier, later = [slice(None)] * 2, [slice(None)] * 2
        earlier[axis], later[axis] = slice(None, -1), slice(1, None)
        one, other = tuple(earlier), tuple(later)
        rises = plane[other] > plane[one]
        found[other] &= rises
        found[one] &= ~rises
    if before is not None:
        found &= plane > before
    if after is not None:
        found &= plane >= after
    y, x = np.nonzero(found)
    keep = np.ones(y.size, dtype=bool)
    values = plane[y, x]
    for step, neighbour in ((-1, before), (0, plane), (1, after)):
        if neighbour is None:
            continue
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if (step, dy, dx) == (0, 0, 0):
                    continue
                there_y, there_x = y + dy, x + dx
                inside = (there_y >= 0) & (there_y < plane.shape[0])
                inside &= (there_x >= 0) & (there_x < plane.shape[1])
                there = neighbour[
                    np.clip(there_y, 0, plane.shape[0] - 1), np.clip(there_x, 0, plane.shape[1] - 1)
                ]
                larger = values > there if (step, dy, dx) < (0, 0, 0) else values >= there
                keep &= larger | ~inside
    return y[keep], x[keep]
