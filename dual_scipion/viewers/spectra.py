"""Power spectra of a central block: the radial curve, and the planes that show the missing wedge.

Pure numpy. Blocks are ``(z, y, x)``, spectra are centred: frequency zero is in the middle.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Tuple

import numpy as np

from dual_scipion.slices import read_block, read_shape

LARGEST_SIDE = 128  # voxels of the block
_FLOOR = 1e-12  # added to the power before the logarithm, relative to the deviation squared
_NEAR_ZERO = 0.06  # y frequencies (per voxel) of the planes that are averaged


class Spectrum(NamedTuple):
    """The power of one volume, as log10 of the power in units of the deviation squared.

    Attributes
    ----------
    planes : tilt axis to ndarray
        ``y``: (z, x), the mean of the planes near the y frequency zero. The wedge is the same in
        each of them if the tilt axis is y, and their mean is less speckled than one. ``x``: (z, y),
        the same for the tilt axis x.
    frequency : ndarray, (n,)
        Of the curve, per angstrom, up to Nyquist.
    radial : ndarray, (n,)
        Mean over shells.
    """

    planes: Dict[str, np.ndarray]
    frequency: np.ndarray
    radial: np.ndarray


def central_block(path: str) -> np.ndarray:
    """The middle of a volume, float32 ``(z, y, x)``, at most `LARGEST_SIDE` along each axis.

    No more of the file is read.

    Raises
    ------
    DualError
        If the file cannot be read.
    """
    starts, sides = zip(*(_middle(length) for length in read_shape(path)))
    return read_block(path, starts, sides)


def _middle(length: int) -> Tuple[int, int]:
    side = min(length, LARGEST_SIDE)
    return (length - side) // 2, side


def deviation(block: np.ndarray) -> float:
    """The standard deviation of what is finite; 1 for a constant block."""
    values = block[np.isfinite(block)]
    return float(values.std(dtype=np.float64)) or 1.0 if values.size else 1.0


def spectrum(block: np.ndarray, voxel_size_A: float, unit: float) -> Spectrum:
    """The power spectrum of a block.

    The faces are tapered: otherwise the jump from one face to the opposite one draws a cross over
    the wedge.

    Parameters
    ----------
    block : ndarray, (z, y, x)
    voxel_size_A : float
    unit : float
        Values are divided by it, see `deviation`.
    """
    finite = np.isfinite(block)
    mean = block[finite].mean(dtype=np.float64) if finite.any() else 0.0
    tapered = np.where(finite, (block - mean) / unit, 0.0)
    for axis, side in enumerate(block.shape):
        window = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
        tapered *= window.reshape([-1 if a == axis else 1 for a in range(3)])
    power = np.log10(np.abs(np.fft.fftn(tapered)) ** 2 / block.size + _FLOOR)
    fz, fy, fx = (np.fft.fftfreq(side) for side in block.shape)
    near = {"y": power[:, np.abs(fy) <= _NEAR_ZERO].mean(axis=1)}
    near["x"] = power[:, :, np.abs(fx) <= _NEAR_ZERO].mean(axis=2)
    shown = {tilt_axis: np.fft.fftshift(plane) for tilt_axis, plane in near.items()}
    squares = fz[:, None, None] ** 2 + fy[:, None] ** 2 + fx**2
    shells = min(block.shape)
    shell = np.rint(np.sqrt(squares) * shells).astype(np.intp).ravel()
    # Not the first one, which the mean is in, and up to Nyquist.
    last = shells // 2 + 1
    total = np.bincount(shell, power.ravel(), minlength=last)[1:last]
    number = np.bincount(shell, minlength=last)[1:last]
    frequency = np.arange(1, last) / (shells * voxel_size_A)
    return Spectrum(shown, frequency, total / np.maximum(number, 1))
