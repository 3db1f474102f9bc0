"""Built-in molecules: analytic phantoms that need no file.

Each phantom is a union of soft ellipsoids, repeated by a point group, filled at protein
density and scaled so that its volume holds the stated mass. They are not models of proteins of
the same shape; they have the sizes, symmetries and coarse features (rings, barrels, arms,
clefts) that decide how a complex looks in a tomogram.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, List, Tuple

import numpy as np
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.grand_models.molecules.density import PROTEIN_DENSITY
from dual_core.safety.limits import MOST_MOLECULE, check_voxels

# centre (x, y, z) and semi-axes (a, b, c) along x, y, z, in units that the mass sets
Blob = Tuple[Tuple[float, float, float], Tuple[float, float, float]]


@dataclass(frozen=True)
class Phantom:
    """A built-in molecule.

    Attributes
    ----------
    name : str
    mass_kDa : float
    symmetry : str
        ``"C1"``, ``"Cn"`` (axis z) or ``"Dn"`` (axis z, two-fold along x).
    blobs : tuple of (centre, semi-axes)
        The asymmetric unit, ``(x, y, z)``, in arbitrary units.
    """

    name: str
    mass_kDa: float
    symmetry: str
    blobs: Tuple[Blob, ...]


def _ball(x: float, y: float, z: float, radius: float) -> Blob:
    return ((x, y, z), (radius, radius, radius))


_PHANTOMS: Tuple[Phantom, ...] = (
    Phantom("dimer_100", 100.0, "C2", (
        ((0.8, 0.15, 0.2), (0.8, 0.65, 0.95)), ((1.35, 0.3, 1.35), (0.5, 0.55, 0.6)))),
    Phantom("antibody_150", 150.0, "C1", (
        ((0.0, 0.0, -1.2), (0.75, 0.55, 1.15)), ((1.25, 0.15, 0.8), (0.65, 0.55, 1.0)),
        ((-1.35, -0.2, 0.6), (0.95, 0.5, 0.65)), _ball(0.0, 0.0, 0.05, 0.45))),
    Phantom("solenoid_210", 210.0, "C1", tuple(
        ((2.2 * math.cos(t), 2.2 * math.sin(t), 0.45 * t), (0.62, 0.62, 0.85))
        for t in np.linspace(0.0, 4.3, 9)) + (_ball(3.0, 0.6, 0.2, 0.75),)),
    Phantom("clamp_270", 270.0, "C2", (
        ((0.7, 0.0, 0.9), (0.8, 0.7, 0.95)), ((1.35, 0.1, -0.5), (0.65, 0.6, 1.0)),
        ((0.9, -0.2, -1.9), (0.6, 0.55, 0.75)))),
    Phantom("cube_480", 480.0, "D4", (
        ((1.25, 0.35, 0.85), (0.85, 0.7, 0.75)), ((0.65, 0.55, 1.85), (0.5, 0.5, 0.45)))),
    Phantom("ring_540", 540.0, "C6", (
        ((1.95, 0.0, 0.0), (0.8, 0.95, 0.8)), ((1.75, 0.5, 1.45), (0.62, 0.62, 0.7)),
        ((2.75, -0.2, -0.75), (0.55, 0.5, 0.5)))),
    Phantom("barrel_960", 960.0, "D8", (
        ((2.35, 0.25, 0.75), (0.75, 0.85, 0.85)), ((1.85, -0.1, 2.1), (0.85, 0.65, 0.65)),
        ((1.15, 0.0, 2.65), (0.6, 0.45, 0.4)))),
    Phantom("capped_rod_1600", 1600.0, "C1", tuple(
        _ball(1.25 * math.cos(t), 1.25 * math.sin(t), z, 0.72)
        for z in (-1.8, -0.6, 0.6, 1.8) for t in np.arange(7) * 2.0 * math.pi / 7.0) + (
        ((0.5, 0.2, 3.5), (1.5, 1.1, 0.95)), ((-1.1, 0.4, 4.4), (0.95, 0.8, 0.85)),
        ((1.5, -0.7, 4.6), (0.75, 0.65, 1.15)), ((0.35, 0.1, -3.2), (1.35, 1.05, 0.7)))),
    Phantom("cage_2400", 2400.0, "D3", (
        ((2.2, 0.0, 0.55), (0.7, 0.95, 0.8)), ((2.1, 1.15, 1.6), (0.65, 0.65, 0.95)),
        ((0.95, 0.55, 2.7), (0.95, 0.75, 0.5)), ((1.2, -0.65, 0.0), (0.95, 0.55, 0.5)))),
    Phantom("two_subunits_3200", 3200.0, "C1", (
        _ball(0.0, 0.0, 0.0, 1.75), ((0.9, 1.35, 0.3), (0.85, 0.8, 0.95)),
        ((-1.5, 0.6, 0.5), (0.8, 0.7, 0.75)), ((0.2, -1.6, -0.5), (1.0, 0.6, 0.8)),
        ((-0.2, 0.2, 2.35), (1.55, 1.05, 0.6)), ((1.2, -0.3, 2.9), (0.7, 0.85, 0.7)),
        ((-1.4, -0.25, 2.75), (0.65, 0.75, 0.8)), ((2.15, 0.35, 0.8), (0.45, 0.4, 0.6)))),
    Phantom("shell_4000", 4000.0, "D5", (
        ((2.6, 0.0, 0.75), (0.75, 0.95, 0.8)), ((1.65, 0.7, 2.15), (0.85, 0.8, 0.75)),
        ((0.75, 0.3, 2.85), (0.7, 0.7, 0.5)), ((3.3, 0.75, 0.2), (0.4, 0.4, 0.5)))),
)

PHANTOMS: Dict[str, Phantom] = {phantom.name: phantom for phantom in _PHANTOMS}


def symmetry_matrices(symmetry: str) -> List[np.ndarray]:
    """Rotation matrices ``(3, 3)``, acting on ``(x, y, z)`` columns, of a point group.

    Raises
    ------
    DualError
        If the name is not ``Cn`` or ``Dn``.
    """
    kind, order = symmetry[:1], symmetry[1:]
    if kind not in ("C", "D") or not order.isdigit() or int(order) < 1:
        raise DualError(f"unknown symmetry {symmetry!r}: give Cn or Dn")
    matrices = []
    for turn in range(int(order)):
        angle = 2.0 * math.pi * turn / int(order)
        c, s = math.cos(angle), math.sin(angle)
        about_z = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        matrices.append(about_z)
        if kind == "D":
            matrices.append(about_z @ np.diag([1.0, -1.0, -1.0]))
    return matrices


def _expanded(phantom: Phantom) -> List[Tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(centre, semi-axes, frame) of every blob; the frame turns space into the blob's axes."""
    return [(matrix @ np.array(centre), np.array(axes), matrix.T)
            for matrix in symmetry_matrices(phantom.symmetry) for centre, axes in phantom.blobs]


