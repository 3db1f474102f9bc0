"""What makes a particle differ from the next one of its class: shape, sharpness and density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Standard deviations at a variation of 1.
_DENSITY = 0.03
_STRAIN = 0.012  # of each component: a length of 20 nm changes by some 2.4 A
_BEND = 0.03  # the ends of a molecule move aside by this part of its radius
_B_FACTOR_A2 = 500.0  # half-normal: 0.78 of the amplitude at 20 A on average
# Draws are cut here: a molecule must stay within the box that was made for it.
_MOST_DEVIATIONS = 2.5


@dataclass(frozen=True)
class Variant:
    """How one copy differs from the map of its class.

    Attributes
    ----------
    strain : numpy.ndarray
        ``(3, 3)`` symmetric, for ``(z, y, x)`` of the molecule: a homogeneous elastic deformation.
    axis, aside : numpy.ndarray
        ``(3,)``: the molecule is bent along `axis`, its ends moved by `aside` times its radius.
    b_factor_A2 : float
        Amplitudes fall by ``exp(-B s^2 / 4)`` with spatial frequency s, as in crystallography.
    """

    strain: np.ndarray
    axis: np.ndarray
    aside: np.ndarray
    b_factor_A2: float

    def moved(self, points_A: np.ndarray, radius_A: float) -> np.ndarray:
        """Where the undeformed map is looked up for points of the copy, both ``(3, n)``, A.

        Relative to the centre of mass, axes ``(z, y, x)`` of the molecule.
        """
        along = self.axis @ points_A
        bent = np.outer(self.aside, along * along) / radius_A
        return np.asarray(points_A + self.strain @ points_A + bent)

    def blurred(self, density: np.ndarray, voxel_size_A: float) -> np.ndarray:
        """A density ``(z, y, x)`` with the B-factor; its sum stays.

        The box is taken as periodic: there is nothing at its faces.
        """
        frequencies = [np.fft.fftfreq(side, voxel_size_A) for side in density.shape[:-1]]
        frequencies.append(np.fft.rfftfreq(density.shape[-1], voxel_size_A))
        z, y, x = np.ix_(*frequencies)
        fall = np.exp(-0.25 * self.b_factor_A2 * (z * z + y * y + x * x))
        return np.asarray(np.fft.irfftn(np.fft.rfftn(density) * fall, density.shape, (0, 1, 2)))


def draw_variant(rng: np.random.Generator, variation: float) -> Variant:
    """How a copy differs from its class in shape and sharpness.

    Parameters
    ----------
    rng : numpy.random.Generator
    variation : float
        1 for copies that differ as particles in ice do, 0 for copies that are all alike.
    """
    strain = _deviations(rng, 3, 3)
    axis, across = rng.standard_normal((2, 3))
    axis /= np.linalg.norm(axis)
    across -= (across @ axis) * axis
    across /= np.linalg.norm(across)
    bend, blur = _deviations(rng, 2)
    return Variant(0.5 * variation * _STRAIN * (strain + strain.T), axis,
                   variation * _BEND * bend * across, variation * _B_FACTOR_A2 * abs(float(blur)))


def draw_scale(rng: np.random.Generator, variation: float) -> float:
    """What the density of a copy is multiplied by."""
    return 1.0 + variation * _DENSITY * float(_deviations(rng, 1)[0])


def most_growth(variation: float) -> float:
    """By which factor a copy's radius can exceed that of its class."""
    return 1.0 + variation * _MOST_DEVIATIONS * (3.0 * _STRAIN + _BEND)


def _deviations(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.asarray(np.clip(rng.standard_normal(shape), -_MOST_DEVIATIONS, _MOST_DEVIATIONS))
