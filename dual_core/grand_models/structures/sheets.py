"""Membrane sheets: gently curved bilayers that cross the sample, as of organelles and the cell.

A sheet is a plane with a height field of a few long waves on it. It is cut at the faces of the
sample, as a lamella cuts it, and has no edge inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from dual_core.grand_models.canvas import Canvas, Piece
from dual_core.grand_models.molecules.density import MASK_DENSITY, TAIL_DENSITY
from dual_core.grand_models.orientations import orientation_along
from dual_core.grand_models.shortfall import report_shortfall
from dual_core.grand_models.structures.membranes import (
    Bilayer,
    half_thickness_A,
    leaflet_profile,
    random_bilayer,
)

_WAVES = 3
_WAVELENGTH_A = (2500.0, 7000.0)
# Radius of curvature at the top of a single wave: 250 to 800 nm.
_BEND_RADIUS_A = (2500.0, 8000.0)
# The sheets of a cell are roughly parallel, as in stacks and cisternae; they stand within this of
# upright, since a membrane that lies level is not seen in a tomogram.
_LARGEST_LEAN_DEG = 35.0
_DEVIATION = 0.15
_TRIES = 60


@dataclass(frozen=True)
class Sheet:
    """A wavy plane.

    Attributes
    ----------
    point, normal : numpy.ndarray
        ``(3,)``, ``(z, y, x)``; a point in voxels, a unit vector.
    waves : numpy.ndarray
        ``(n, 4)``: wave vector along the two tangents, per angstrom, phase, height in angstrom.
    bilayer : Bilayer
    """

    point: np.ndarray
    normal: np.ndarray
    waves: np.ndarray
    bilayer: Bilayer

    @property
    def tangents(self) -> Tuple[np.ndarray, np.ndarray]:
        """Two unit vectors at right angles to the normal and to each other."""
        least = np.eye(3)[int(np.argmin(np.abs(self.normal)))]
        first = np.cross(self.normal, least)
        first /= np.linalg.norm(first)
        return first, np.cross(self.normal, first)

    @property
    def highest_A(self) -> float:
        """No point of the sheet is farther from its plane."""
        return float(np.abs(self.waves[:, 3]).sum())

    def height_A(self, one: np.ndarray, two: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Height over the plane and its slope, at positions along the tangents (angstrom)."""
        height, by_one, by_two = np.zeros(one.shape), np.zeros(one.shape), np.zeros(one.shape)
        for along, across, phase, top in self.waves:
            angle = along * one + across * two + phase
            height += top * np.cos(angle)
            slope = -top * np.sin(angle)
            by_one += along * slope
            by_two += across * slope
        return height, np.hypot(by_one, by_two)

    def distance_A(self, relative_A: np.ndarray) -> np.ndarray:
        """Signed distance of points ``(n, 3)`` (z, y, x, from `point`), first order in the slope.
        """
        one, two = (relative_A @ tangent for tangent in self.tangents)
        height, slope = self.height_A(one, two)
        return np.asarray((relative_A @ self.normal - height) / np.sqrt(1.0 + slope ** 2))


def sheet_piece(sheet: Sheet, canvas: Canvas, sigma_A: float
                ) -> Tuple[Optional[Piece], np.ndarray]:
    """A sheet through the whole sample as a `Piece`, and the corner it belongs to.

    Section by section, so that memory goes with the sheet and not with the volume.
    """
    voxel_A, distance_A = canvas.voxel_size_A, sheet.bilayer.leaflet_distance_A
    half_A = half_thickness_A(sigma_A, distance_A)
    reach_A = sheet.highest_A + 2.0 * half_A + 4.0 * sigma_A
    y, x = np.meshgrid(np.arange(canvas.shape[1]), np.arange(canvas.shape[2]), indexing="ij")
    flat = (y - sheet.point[1]) * sheet.normal[1] + (x - sheet.point[2]) * sheet.normal[2]
    points, values, masks = [], [], []
    for z in range(*canvas.slab):
        near = np.abs(flat + (z - sheet.point[0]) * sheet.normal[0]) * voxel_A <= reach_A
        here = np.stack([np.full(np.count_nonzero(near), z), y[near], x[near]], axis=1)
        relative_A = (here - sheet.point) * voxel_A
        distance = sheet.distance_A(relative_A)
        density = sheet.bilayer.strength(relative_A) * leaflet_profile(distance, sigma_A,
                                                                       distance_A)
        mask = np.abs(distance) <= half_A
        kept = mask | (density > TAIL_DENSITY)
        points.append(here[kept])
        values.append(density[kept].astype(np.float32))
        masks.append(mask[kept])
    every, mask = np.concatenate(points), np.concatenate(masks)
    if not mask.any():
        return None, np.zeros(3, int)
    value, corner = np.concatenate(values), every.min(axis=0)
    middle = every[mask].mean(axis=0) - corner
    return Piece(every - corner, value, mask, mask | (value >= MASK_DENSITY),
                 (float(middle[0]), float(middle[1]), float(middle[2]))), corner


