"""Lipid bilayer vesicles: ellipsoids with two leaflets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.grand_models.canvas import Canvas, Piece, piece_from_box
from dual_core.grand_models.molecules.density import MASK_DENSITY, PROTEIN_DENSITY
from dual_core.grand_models.orientations import as_zyx, random_orientation

# Distance of the two layers of head groups.
LEAFLET_DISTANCE_A = 40.0
# A layer of head groups: its standard deviation and its density before blurring. At 20 A
# resolution its peak is then about two thirds of a protein's level.
LEAFLET_SIGMA_A = 6.0
LEAFLET_DENSITY = 0.8 * PROTEIN_DENSITY

_PLACES = 2000
_SHAPES = 5


@dataclass(frozen=True)
class Vesicle:
    """An ellipsoidal bilayer.

    Attributes
    ----------
    semi_axes_A : tuple of float
        Of the middle of the bilayer, along the axes of its own frame ``(z, y, x)``.
    orientation : numpy.ndarray
        ``(3, 3)``, for ``(x, y, z)`` columns.
    centre_voxel : tuple of float
        ``(z, y, x)``.
    """

    semi_axes_A: Tuple[float, float, float]
    orientation: np.ndarray
    centre_voxel: Tuple[float, float, float] = (0.0, 0.0, 0.0)


def leaflet_profile(distance_A: np.ndarray, sigma_A: float) -> np.ndarray:
    """Density across a bilayer against the distance from its middle.

    Two Gaussians; the resolution's blur widens and lowers them, their integral stays.
    """
    width = math.hypot(LEAFLET_SIGMA_A, sigma_A)
    peak = LEAFLET_DENSITY * LEAFLET_SIGMA_A / width
    half = 0.5 * LEAFLET_DISTANCE_A
    distance = np.abs(distance_A)
    return np.asarray(peak * (np.exp(-0.5 * ((distance - half) / width) ** 2)
                              + np.exp(-0.5 * ((distance + half) / width) ** 2)))


def half_thickness_A(sigma_A: float) -> float:
    """Distance from the middle at which the density outside falls under the mask's level."""
    width = math.hypot(LEAFLET_SIGMA_A, sigma_A)
    peak = LEAFLET_DENSITY * LEAFLET_SIGMA_A / width
    ratio = max(peak / MASK_DENSITY, 1.0)
    return 0.5 * LEAFLET_DISTANCE_A + width * math.sqrt(2.0 * math.log(ratio))


def ellipsoid_distance_A(points_A: np.ndarray, vesicle: Vesicle) -> np.ndarray:
    """Signed distance of points ``(..., 3)`` (z, y, x, from the centre) to the ellipsoid.

    First order in the distance: ``f (f - 1) / |grad|``, ``f`` the scaled radius. Exact for
    spheres; for the mild ellipsoids used here off by less than an angstrom in the bilayer.
    """
    axes = np.array(vesicle.semi_axes_A)
    local = points_A @ as_zyx(vesicle.orientation)
    scaled = np.sqrt(np.sum((local / axes) ** 2, axis=-1))
    slope = np.sqrt(np.sum((local / axes ** 2) ** 2, axis=-1))
    return np.asarray(scaled * (scaled - 1.0) / np.maximum(slope, 1e-9))


def vesicle_piece(vesicle: Vesicle, voxel_size_A: float, sigma_A: float) -> Piece:
    """A vesicle's bilayer as a `Piece`; the mask holds both leaflets and what is between."""
    outer = max(vesicle.semi_axes_A) + LEAFLET_DISTANCE_A + 4.0 * sigma_A
    half = int(math.ceil(outer / voxel_size_A))
    axis = np.arange(-half, half + 1) * voxel_size_A
    y, x = np.meshgrid(axis, axis, indexing="ij")
    density = np.empty((len(axis),) * 3, np.float32)
    mask = np.empty(density.shape, bool)
    # Section by section: the coordinates of a large vesicle would fill the memory.
    for section, z in enumerate(axis):
        distance = ellipsoid_distance_A(np.stack([np.full_like(y, z), y, x], axis=-1), vesicle)
        density[section] = leaflet_profile(distance, sigma_A)
        mask[section] = np.abs(distance) <= half_thickness_A(sigma_A)
    return piece_from_box(density, (float(half),) * 3, mask=mask)


