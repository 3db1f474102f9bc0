"""Orientations of molecules and their Euler angles.

An orientation is a rotation matrix ``M``, acting on ``(x, y, z)`` columns, that turns the
molecule as it is in its file into the molecule as it lies in the grand model:
``r_model = M r_file + centre``.

Euler angles are RELION's rot, tilt and psi, in degrees: intrinsic ZYZ rotations of the
coordinate system. With ``R(rot, tilt, psi) = Rz(rot) Ry(tilt) Rz(psi)``, right-handed,
``M = R(rot, tilt, psi)`` transposed.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np
from scipy.spatial.transform import Rotation

CONVENTION = ("RELION rot, tilt, psi: intrinsic ZYZ rotations of the coordinate system, degrees; "
              "r_model = (Rz(rot) Ry(tilt) Rz(psi))^T r_file + centre, columns (x, y, z), "
              "right-handed")


def random_orientation(rng: np.random.Generator) -> np.ndarray:
    """Uniformly distributed rotation matrix ``(3, 3)`` for ``(x, y, z)`` columns."""
    quaternion = rng.standard_normal(4)
    return np.asarray(Rotation.from_quat(quaternion / np.linalg.norm(quaternion)).as_matrix())


def orientation_along(normal: np.ndarray, spin: float) -> np.ndarray:
    """Orientation that turns z onto `normal` ``(x, y, z)`` after a turn of `spin` about z."""
    x, y, z = np.asarray(normal, dtype=np.float64) / np.linalg.norm(normal)
    azimuth, polar = np.arctan2(y, x), np.arccos(np.clip(z, -1.0, 1.0))
    return np.asarray(Rotation.from_euler("ZYZ", [azimuth, polar, spin]).as_matrix())


def euler_angles(orientation: np.ndarray) -> Tuple[float, float, float]:
    """rot, tilt, psi (degrees) of an orientation, as in the module's convention."""
    rotation = Rotation.from_matrix(np.asarray(orientation).T)
    if abs(abs(float(orientation[2, 2])) - 1.0) < 1e-12:
        # Only rot + psi (or their difference) is defined: all of it goes into rot, psi is 0.
        flipped = float(orientation[2, 2]) < 0.0
        matrix = rotation.as_matrix()
        sign = -1.0 if flipped else 1.0
        rot = np.degrees(np.arctan2(sign * matrix[1, 0], sign * matrix[0, 0]))
        return float(rot), 180.0 if flipped else 0.0, 0.0
    rot, tilt, psi = rotation.as_euler("ZYZ", degrees=True)
    return float(rot), float(tilt), float(psi)


def orientation_from_euler(rot: float, tilt: float, psi: float) -> np.ndarray:
    """Orientation ``(3, 3)`` of rot, tilt, psi (degrees): the inverse of `euler_angles`."""
    return np.asarray(Rotation.from_euler("ZYZ", [rot, tilt, psi], degrees=True).as_matrix().T)


def as_zyx(orientation: np.ndarray) -> np.ndarray:
    """The same rotation for ``(z, y, x)`` columns."""
    return np.asarray(orientation)[::-1, ::-1]
