"""Microtubules and actin: helices of subunits along a gently bent axis.

Every subunit is a soft ellipsoid of protein that holds the subunit's mass, so that a filament has
the mass per length of the real one.

Dimensions: microtubule of 13 protofilaments, a left-handed three-start lattice of tubulin (55 kDa,
4.1 nm along the protofilament), wall between radii of about 7.5 and 12.5 nm (Nogales et al. 1999,
Cell 96:79; Amos and Schlieper 2005, Adv. Protein Chem. 71:257). Actin: 42 kDa each 2.75 nm, turned
by -166.6 degrees, 7 to 8 nm thick (Dominguez and Holmes 2011, Annu. Rev. Biophys. 40:169).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Optional, Tuple

import numpy as np

from dual_core.grand_models.canvas import Canvas, Piece, piece_from_box
from dual_core.grand_models.molecules.density import blurred_step

# Subunits touch and their surfaces are not smooth: more blur than the resolution's, without which
# a protofilament would look like a string of beads.
_SURFACE_SIGMA_A = 8.0
# Distance of the points that are looked at along an axis, in voxels.
STEP = 0.5


@dataclass(frozen=True)
class FilamentKind:
    """Helix and subunit of a filament.

    Attributes
    ----------
    name : str
    inner_radius_A, outer_radius_A : float
        Of the wall; an inner radius of 0 means that there is no lumen.
    subunit_radius_A : float
        Distance of the subunits' centres from the axis.
    strands : int
        Subunits at nearly the same height: protofilaments of a microtubule, 1 for one helix.
    rise_A, twist_deg : float
        From one subunit to the next of a strand.
    stagger_A : float
        From a strand's subunit to that of the next strand, along the axis.
    semi_axes_A : tuple of float
        Of a subunit: away from the axis, around it, along it.
    mass_Da : float
        Of a subunit.
    bend_radius_A : float
        Smallest radius of the axis.
    shortest_A : float
        Least length; less in a volume that is small itself.
    """

    name: str
    inner_radius_A: float
    outer_radius_A: float
    subunit_radius_A: float
    strands: int
    rise_A: float
    twist_deg: float
    stagger_A: float
    semi_axes_A: Tuple[float, float, float]
    mass_Da: float
    bend_radius_A: float
    shortest_A: float


MICROTUBULE = FilamentKind("microtubule", 72.0, 128.0, 100.0, 13, 40.9, 0.0, 3.0 * 40.9 / 13.0,
                           (28.0, 26.0, 26.0), 55000.0, 20000.0, 600.0)
ACTIN = FilamentKind("actin", 0.0, 45.0, 18.0, 1, 27.5, -166.6, 0.0, (27.0, 25.0, 22.0), 42000.0,
                     10000.0, 300.0)


@dataclass(frozen=True)
class Axis:
    """A parabola: ``point + s direction + s^2 / (2 radius) side``, voxels ``(z, y, x)``.

    Attributes
    ----------
    point, direction, side : numpy.ndarray
        ``(3,)``; the last two are unit vectors at right angles.
    curvature : float
        One over the radius, in voxels.
    """

    point: np.ndarray
    direction: np.ndarray
    side: np.ndarray
    curvature: float

    def at(self, along: np.ndarray) -> np.ndarray:
        """Points ``(n, 3)`` at the positions ``along`` (voxels from the axis' point)."""
        s = np.asarray(along, dtype=np.float64)[:, None]
        return self.point + s * self.direction + 0.5 * self.curvature * s ** 2 * self.side


def filament_piece(kind: FilamentKind, canvas: Canvas, axis: Axis, part: Tuple[float, float],
                   sigma_A: float, turn: float = 0.0) -> Tuple[Optional[Piece], np.ndarray]:
    """A part of a filament, as a `Piece` and the corner it belongs to.

    What would lie outside of the sample is cut off. The lumen of a microtubule is kept free.

    Parameters
    ----------
    kind : FilamentKind
    canvas : Canvas
    axis : Axis
    part : tuple of float
        First and last position along the axis, voxels from its point.
    sigma_A : float
        Gaussian blur of the resolution.
    turn : float
        Of the helix about its axis, radian.
    """
    voxel_A = canvas.voxel_size_A
    low = np.array([canvas.slab[0], 0, 0])
    high = low + np.array(canvas.slab_shape)
    reach = (kind.outer_radius_A + 4.0 * (sigma_A + _SURFACE_SIGMA_A)) / voxel_A + 2.0
    line = axis.at(np.arange(part[0], part[1] + STEP, STEP))
    first = np.clip(np.floor(line.min(axis=0) - reach).astype(int), low, high)
    last = np.clip(np.ceil(line.max(axis=0) + reach).astype(int) + 1, low, high)
    if np.any(last <= first):
        return None, first
    density = np.zeros(tuple(last - first), np.float32)
    lumen = np.zeros(density.shape, bool)
    for strand in range(kind.strands):
        offset = (strand * kind.stagger_A) % kind.rise_A
        places = np.arange(part[0] * voxel_A + offset, part[1] * voxel_A, kind.rise_A)
        angles = (turn + 2.0 * math.pi * strand / kind.strands
                  + np.radians(kind.twist_deg) * np.arange(len(places)))
        points = axis.at(places / voxel_A)
        for point, angle in zip(points, angles):
            _add_subunit(density, point - first, angle, kind, axis, voxel_A, sigma_A)
    if kind.inner_radius_A > 0.0:
        for point in line - first:
            _fill_ball(lumen, point, kind.subunit_radius_A / voxel_A)
    if not density.any():
        return None, first
    piece = piece_from_box(density, (0.0, 0.0, 0.0), keep_out=lumen)
    # The piece was cropped to its support; its centre tells by how much.
    corner = first - np.rint(np.array(piece.centre)).astype(int)
    if not piece.mask.any():
        return None, corner
    middle = piece.points[piece.mask].mean(axis=0)
    return replace(piece, centre=(float(middle[0]), float(middle[1]), float(middle[2]))), corner


def _box_around(shape: Tuple[int, ...], point: np.ndarray, reach: float
                ) -> Optional[Tuple[slice, slice, slice]]:
    """The part of an array within `reach` of a point, or None where there is none."""
    first = np.maximum(np.ceil(point - reach).astype(int), 0)
    last = np.minimum(np.floor(point + reach).astype(int) + 1, shape)
    if np.any(last <= first):
        return None
    return (slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2]))


