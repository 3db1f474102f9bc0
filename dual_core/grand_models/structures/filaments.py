"""Straight filaments that cross the sample: microtubules and actin."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.grand_models.canvas import Canvas, Piece, piece_from_box
from dual_core.grand_models.molecules.density import PROTEIN_DENSITY, blurred_step
from dual_core.grand_models.orientations import orientation_along

_TRIES = 200
# Filaments lie nearly in the plane of a thin sample.
_LARGEST_SLOPE_DEG = 5.0


@dataclass(frozen=True)
class FilamentKind:
    """Cross-section and repeat of a filament.

    Attributes
    ----------
    name : str
    inner_radius_A, outer_radius_A : float
    strands : int
        Protofilaments around the axis.
    rise_A : float
        Repeat of the subunits along a strand.
    twist_A : float
        Length in which a strand winds once around the axis.
    """

    name: str
    inner_radius_A: float
    outer_radius_A: float
    strands: int
    rise_A: float
    twist_A: float


MICROTUBULE = FilamentKind("microtubule", 85.0, 120.0, 13, 40.0, math.inf)
ACTIN = FilamentKind("actin", 0.0, 40.0, 2, 55.0, 720.0)


def filament_density(kind: FilamentKind, along_A: np.ndarray, across_A: np.ndarray,
                     azimuth: np.ndarray, sigma_A: float) -> np.ndarray:
    """Density of a filament in its own cylinder coordinates (angstrom, radian)."""
    sigma_A = max(sigma_A, 1e-3)
    wall = blurred_step(across_A - kind.outer_radius_A, sigma_A)
    if kind.inner_radius_A > 0.0:
        wall = wall - blurred_step(across_A - kind.inner_radius_A, sigma_A)
    winding = 2.0 * math.pi * along_A / kind.twist_A if math.isfinite(kind.twist_A) else 0.0
    strands = 1.0 + 0.3 * np.cos(kind.strands * (azimuth - winding))
    rise = 1.0 + 0.2 * np.cos(2.0 * math.pi * along_A / kind.rise_A + azimuth)
    return np.asarray(0.75 * PROTEIN_DENSITY * wall * strands * rise)


def filament_piece(kind: FilamentKind, canvas: Canvas, point: np.ndarray, direction: np.ndarray,
                   sigma_A: float) -> Tuple[Optional[Piece], np.ndarray]:
    """A filament through the whole sample, as a `Piece` and the corner it belongs to.

    Parameters
    ----------
    kind : FilamentKind
    canvas : Canvas
    point, direction : numpy.ndarray
        A voxel on the axis and the axis' unit vector, ``(z, y, x)``.
    sigma_A : float
    """
    reach = (kind.outer_radius_A + 4.0 * sigma_A) / canvas.voxel_size_A
    low = np.array([canvas.slab[0], 0, 0])
    high = low + np.array(canvas.slab_shape)
    axis_z = np.arange(low[0], high[0]) - point[0]
    axis_y = np.arange(low[1], high[1]) - point[1]
    axis_x = np.arange(low[2], high[2]) - point[2]
    # Only the sections near the axis, which is nearly level.
    rise = abs(direction[0]) * float(np.hypot(*canvas.shape[1:])) + reach
    near = np.abs(axis_z) <= rise
    axis_z = axis_z[near]
    density = np.zeros((len(axis_z), len(axis_y), len(axis_x)), np.float32)
    side = np.cross(direction, [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    other = np.cross(direction, side)
    for section, z in zip(density, axis_z):
        y, x = np.meshgrid(axis_y, axis_x, indexing="ij")
        along = z * direction[0] + y * direction[1] + x * direction[2]
        one = z * side[0] + y * side[1] + x * side[2]
        two = z * other[0] + y * other[1] + x * other[2]
        across = np.hypot(one, two)
        close = across <= reach
        section[close] = filament_density(
            kind, along[close] * canvas.voxel_size_A, across[close] * canvas.voxel_size_A,
            np.arctan2(two[close], one[close]), sigma_A)
    corner = low + np.array([int(np.argmax(near)), 0, 0])
    if not density.any():
        return None, corner
    centre = point - corner
    piece = piece_from_box(density, (float(centre[0]), float(centre[1]), float(centre[2])))
    # The piece was cropped to its support; its centre tells by how much.
    corner = corner + np.rint(centre - np.array(piece.centre)).astype(int)
    if not piece.mask.any():
        return None, corner
    middle = piece.points[piece.mask].mean(axis=0)
    return replace(piece, centre=(float(middle[0]), float(middle[1]), float(middle[2]))), corner


def place_filaments(canvas: Canvas, kind: FilamentKind, number: int, sigma_A: float,
                    class_number: int, rng: np.random.Generator) -> None:
    """Place straight filaments, cut at the volume's sides.

    Raises
    ------
    DualError
        If the sample is too thin or not all find a place.
    """
    radius = (kind.outer_radius_A + 4.0 * sigma_A) / canvas.voxel_size_A
    low, high = canvas.slab[0] + radius, canvas.slab[1] - 1 - radius
    if number and low > high:
        raise DualError(f"the sample is too thin for a {kind.name} of "
                        f"{0.2 * kind.outer_radius_A:.0f} nm; give a larger --thickness")
    for done in range(number):
        for _ in range(_TRIES):
            point = np.array([rng.uniform(low, high), rng.uniform(0, canvas.shape[1] - 1),
                              rng.uniform(0, canvas.shape[2] - 1)])
            slope = np.radians(rng.uniform(-_LARGEST_SLOPE_DEG, _LARGEST_SLOPE_DEG))
            room = min(point[0] - low, high - point[0])
            # In a thin sample only as steep as keeps the filament inside.
            limit = np.arctan2(room, float(np.hypot(*canvas.shape[1:])))
            slope = float(np.clip(slope, -limit, limit))
            turn = rng.uniform(0.0, 2.0 * np.pi)
            direction = np.array([np.sin(slope), np.cos(slope) * np.sin(turn),
                                  np.cos(slope) * np.cos(turn)])
            piece, corner = filament_piece(kind, canvas, point, direction, sigma_A)
            if piece is not None and canvas.is_free(corner, piece):
                canvas.place(corner, piece, class_number, kind.name, "filament",
                             orientation_along(direction[::-1], 0.0))
                break
        else:
            raise DualError(f"only {done} of {number} filaments ({kind.name}) found a place; "
                            "ask for fewer or a larger volume")