def _texture(points_A: np.ndarray) -> np.ndarray:
    """Smooth density variation with the scale of protein domains, mean about 1.

    Gyroids of 77, 43 and 29 A, turned, at points ``(..., 3)`` of the asymmetric unit. With these
    weights the brightest hundredth of a molecule is about as bright as in rubisco (PDB 1bxn) and
    p97 (3cf3) at 20 A.
    """
    turn = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
    turned = points_A @ turn
    value = np.ones(points_A.shape[:-1])
    for points, wavelength_A, weight in ((turned @ turn, 77.0, 0.18),
                                         (points_A, 43.0, 0.18), (turned, 29.0, 0.15)):
        x, y, z = np.moveaxis(points * (2.0 * math.pi / wavelength_A), -1, 0)
        value += weight * (np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x))
    return np.clip(value, 0.15, None)


def _filled(phantom: Phantom, spacing: float, texture_scale_A: float = 0.0) -> np.ndarray:
    """The union of the blobs, 0 to 1, on a cubic grid ``(z, y, x)`` centred on the origin.

    The surface is a ramp one voxel wide instead of a step, so that the volume does not depend
    on where the grid points fall. With a scale (angstrom a blob unit) it is textured.
    """
    blobs = _expanded(phantom)
    reach = max(float(np.linalg.norm(centre) + axes.max()) for centre, axes, _ in blobs)
    check_voxels((2 * reach / spacing,) * 3, "a built-in molecule", "give larger voxels",
                 MOST_MOLECULE)
    half = int(math.ceil(reach / spacing)) + 1
    filled = np.zeros((2 * half + 1,) * 3)
    for centre, axes, frame in blobs:
        inside = np.ceil((axes.max() + spacing) / spacing)
        first = np.maximum(np.floor(centre / spacing) - inside + half, 0).astype(int)
        last = np.minimum(np.ceil(centre / spacing) + inside + half, 2 * half).astype(int)
        x, y, z = (np.arange(low, high + 1) for low, high in zip(first, last))
        grid_z, grid_y, grid_x = np.meshgrid(z, y, x, indexing="ij")
        points = (np.stack([grid_x, grid_y, grid_z], axis=-1) - half) * spacing - centre
        local = points @ frame.T
        scaled = np.sqrt(np.sum((local / axes) ** 2, axis=-1))
        ramp = np.clip((1.0 - scaled) * axes.min() / spacing + 0.5, 0.0, 1.0)
        if texture_scale_A > 0.0:
            # In the frame of the asymmetric unit, so that the point group holds.
            ramp *= _texture((local + frame @ centre) * texture_scale_A)
        box = filled[z[0]:z[-1] + 1, y[0]:y[-1] + 1, x[0]:x[-1] + 1]
        np.maximum(box, ramp, out=box)
    return filled


def phantom_density(phantom: Phantom, voxel_size_A: float, sigma_A: float) -> np.ndarray:
    """Density of a phantom on a cubic grid.

    Parameters
    ----------
    phantom : Phantom
    voxel_size_A : float
        Spacing of the grid.
    sigma_A : float
        Gaussian blur that stands for the resolution.

    Returns
    -------
    numpy.ndarray
        ``(z, y, x)`` float64, odd sides, Da/A3, sum x voxel volume = mass.
    """
    # The volume in blob units gives the scale at which the envelope holds the mass.
    unit_volume = float(_filled(phantom, spacing=0.125).sum()) * 0.125 ** 3
    scale_A = (phantom.mass_kDa * 1000.0 / PROTEIN_DENSITY / unit_volume) ** (1.0 / 3.0)
    filled = _filled(phantom, voxel_size_A / scale_A, scale_A)
    pad = int(math.ceil(4.0 * sigma_A / voxel_size_A))
    blurred = ndimage.gaussian_filter(np.pad(filled, pad), sigma_A / voxel_size_A,
                                      mode="constant")
    return np.asarray(blurred * (phantom.mass_kDa * 1000.0
                                 / (blurred.sum() * voxel_size_A ** 3)))