def _add_subunit(density: np.ndarray, point: np.ndarray, angle: float, kind: FilamentKind,
                 axis: Axis, voxel_A: float, sigma_A: float) -> None:
    """Add one subunit of the helix at the axis' `point` (an index into the density)."""
    sigma_A = math.hypot(sigma_A, _SURFACE_SIGMA_A)
    other = np.cross(axis.direction, axis.side)
    outwards = math.cos(angle) * axis.side + math.sin(angle) * other
    around = math.cos(angle) * other - math.sin(angle) * axis.side
    centre = point + outwards * kind.subunit_radius_A / voxel_A
    box = _box_around(density.shape, centre, (max(kind.semi_axes_A) + 3.0 * sigma_A) / voxel_A)
    if box is None:
        return
    relative = np.stack(np.meshgrid(*(np.arange(one.start, one.stop) - middle
                                      for one, middle in zip(box, centre)), indexing="ij"), -1)
    frame = np.stack([outwards, around, axis.direction], axis=1)
    scaled = (relative * voxel_A) @ (frame / np.array(kind.semi_axes_A))
    mean_axis = float(np.prod(kind.semi_axes_A)) ** (1.0 / 3.0)
    depth_A = (np.sqrt(np.sum(scaled ** 2, axis=-1)) - 1.0) * mean_axis
    # A ball with blurred surface: its integral is that of the sharp one times 1 + 3 (sigma / r)^2.
    level = kind.mass_Da / (4.0 / 3.0 * math.pi * mean_axis ** 3
                            * (1.0 + 3.0 * (sigma_A / mean_axis) ** 2))
    density[box] += (level * blurred_step(depth_A, sigma_A)).astype(np.float32)


def _fill_ball(array: np.ndarray, point: np.ndarray, radius: float) -> None:
    box = _box_around(array.shape, point, radius)
    if box is None:
        return
    z, y, x = np.ogrid[box]
    array[box] |= ((z - point[0]) ** 2 + (y - point[1]) ** 2 + (x - point[2]) ** 2
                   <= radius ** 2)
