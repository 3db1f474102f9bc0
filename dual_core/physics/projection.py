"""Projection of a volume into a tilt series, and its exact adjoint.

Geometry. Volumes are ``(z, y, x)``; y is the tilt axis and z the beam. Coordinates count
voxels from the centre of the box, ``(n - 1) / 2``, so that nothing moves when a volume is
mirrored. At the tilt angle ``theta`` the point ``(z, y, x)`` falls on the detector at row
``y`` and column::

    u = x * cos(theta) + z * sin(theta)

By the projection-slice theorem the image at that tilt holds the Fourier coefficients of the
volume on the plane ``kz / kx = tan(theta)``: the convention of
:func:`dual_core.volumes.geometry.wedge_mask`.

Method. Rotating voxels by linear interpolation blurs, more at some angles than at others. Here
the slice is evaluated exactly, by the discrete Fourier sum over the voxels at the
frequencies ``(k cos(theta), k sin(theta))``. The sum over x is one matrix product a tilt, so it
is also fast.
"""

from __future__ import annotations

import math
from typing import Iterator, Sequence, Tuple

import numpy as np
from scipy import fft

# Bytes of the largest temporary array; rows of y are treated in blocks to stay below it.
_BLOCK_BYTES = 64 * 2**20


def detector_width(shape: Sequence[int]) -> int:
    """Columns of a detector that sees every voxel of `shape` ``(z, y, x)`` at every tilt."""
    return int(fft.next_fast_len(math.ceil(math.hypot(shape[0], shape[2])) + 2, real=True))


def detector_position(point: Sequence[float], shape: Sequence[int], angle: float) -> float:
    """Detector column (0-based, in pixels) of the voxel position `point` ``(z, y, x)``.

    `angle` in degrees. The row is ``y``, whatever the tilt.
    """
    z, x = point[0] - (shape[0] - 1) / 2, point[2] - (shape[2] - 1) / 2
    u = x * math.cos(math.radians(angle)) + z * math.sin(math.radians(angle))
    return u + (detector_width(shape) - 1) / 2


def project(volume: np.ndarray, angles: Sequence[float]) -> np.ndarray:
    """Project `volume` at every one of `angles`.

    Parameters
    ----------
    volume
        ``(z, y, x)``; a slab may be wider than thick.
    angles
        Tilt angles in degrees.

    Returns
    -------
    numpy.ndarray
        ``(tilt, y, u)`` float32, sums along the beam in units of density times voxel. ``u`` has
        :func:`detector_width` columns, so nothing is cut off.

    Notes
    -----
    Bracewell's projection-slice theorem; see Natterer, *The Mathematics of Computerized
    Tomography* (1986), chapter II.
    """
    nz, ny, nx = volume.shape
    width = detector_width(volume.shape)
    spectra = np.zeros((len(angles), ny, _frequency_count(width)), np.complex64)
    for rows in _row_blocks(ny, nz, width):
        block = np.ascontiguousarray(volume[:, rows], dtype=np.float32)
        matrix = block.reshape(-1, nx)
        for spectrum, angle in zip(spectra[:, rows], angles):
            along_x, along_z = _phases(volume.shape, width, angle)
            slices = (matrix @ along_x.view(np.float32)).view(np.complex64)
            slices = slices.reshape(nz, -1, slices.shape[1])
            for plane, phase in zip(slices, along_z):
                spectrum += plane * phase
    spectra *= np.conj(_detector_phase(width))
    return np.ascontiguousarray(fft.irfft(spectra, n=width, axis=2), dtype=np.float32)


def back_project(
    projections: np.ndarray, angles: Sequence[float], shape: Sequence[int]
) -> np.ndarray:
    """Smear `projections` back through a volume, the adjoint of :func:`project`.

    Parameters
    ----------
    projections
        ``(tilt, y, u)`` with :func:`detector_width` columns.
    angles
        Tilt angles in degrees.
    shape
        ``(z, y, x)`` of the volume.

    Returns
    -------
    numpy.ndarray
        ``(z, y, x)`` float32: for every voxel the sum, over the tilts, of the band-limited
        projection at the place where the voxel falls.
    """
    nz, ny, nx = (int(n) for n in shape)
    width = detector_width(shape)
    if projections.shape != (len(angles), ny, width):
        raise ValueError(f"projections {projections.shape} do not fit angles and shape {shape}")
    count = _frequency_count(width)
    spectra = fft.rfft(projections.astype(np.float32, copy=False), axis=2)[:, :, :count]
    # A real image is the mean term plus twice the real part of the positive frequencies.
    spectra *= (_detector_phase(width) * 2 / width).astype(np.complex64)
    spectra[:, :, 0] /= 2
    volume = np.empty((nz, ny, nx), np.float32)
    for rows in _row_blocks(ny, nz, width):
        depth = rows.stop - rows.start
        total = np.zeros((nz * depth, nx), np.float32)
        smeared = np.empty((nz, depth, count), np.complex64)
        for spectrum, angle in zip(spectra[:, rows], angles):
            along_x, along_z = _phases(shape, width, angle)
            np.multiply(spectrum[None], np.conj(along_z)[:, None, :], out=smeared)
            flat = smeared.reshape(-1, count).view(np.float32)
            total += flat @ along_x.view(np.float32).T
        volume[:, rows] = total.reshape(nz, depth, nx)
    return volume


def _frequency_count(width: int) -> int:
    # The Nyquist term is left out: its sign is undefined for shifts of half a pixel.
    return (width + 1) // 2


def _phases(shape: Sequence[int], width: int, angle: float) -> Tuple[np.ndarray, np.ndarray]:
    """Fourier factors ``(x, k)`` and ``(z, k)`` of the slice at `angle` degrees, complex64."""
    frequency = np.arange(_frequency_count(width)) / width
    x = np.arange(shape[2]) - (shape[2] - 1) / 2
    z = np.arange(shape[0]) - (shape[0] - 1) / 2
    theta = math.radians(angle)
    along_x = np.exp(-2j * np.pi * math.cos(theta) * np.outer(x, frequency))
    along_z = np.exp(-2j * np.pi * math.sin(theta) * np.outer(z, frequency))
    return along_x.astype(np.complex64), along_z.astype(np.complex64)


def _detector_phase(width: int) -> np.ndarray:
    """Factor that moves the origin from column 0 to the detector's centre."""
    frequency = np.arange(_frequency_count(width)) / width
    return np.exp(2j * np.pi * frequency * (width - 1) / 2).astype(np.complex64)


def _row_blocks(ny: int, nz: int, width: int) -> Iterator[slice]:
    """Blocks of y rows; every row is independent of the others, as y is the tilt axis."""
    rows = max(1, _BLOCK_BYTES // (8 * nz * _frequency_count(width)))
    for start in range(0, ny, rows):
        yield slice(start, min(start + rows, ny))
