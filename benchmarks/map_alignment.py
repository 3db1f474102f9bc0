"""The orientation and the shift in which a known structure agrees best with a map.

Arrays are ``(z, y, x)``; boxes have `BOX` voxels a side, the centre at voxel ``BOX // 2``.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np
from scipy.ndimage import affine_transform, fourier_shift
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from dual_core.volumes.geometry import frequency_radius

BOX, MASK_RADIUS, MASK_EDGE = 40, 14, 3  # voxels
LIMIT_A = 45.0  # up to where maps are compared in the search
SEARCHED = 2000  # random orientations of the first search; then the best are refined
REFINED = 6


def soft_ball() -> np.ndarray:
    """1 inside `MASK_RADIUS`, 0 a few voxels further out; ``(box, box, box)``."""
    offset = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(offset, offset, offset, indexing="ij", sparse=True)
    beyond = (np.sqrt(z**2 + y**2 + x**2) - MASK_RADIUS) / MASK_EDGE
    ball: np.ndarray = 0.5 + 0.5 * np.cos(np.pi * np.clip(beyond, 0, 1))
    return ball


def turned(template: np.ndarray, rotation: Rotation, order: int) -> np.ndarray:
    """The template turned about its centre of mass, which goes to the centre of a box."""
    centre = np.array([(template * axis).sum() for axis in np.indices(template.shape)])
    centre = centre / template.sum()
    # affine_transform asks where a voxel of the result comes from: the inverse.
    matrix = rotation.inv().as_matrix()
    offset = centre - matrix @ np.full(3, BOX // 2)
    shape = (BOX, BOX, BOX)
    result: np.ndarray = affine_transform(template, matrix, offset, shape, order=order)
    return result


class Alignment:
    """Search for the orientation and the shift of the template that agree best with a map.

    Compared are Fourier coefficients up to `LIMIT_A`, of the map within the mask.
    """

    def __init__(self, volume: np.ndarray, template: np.ndarray, voxel_size_A: float) -> None:
        frequency = frequency_radius((BOX, BOX, BOX))
        self.band = (frequency > 0) & (frequency <= voxel_size_A / LIMIT_A)
        self.template = template
        masked = volume * soft_ball()
        self.target = np.fft.fftn(masked) * self.band
        self.norm = float(np.sqrt((np.abs(self.target) ** 2).sum()))

    def best_shift(self, rotation: Rotation) -> Tuple[float, np.ndarray]:
        """The highest correlation over whole shifts, and the shift in voxels."""
        spectrum = np.fft.fftn(turned(self.template, rotation, 1)) * self.band
        # Parseval: fftn has the factor BOX ** 3 in the sum of squares.
        norm = float(np.sqrt((np.abs(spectrum) ** 2).sum())) * self.norm / BOX**3
        correlation = np.fft.ifftn(self.target * spectrum.conj()).real / norm
        reach = BOX // 5
        near = np.roll(correlation, (reach,) * 3, axis=(0, 1, 2))[(slice(2 * reach + 1),) * 3]
        where = np.unravel_index(int(near.argmax()), near.shape)
        return float(near.max()), np.array(where) - reach

    def placed(self, pose: np.ndarray, order: int = 3) -> np.ndarray:
        """The template by a rotation vector (radians) and a shift (voxels)."""
        still = turned(self.template, Rotation.from_rotvec(pose[:3]), order)
        return np.fft.ifftn(fourier_shift(np.fft.fftn(still), pose[3:])).real

    def correlation(self, pose: np.ndarray) -> float:
        """Of the map and the template that is placed so."""
        spectrum = np.fft.fftn(self.placed(pose, 1)) * self.band
        norm = float(np.sqrt((np.abs(spectrum) ** 2).sum())) * self.norm
        return float((self.target * spectrum.conj()).real.sum()) / norm

    def search(self) -> Tuple[np.ndarray, float]:
        """The best pose and its correlation."""
        found = []
        for rotation in Rotation.random(SEARCHED, random_state=0):
            value, shift = self.best_shift(rotation)
            found.append((value, np.concatenate([rotation.as_rotvec(), shift])))
        found.sort(key=lambda one: -one[0])
        refined = [
            minimize(
                lambda pose: -self.correlation(pose),
                pose,
                method="Powell",
                options={"maxiter": 4, "xtol": 1e-2, "ftol": 1e-4},
            )
            for _, pose in found[:REFINED]
        ]
        best = min(refined, key=lambda one: one.fun)
        return best.x, -float(best.fun)
