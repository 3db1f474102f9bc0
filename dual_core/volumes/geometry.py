r"""The one place for axis order, tilt axis, missing wedge and the z/x swap.

Arrays are ``(z, y, x)``; y is the tilt axis and z the beam. Fourier coordinates are in cycles per
voxel and in the order of `numpy.fft.fftn` (not shifted).

Sign of a tilt angle
--------------------
A tilt by :math:`\theta` turns the specimen about y by

.. math:: x' = x \cos\theta + z \sin\theta, \qquad z' = -x \sin\theta + z \cos\theta

and the microscope projects it along :math:`z'`. By the projection-slice theorem this measures
the plane of the specimen's Fourier transform that is perpendicular to the beam, whose
direction in the specimen is :math:`(x, z) = (-\sin\theta, \cos\theta)`:

.. math:: k_z \cos\theta - k_x \sin\theta = 0, \quad\text{that is}\quad k_z / k_x = \tan\theta

so a tilt series from :math:`\theta_1` to :math:`\theta_2` measures
:math:`\theta_1 \le \arctan(k_z / k_x) \le \theta_2` and every :math:`k_x = k_z = 0`. With the tilt
axis along x the same holds with y in the place of x (the volume turned by 90 degrees about
the beam). A reconstruction whose angles have the other sign, or with z upside down, has the
range ``(-max, -min)``; symmetric ranges do not care.
"""

from __future__ import annotations

import itertools
from typing import List, Sequence, Tuple, TypeVar

import numpy as np

from dual_core.errors import DualError

AXES = ("z", "y", "x")
BEAM_AXIS = "z"
TILT_AXIS = "y"

# Degrees by which an angle may leave the range: only rounding, never a Fourier coefficient more.
_ANGLE_TOLERANCE = 1e-9

Array = TypeVar("Array")


def axis_index(axis: str) -> int:
    """Position of an axis, given by its letter, in ``(z, y, x)``; DualError for other letters."""
    if axis not in AXES:
        raise DualError(f"axis {axis!r}: give one of {', '.join(AXES)}")
    return AXES.index(axis)


def frequency_axes(shape: Tuple[int, int, int]) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies along each axis in cycles per voxel, shaped to broadcast over ``(z, y, x)``."""
    z, y, x = (np.fft.fftfreq(length) for length in shape)
    return z[:, None, None], y[None, :, None], x[None, None, :]


def frequency_radius(shape: Tuple[int, int, int]) -> np.ndarray:
    """Distance of every Fourier coefficient from the origin in cycles per voxel.

    Parameters
    ----------
    shape : tuple of int
        ``(z, y, x)``; need not be a cube.

    Returns
    -------
    numpy.ndarray
        float32, ``(z, y, x)``, in the order of `numpy.fft.fftn`.
    """
    z, y, x = frequency_axes(shape)
    return np.sqrt(z**2 + y**2 + x**2).astype(np.float32)


def wedge_mask(
    shape: Tuple[int, int, int],
    tilt_range: Tuple[float, float] = (-60.0, 60.0),
    tilt_axis: str = TILT_AXIS,
) -> np.ndarray:
    """Fourier coefficients that a tilt series measures; the others are the missing wedge.

    Parameters
    ----------
    shape : tuple of int
        ``(z, y, x)``; need not be a cube, angles are true in cycles per voxel.
    tilt_range : tuple of float
        Smallest and largest tilt angle in degrees, within -90..90; need not be symmetric. For
        the sign see the top of this module.
    tilt_axis : str
        ``"y"`` or ``"x"``.

    Returns
    -------
    numpy.ndarray
        bool, ``(z, y, x)``, True where measured, in the order of `numpy.fft.fftn`. Hermitian:
        a coefficient and its conjugate partner are always the same, so that the inverse transform
        of a masked real volume is real.

    Raises
    ------
    DualError
        Impossible range or axis.
    """
    smallest, largest = (float(angle) for angle in tilt_range)
    if not -90 <= smallest < largest <= 90:
        raise DualError(
            f"tilt range {smallest:g} to {largest:g}: give the smallest and the largest angle "
            "in degrees, between -90 and 90"
        )
    if tilt_axis not in ("x", "y"):
        raise DualError(f"tilt axis {tilt_axis!r}: give x or y (z is the beam)")

    beam, y, x = frequency_axes(shape)
    across = x if tilt_axis == "y" else y
    measured = _within(beam, across, smallest, largest)
    # The frequency -1/2 of an even side stands for +1/2 as well: it counts as measured where
    # either is. Without this an asymmetric range would not be Hermitian there.
    for beam_side in _aliases(beam):
        for across_side in _aliases(across):
            measured |= _within(beam_side, across_side, smallest, largest)
    return np.broadcast_to(measured, shape).copy()


def swap_beam_and_x(volume: Array) -> Array:
    """Exchange z and x: ``(..., z, y, x)`` becomes ``(..., x, y, z)``, as a view.

    Turns the missing wedge along the beam into one along x and back (it is its own inverse); the
    tilt axis stays. Takes numpy arrays and torch tensors.
    """
    return volume.swapaxes(-3, -1)  # type: ignore[attr-defined]


def sine_taper(length: int) -> np.ndarray:
    """Half a sine over ``length`` voxels, float64: keeps the ends of an axis out of a spectrum.

    It begins half a voxel in, so that it is nowhere exactly 0, not even on a short axis.
    """
    return np.sin(np.pi * (np.arange(length) + 0.5) / length)


def squared_sine_window(shape: Sequence[int]) -> np.ndarray:
    """A squared sine along each axis of a block ``(z, y, x)``, float64: leaves least in a wedge."""
    z, y, x = (sine_taper(length) ** 2 for length in shape)
    return z[:, None, None] * y[None, :, None] * x[None, None, :]


def half_overlapping(shape: Sequence[int], block: Sequence[int]) -> List[Tuple[int, int, int]]:
    """Corners ``(z, y, x)`` of blocks half a block apart or a little more, evenly over a volume.

    Along an axis with less room than half a block there is one block, at its beginning.
    """
    axes = [
        np.unique(np.linspace(0, n - side, 2 * (n - side) // side + 1).astype(int))
        for n, side in zip(shape, block)
    ]
    return [(int(z), int(y), int(x)) for z, y, x in itertools.product(*axes)]


def _within(beam: np.ndarray, across: np.ndarray, smallest: float, largest: float) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.degrees(np.arctan(beam / across))
    inside = (angle >= smallest - _ANGLE_TOLERANCE) & (angle <= largest + _ANGLE_TOLERANCE)
    # A tilt of +90 and one of -90 degrees measure the same plane.
    if smallest == -90 or largest == 90:
        inside |= (across == 0) & (beam != 0)
    return inside | ((beam == 0) & (across == 0))


def _aliases(frequencies: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    return frequencies, np.where(frequencies == -0.5, 0.5, frequencies)
