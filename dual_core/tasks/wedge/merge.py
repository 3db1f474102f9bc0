r"""Filling the missing wedge of one volume from another, in memory that does not grow with it.

With ``t`` the measured volume, ``f`` the one that fills, ``W`` the weight of the wedge and ``G`` a
gain over the spatial frequency, all in Fourier space,

.. math:: \text{out} = t + W (G f - t)

so where ``W`` is 0 the coefficients of ``t`` stay what they were, and the result is the volume
itself plus a correction that lives in the wedge alone. ``W`` is 0 on every coefficient that
`dual_core.volumes.geometry.wedge_mask` calls measured and rises to 1 over the soft edge, which lies
inside
the missing wedge.

The wedge of a tilt about y does not depend on :math:`k_y`: every plane ``(z, x)`` is filled by
itself, and the volume goes through in slabs of such planes. A gain couples neighbouring planes
over a few voxels; slabs then overlap by `GAIN_HALO` planes.

A Fourier transform takes opposite faces for neighbours. So the planes are mirrored beyond
their faces and faded out before the transform, and the correction is cropped after it. Cropping
alone would leak a little of it into the measured coefficients of the cropped plane (correlation
with the input there 0.998 on a thin tomogram); so of the cropped correction only what lies in the
wedge of the plane itself is added, and what was measured stays to rounding.

Volumes are ``(z, y, x)``, the tilt axis is y; turn volumes that were tilted about x.
"""

from __future__ import annotations

from typing import Iterator, Optional, Tuple

import numpy as np
import scipy.fft

from dual_core.errors import DualError
from dual_core.overlap import threads
from dual_core.tasks.wedge.gain import GainCurve
from dual_core.tasks.wedge.planes import masked
from dual_core.tiles.stream import read_mirrored
from dual_core.volumes.geometry import wedge_mask
from dual_core.volumes.reading import ArrayVolume, ReadableVolume, Triple

SOFT_EDGE_DEG = 3.0
PADDING = 48  # voxels beyond the faces along z and x
SLAB_VOXELS = 1 << 27  # of a padded slab, 512 MiB of float32; four to five times that in all
GAIN_HALO = 24  # planes; the gain is smooth over 1/64 per voxel, so it reaches no further

Range = Tuple[float, float]


def wedge_weight(
    shape: Tuple[int, int], tilt_range: Range, soft_edge_deg: float = SOFT_EDGE_DEG
) -> np.ndarray:
    """Weight of what fills, on the half grid of a real transform over ``(z, x)``.

    Parameters
    ----------
    shape : ``(z, x)`` of the plane.
    tilt_range : smallest and largest tilt in degrees; sign as in `dual_core.volumes.geometry`.
    soft_edge_deg : width of the rise from 0 to 1, at most half of the wedge.

    Returns
    -------
    numpy.ndarray
        float32, ``(z, x // 2 + 1)``, in the order of `scipy.fft.rfft2`; exactly 0 where measured.

    Raises
    ------
    DualError
        An impossible range or soft edge, or a range that leaves nothing missing.
    """
    depth, width = shape
    half = width // 2 + 1
    measured = wedge_mask((depth, 1, width), tilt_range)[:, 0, :half]
    missing_deg = 180.0 - (tilt_range[1] - tilt_range[0])
    if missing_deg <= 0:
        raise DualError(
            f"tilt range {tilt_range[0]:g} to {tilt_range[1]:g}: nothing is missing; there is "
            "nothing to fill"
        )
    if not 0 <= soft_edge_deg <= missing_deg / 2:
        raise DualError(
            f"a soft edge of {soft_edge_deg:g} degrees does not fit: choose 0 to "
            f"{missing_deg / 2:g}, half of the missing wedge"
        )
    z = np.fft.fftfreq(depth)
    x = np.fft.rfftfreq(width)
    weight = np.ones((depth, half))
    # The frequency 1/2 of an even side is -1/2 as well, see `geometry.wedge_mask`.
    for z_sign in (1, -1):
        for x_sign in (1, -1):
            z_alias = np.where(np.abs(z) == 0.5, z_sign * z, z)[:, None]
            x_alias = np.where(x == 0.5, x_sign * x, x)[None, :]
            weight = np.minimum(
                weight, _rise(z_alias, x_alias, tilt_range, missing_deg, soft_edge_deg)
            )
    return np.where(measured, 0.0, weight).astype(np.float32)


def _rise(
    z: np.ndarray, x: np.ndarray, tilt_range: Range, missing_deg: float, soft_edge_deg: float
) -> np.ndarray:
    """A raised cosine of the angle to the nearer edge of the wedge."""
    into = np.mod(np.degrees(np.arctan2(z, x)) - tilt_range[1], 180.0)
    distance = np.minimum(into, missing_deg - into)
    if soft_edge_deg == 0:
        return (distance > 0).astype(float)
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(distance / soft_edge_deg, 0.0, 1.0))


