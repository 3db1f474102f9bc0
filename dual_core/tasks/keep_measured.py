"""What the network leaves unexplained is given back where it is more than noise.

A network knows what its clean domain shows. What a tomogram shows beside it, it drops, and nothing
in the result tells. With the linear model ``t = H v + n`` the rest is known: ``R = T - H D``, the
tomogram less what the density explains. Where the rest is noise its power is N. Where it is more,
in a block and a band of frequencies, there is structure in it, and the Wiener filter of that block,
``1 - N / P_R``, gives it back, as density (over H): a result so never knows less than a local
filter. Only measured coefficients are given back.

* Noise fluctuates: a band must be above N by `SURE` of its deviations before anything comes back.
* Noise is not equally strong everywhere: N of a block is scaled to the block's finest band.
* Gold is far above all else, and its fringes would come back as rings: R is limited to `LIMIT`
  deviations of the noise.

Blocks of 32 voxels overlap by half under a sine window, whose square adds up to 1, so there is no
seam; the volume is streamed along z.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator, List, Optional, Tuple

import numpy as np
import scipy.fft

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.tapered_power import half_grid_frequency, on_grid
from dual_core.volumes.geometry import sine_taper
from dual_core.volumes.interface import ReadableVolume, Triple
from dual_core.volumes.writer import VolumeWriter

SIDE = 32  # of a block, in voxels
STEP = SIDE // 2
EDGES = (0.0, 0.045, 0.065, 0.085, 0.11, 0.14, 0.18, 0.24, 0.32)  # cycles per voxel
FINE = 0.32  # from here a block's power is its noise's
LEVEL_RANGE = (0.5, 2.0)  # of a block's noise, in the mean noise
SURE = 1.0  # deviations of a band's noise power
LIMIT = 8.0  # deviations of the noise, beyond which R is cut
CORRELATED = 3.4  # coefficients that one independent one stands for under the window
BLOCKS_AT_ONCE = 64
WEAKEST_TRANSFER = 0.1  # H below which what comes back is not brought to the density's strength

Read = Callable[[Triple, Triple], np.ndarray]
Progress = Callable[[int, int], None]


class LocalWiener:
    """The filter of one block after another.

    Parameters
    ----------
    model : the linear model, in units of the standardised tomogram.
    """

    def __init__(self, model: LinearModel) -> None:
        shape = (SIDE,) * 3
        frequency = half_grid_frequency(SIDE)
        measured = np.ones_like(frequency, dtype=bool)
        if model.measured is not None:
            measured = on_grid(model.measured, shape) > 0.5
        axis = sine_taper(SIDE).astype(np.float32)
        self.window = axis[:, None, None] * axis[:, None] * axis
        self._transfer = on_grid(model.transfer, shape)
        # The window takes an eighth of the power.
        self._back = self._transfer / (self._transfer**2 + WEAKEST_TRANSFER**2)
        self._noise = on_grid(model.noise_amplitude, shape) ** 2 * float(np.mean(self.window**2))
        self._noise = np.maximum(self._noise, 1e-9)
        self._bands: List[np.ndarray] = []
        for low, high in zip(EDGES, EDGES[1:]):
            band = np.flatnonzero(measured & (frequency >= low) & (frequency < high))
            if band.size:
                self._bands.append(band)
        self._fine = np.flatnonzero(measured & (frequency >= FINE))
        spread = on_grid(model.noise_amplitude, shape) ** 2
        self.deviation = float(np.sqrt(spread.mean()))

    def __call__(self, tomogram: np.ndarray, density: np.ndarray) -> np.ndarray:
        """What blocks ``(count, side, side, side)`` are given back, under the window twice."""
        axes = (1, 2, 3)
        rest = scipy.fft.rfftn(tomogram * self.window, axes=axes, norm="ortho")
        rest -= self._transfer * scipy.fft.rfftn(density * self.window, axes=axes, norm="ortho")
        limit = LIMIT * self.deviation * self.window
        plain = scipy.fft.irfftn(rest, s=(SIDE,) * 3, axes=axes, norm="ortho")
        rest = scipy.fft.rfftn(np.clip(plain, -limit, limit), axes=axes, norm="ortho")
        relative = (rest.real**2 + rest.imag**2) / self._noise
        relative = relative.reshape(len(rest), -1)
        level = np.ones(len(rest))
        if self._fine.size:
            level = np.clip(relative[:, self._fine].mean(axis=1), *LEVEL_RANGE)
        gain = np.zeros_like(relative)
        for band in self._bands:
            power = relative[:, band].mean(axis=1) / level
            threshold = 1.0 + SURE * np.sqrt(CORRELATED / band.size)
            share = np.maximum(1.0 - threshold / np.maximum(power, 1e-9), 0.0)
            gain[:, band] = share[:, None]
        given = scipy.fft.irfftn(
            rest * gain.reshape(rest.shape) * self._back, s=(SIDE,) * 3, axes=axes, norm="ortho"
        )
        return (given * self.window).astype(np.float32)


def given_back(
    read: Read, denoised: ReadableVolume, model: LinearModel
) -> Iterator[Tuple[int, np.ndarray]]:
    """What a volume is given back, ``(first plane, (planes, y, x) float32)`` slab after slab.

    Parameters
    ----------
    read : ``read(start, size)``, the standardised tomogram.
    denoised : the network's output, standardised, of the same shape.
    model : the linear model.
    """
    wiener = LocalWiener(model)
    depth, rows, columns = denoised.shape
    # One step of margin on every side, mirrored, so that windows add up to 1 at the faces too.
    wide = tuple(-(-length // STEP) * STEP + 2 * STEP for length in (rows, columns))
    total = np.zeros((SIDE, *wide), dtype=np.float32)
    for first in range(-STEP, depth, STEP):
        both = [
            _mirrored(source, denoised.shape, first, wide) for source in (read, denoised.read)
        ]
        for row in range(0, wide[0] - STEP, STEP):
            starts = range(0, wide[1] - STEP, STEP)
            for group in range(0, len(starts), BLOCKS_AT_ONCE):
                chosen = starts[group : group + BLOCKS_AT_ONCE]
                blocks = [
                    np.stack([part[:, row : row + SIDE, x : x + SIDE] for x in chosen])
                    for part in both
                ]
                for x, block in zip(chosen, wiener(*blocks)):
                    total[:, row : row + SIDE, x : x + SIDE] += block
        if first >= 0:
            planes = min(STEP, depth - first)
            yield first, total[:planes, STEP : STEP + rows, STEP : STEP + columns].copy()
        total[:STEP] = total[STEP:]
        total[STEP:] = 0.0


def write_kept(
    read: Read,
    denoised: ReadableVolume,
    model: LinearModel,
    path: Path,
    progress: Optional[Progress] = None,
) -> None:
    """Write the network's output and what it is given back.

    Parameters
    ----------
    read, denoised, model : as for `given_back`.
    path : of the volume to write, beside the result.
    progress : ``progress(done, total)`` in planes.
    """
    with VolumeWriter(path, denoised.shape, denoised.voxel_size_A) as writer:
        for first, slab in given_back(read, denoised, model):
            start, size = (first, 0, 0), (len(slab), *denoised.shape[1:])
            writer.write(start, denoised.read(start, size) + slab)
            if progress is not None:
                progress(first + len(slab), denoised.shape[0])


def _mirrored(source: Read, shape: Triple, first: int, wide: Tuple[int, ...]) -> np.ndarray:
    """`SIDE` planes from `first` on with margins of `STEP` about rows and columns."""
    depth, rows, columns = shape
    period = max(2 * (depth - 1), 1)
    planes = np.arange(first, first + SIDE) % period
    planes = np.where(planes < depth, planes, period - planes)
    low, high = int(planes.min()), int(planes.max()) + 1
    slab = source((low, 0, 0), (high - low, rows, columns))[planes - low]
    margins = [(0, 0)] + [
        (STEP, full - STEP - length) for full, length in zip(wide, (rows, columns))
    ]
    return np.pad(slab, margins, mode="symmetric")