def _inner_box(vesicle: Vesicle, voxel_size_A: float) -> Tuple[int, int, int]:
    """Sides ``(z, y, x)`` in voxels of a box that the bilayer's middle does not fit into less."""
    stretched = as_zyx(vesicle.orientation) * np.array(vesicle.semi_axes_A)
    z, y, x = 2.0 * np.sqrt(np.sum(stretched ** 2, axis=1)) / voxel_size_A
    return int(z), int(y), int(x)


def place_vesicles(canvas: Canvas, number: int, radius_nm: Tuple[float, float], sigma_A: float,
                   class_number: int, rng: np.random.Generator) -> List[Vesicle]:
    """Place vesicles of random size and mild random eccentricity.

    Parameters
    ----------
    canvas : Canvas
    number : int
    radius_nm : tuple of float
        Smallest and largest mean radius of the bilayer's middle.
    sigma_A : float
        Gaussian blur of the resolution.
    class_number : int
    rng : numpy.random.Generator

    Raises
    ------
    DualError
        If vesicles are larger than the sample or do not all find a place.
    """
    vesicles: List[Vesicle] = []
    for done in range(number):
        too_large = True
        placed = False
        for _ in range(_SHAPES):
            radius_A = 10.0 * float(rng.uniform(*radius_nm))
            stretch = np.exp(rng.uniform(-0.12, 0.12, 3))
            stretch *= radius_A / float(np.prod(stretch)) ** (1.0 / 3.0)
            shape = Vesicle((float(stretch[0]), float(stretch[1]), float(stretch[2])),
                            random_orientation(rng))
            # Asked before the vesicle is drawn: a huge one would take all memory.
            if canvas.corner_range(_inner_box(shape, canvas.voxel_size_A)) is None:
                continue
            piece = vesicle_piece(shape, canvas.voxel_size_A, sigma_A)
            limits = canvas.corner_range(piece.box)
            if limits is None:
                continue
            too_large = False
            corners = rng.integers(limits[0], limits[1], size=(_PLACES, 3))
            corner = next((one for one in corners if _is_free(canvas, one, piece)), None)
            if corner is None:
                continue
            particle = canvas.place(corner, piece, class_number, "membrane", "membrane",
                                    shape.orientation)
            vesicles.append(Vesicle(shape.semi_axes_A, shape.orientation, particle.centre_voxel))
            placed = True
            break
        if not placed:
            why = ("vesicles of this radius are larger than the sample" if too_large
                   else "no more find a place")
            raise DualError(f"only {done} of {number} vesicles were placed: {why}; ask for fewer "
                            "or smaller ones (--vesicles, --vesicle-radius), or a larger volume")
    return vesicles


def _is_free(canvas: Canvas, corner: np.ndarray, piece: Piece) -> bool:
    """`Canvas.is_free`, after a look at every hundredth voxel."""
    flat = canvas.offsets(piece.points[::100]) + int(np.dot(corner, canvas.strides))
    return not bool(canvas.blocked.ravel()[flat].any()) and canvas.is_free(corner, piece)


def surface_sites(vesicles: List[Vesicle], voxel_size_A: float, number: int,
                  rng: np.random.Generator) -> List[Tuple[np.ndarray, np.ndarray]]:
    """Random points on vesicles with outward normals, ``(z, y, x)``, voxels.

    Vesicles are drawn by their area, directions uniformly.
    """
    if not vesicles:
        return []
    areas = np.array([np.prod(one.semi_axes_A) ** (2.0 / 3.0) for one in vesicles])
    sites = []
    for which in rng.choice(len(vesicles), number, p=areas / areas.sum()):
        vesicle = vesicles[int(which)]
        axes = np.array(vesicle.semi_axes_A)
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        to_model = as_zyx(vesicle.orientation)
        normal = to_model @ (direction / axes)
        point = np.array(vesicle.centre_voxel) + to_model @ (direction * axes) / voxel_size_A
        sites.append((point, normal / np.linalg.norm(normal)))
    return sites