def merge_slabs(
    measured: ReadableVolume,
    fill: ReadableVolume,
    tilt_range: Range,
    soft_edge_deg: float = SOFT_EDGE_DEG,
    factor: float = 1.0,
    gain: Optional[GainCurve] = None,
    slab_voxels: int = SLAB_VOXELS,
) -> Iterator[Tuple[Triple, np.ndarray]]:
    """Fill the wedge of a volume slab by slab.

    Parameters
    ----------
    measured, fill : of one shape ``(z, y, x)``, tilt axis y.
    tilt_range, soft_edge_deg : as in `wedge_weight`.
    factor : units of ``measured`` over those of ``fill``.
    gain : a gain over the frequency, instead of the factor.
    slab_voxels : bound on the voxels of a padded slab; one plane is always taken.

    Yields
    ------
    start, block : where it lies, and float32 ``(z, planes, x)``; each voxel once.
    """
    if tuple(measured.shape) != tuple(fill.shape):
        raise ValueError(f"shapes {measured.shape} and {fill.shape} differ")
    depth, planes, width = measured.shape
    padded = (
        scipy.fft.next_fast_len(depth + 2 * _padding(depth)),
        scipy.fft.next_fast_len(width + 2 * _padding(width), real=True),
    )
    before = tuple((p - n) // 2 for p, n in zip(padded, (depth, width)))
    weight = wedge_weight(padded, tilt_range, soft_edge_deg)[:, None, :]
    fade = _fade(depth, padded[0])[:, None, None] * _fade(width, padded[1])[None, None, :]
    missing = ~wedge_mask((depth, 1, width), tilt_range)[:, :, : width // 2 + 1]
    halo = 0 if gain is None else GAIN_HALO
    at_once = max(1, slab_voxels // (padded[0] * padded[1]) - 2 * halo)

    def spectrum(volume: ReadableVolume, first: int, number: int) -> np.ndarray:
        block = read_mirrored(
            volume.read, volume.shape, (-before[0], first, -before[1]),
            (padded[0], number, padded[1]),
        )
        # The mean of a plane is in no wedge; taken out, it makes no step where the plane fades.
        core = block[before[0] : before[0] + depth, :, before[1] : before[1] + width]
        block -= core.mean(axis=(0, 2), dtype=np.float64).astype(np.float32)[None, :, None]
        block *= fade
        return scipy.fft.rfft2(block, axes=(0, 2), overwrite_x=True, workers=threads())

    for first in range(0, planes, at_once):
        number = min(at_once, planes - first)
        change = spectrum(fill, first - halo, number + 2 * halo)
        if gain is None:
            change *= np.float32(factor)
        else:
            _apply_gain(change, gain, padded[1], weight[:, 0, :] > 0)
            change = change[:, halo : halo + number]
        change -= spectrum(measured, first, number)
        change *= weight
        correction = scipy.fft.irfft2(
            change, s=padded, axes=(0, 2), overwrite_x=True, workers=threads()
        )
        del change
        correction = correction[before[0] : before[0] + depth, :, before[1] : before[1] + width]
        block = measured.read((0, first, 0), (depth, number, width))
        block += masked(correction, missing)
        yield (0, first, 0), block


def merge_wedge(
    measured: np.ndarray,
    fill: np.ndarray,
    tilt_range: Range,
    soft_edge_deg: float = SOFT_EDGE_DEG,
    factor: float = 1.0,
    gain: Optional[GainCurve] = None,
    slab_voxels: int = SLAB_VOXELS,
) -> np.ndarray:
    """`merge_slabs` for arrays: the whole result, float32 ``(z, y, x)``."""
    result = np.empty(measured.shape, np.float32)
    volumes = ArrayVolume(measured, 1.0), ArrayVolume(fill, 1.0)
    for start, block in merge_slabs(
        *volumes, tilt_range, soft_edge_deg, factor, gain, slab_voxels
    ):
        result[:, start[1] : start[1] + block.shape[1]] = block
    return result


def _apply_gain(
    spectrum: np.ndarray, gain: GainCurve, width: int, where: np.ndarray
) -> None:
    """Multiply planes that are transformed along z and x by a gain over all three axes.

    ``where`` ``(z, x // 2 + 1)`` says which coefficients are asked for; the others stay.
    """
    depth, planes, _ = spectrum.shape
    y = np.fft.fftfreq(planes)[:, None]
    x = np.fft.rfftfreq(width)[None, :]
    for z, plane, columns in zip(np.fft.fftfreq(depth), spectrum, where):
        if not columns.any():
            continue
        whole = scipy.fft.fft(plane[:, columns], axis=0, overwrite_x=True, workers=threads())
        whole *= gain(np.sqrt(z**2 + y**2 + x[:, columns] ** 2))
        plane[:, columns] = scipy.fft.ifft(
            whole, axis=0, overwrite_x=True, workers=threads()
        )


def _padding(length: int) -> int:
    return min(PADDING, length)


def _fade(length: int, padded: int) -> np.ndarray:
    """1 inside, a raised cosine down to 0 beyond the faces; float32."""
    before = (padded - length) // 2
    position = np.arange(padded) - before
    outside = np.maximum(np.maximum(-position, position - length + 1), 0)
    reach = max(padded - length, 2) / 2
    return (0.5 + 0.5 * np.cos(np.pi * np.minimum(outside / reach, 1.0))).astype(np.float32)