def _meets_something(sheet: Sheet, canvas: Canvas, sigma_A: float) -> bool:
    """Whether the sheet's two faces meet a blocked voxel, asked every second voxel."""
    if not canvas.particles:
        return False
    voxel_A = canvas.voxel_size_A
    span_A = float(np.linalg.norm(canvas.shape)) * voxel_A
    steps_A = np.arange(-span_A, span_A, 2.0 * voxel_A)
    one, two = np.meshgrid(steps_A, steps_A, indexing="ij")
    height, _ = sheet.height_A(one, two)
    first, second = sheet.tangents
    half_A = half_thickness_A(sigma_A, sheet.bilayer.leaflet_distance_A)
    for away_A in (-half_A, half_A):
        above = (height + away_A)[..., None] * sheet.normal
        relative_A = one[..., None] * first + two[..., None] * second + above
        index = np.rint(sheet.point + relative_A / voxel_A).astype(int)
        z, y, x = index[np.all((index >= 0) & (index < np.array(canvas.shape)), axis=-1)].T
        if canvas.blocked[z, y, x].any():
            return True
    return False


def _random_sheet(canvas: Canvas, common: np.ndarray, calm: float,
                  rng: np.random.Generator) -> Sheet:
    """A sheet about at right angles to `common`; the larger `calm`, the flatter it is."""
    normal = common + rng.normal(0.0, _DEVIATION / calm, 3)
    wavelengths = rng.uniform(*_WAVELENGTH_A, _WAVES)
    tops = wavelengths ** 2 / (4.0 * math.pi ** 2 * rng.uniform(*_BEND_RADIUS_A, _WAVES) * calm)
    turns = rng.uniform(0.0, 2.0 * math.pi, _WAVES)
    waves = 2.0 * math.pi / wavelengths
    point = np.array([rng.uniform(*canvas.slab), rng.uniform(0, canvas.shape[1]),
                      rng.uniform(0, canvas.shape[2])])
    phases = rng.uniform(0.0, 2.0 * math.pi, _WAVES)
    # Where the waves start from does not matter: the sheet goes through its point.
    point = point - normal * float(np.sum(tops * np.cos(phases))) / canvas.voxel_size_A
    return Sheet(point, normal / np.linalg.norm(normal),
                 np.stack([waves * np.cos(turns), waves * np.sin(turns), phases, tops], axis=1),
                 random_bilayer(rng))


def place_sheets(canvas: Canvas, number: int, sigma_A: float, class_number: int,
                 rng: np.random.Generator, best_effort: bool = False) -> None:
    """Place sheets, roughly parallel to each other.

    Raises
    ------
    DualError
        If not all find a place, unless `best_effort`.
    """
    lean = math.radians(rng.uniform(-_LARGEST_LEAN_DEG, _LARGEST_LEAN_DEG))
    turn = rng.uniform(0.0, 2.0 * math.pi)
    common = np.array([math.sin(lean), math.cos(lean) * math.sin(turn),
                       math.cos(lean) * math.cos(turn)])
    for done in range(number):
        for attempt in range(_TRIES):
            sheet = _random_sheet(canvas, common, 1.0 + 0.1 * attempt, rng)
            if _meets_something(sheet, canvas, sigma_A):
                continue
            piece, corner = sheet_piece(sheet, canvas, sigma_A)
            if piece is not None and canvas.is_free(corner, piece):
                canvas.place(corner, piece, class_number, "membrane", "membrane",
                             orientation_along(sheet.normal[::-1], 0.0))
                break
        else:
            report_shortfall(f"only {done} of {number} membrane sheets found a place; ask for "
                             "fewer (--sheets) or a larger volume", best_effort)
            return
