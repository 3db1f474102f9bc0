"""Lipid bilayers with two leaflets, and vesicles: closed ellipsoids of them.

Head groups lie about 4 nm apart, 3.6 to 4.4 nm with lipids and cholesterol (Nagle and
Tristram-Nagle 2000, Biochim. Biophys. Acta 1469:159); no two bilayers here are quite alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import List, Optional, Tuple

import numpy as np

from dual_core.grand_models.canvas import Canvas, Piece, piece_from_box
from dual_core.grand_models.molecules.density import MASK_DENSITY, PROTEIN_DENSITY
from dual_core.grand_models.orientations import as_zyx, random_orientation
from dual_core.grand_models.shortfall import report_shortfall

# Distance of the two layers of head groups.
LEAFLET_DISTANCE_A = 40.0
# A layer of head groups: its standard deviation and its density before blurring. At 20 A
# resolution its peak is then about two thirds of a protein's level.
LEAFLET_SIGMA_A = 6.0
LEAFLET_DENSITY = 0.8 * PROTEIN_DENSITY

_PLACES = 2000
_SHAPES = 5

# Ripples of a bilayer's density along it: their number, wavelengths (A) and height.
_RIPPLES = 3
_RIPPLE_A = (150.0, 500.0)
_RIPPLE_HEIGHT = 0.04


@dataclass(frozen=True)
class Bilayer:
    """What differs from one bilayer to the next.

    Attributes
    ----------
    leaflet_distance_A : float
        Of the layers of head groups.
    scale : float
        Of the density.
    ripples : numpy.ndarray, optional
        ``(n, 4)``: wave vector ``(z, y, x)`` per angstrom and phase; the density varies a little
        along the membrane, as lipids and proteins do.
    """

    leaflet_distance_A: float = LEAFLET_DISTANCE_A
    scale: float = 1.0
    ripples: Optional[np.ndarray] = None

    def strength(self, points_A: np.ndarray) -> np.ndarray:
        """Factor of the density at points ``(..., 3)`` (z, y, x)."""
        value = np.full(points_A.shape[:-1], self.scale)
        for *wave, phase in [] if self.ripples is None else self.ripples:
            value += self.scale * _RIPPLE_HEIGHT * np.sin(points_A @ np.array(wave) + phase)
        return value


def random_bilayer(rng: np.random.Generator) -> Bilayer:
    """A bilayer whose thickness varies by 4 % and whose density by 6 % (standard deviation)."""
    distance_A = LEAFLET_DISTANCE_A * float(np.clip(rng.normal(1.0, 0.04), 0.9, 1.1))
    scale = float(np.clip(rng.normal(1.0, 0.06), 0.85, 1.15))
    directions = rng.standard_normal((_RIPPLES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    waves = directions * (2.0 * np.pi / rng.uniform(*_RIPPLE_A, (_RIPPLES, 1)))
    return Bilayer(distance_A, scale,
                   np.concatenate([waves, rng.uniform(0.0, 2.0 * np.pi, (_RIPPLES, 1))], axis=1))


PLAIN = Bilayer()


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


def leaflet_profile(distance_A: np.ndarray, sigma_A: float,
                    leaflet_distance_A: float = LEAFLET_DISTANCE_A) -> np.ndarray:
    """Density across a bilayer against the distance from its middle.

    Two Gaussians; the resolution's blur widens and lowers them, their integral stays.
    """
    width = math.hypot(LEAFLET_SIGMA_A, sigma_A)
    peak = LEAFLET_DENSITY * LEAFLET_SIGMA_A / width
    half = 0.5 * leaflet_distance_A
    distance = np.abs(distance_A)
    return np.asarray(peak * (np.exp(-0.5 * ((distance - half) / width) ** 2)
                              + np.exp(-0.5 * ((distance + half) / width) ** 2)))


def half_thickness_A(sigma_A: float,
                     leaflet_distance_A: float = LEAFLET_DISTANCE_A) -> float:
    """Distance from the middle at which the density outside falls under the mask's level."""
    width = math.hypot(LEAFLET_SIGMA_A, sigma_A)
    peak = LEAFLET_DENSITY * LEAFLET_SIGMA_A / width
    ratio = max(peak / MASK_DENSITY, 1.0)
    return 0.5 * leaflet_distance_A + width * math.sqrt(2.0 * math.log(ratio))


def ellipsoid_distance_A(points_A: np.ndarray, vesicle: Vesicle) -> np.ndarray:
    """Signed distance of points ``(..., 3)`` (z, y, x, from the centre) to the ellipsoid.

    First order in the distance: ``f (f - 1) / |grad|``, ``f`` the scaled radius. Exact for
    spheres; for the mild ellipsoids used here off by less than an angstrom in the bilayer.
    """
    axes = np.array(vesicle.semi_axes_A)
    local = points_A @ as_zyx(vesicle.orientation)
    scaled = np.sqrt(np.sum((local / axes) ** 2, axis=-1))
    slope = np.sqrt(np.sum((local / axes ** 2) ** 2, axis=-1))
    distance = scaled * (scaled - 1.0) / np.maximum(slope, 1e-9)
    # At the very centre this is 0 over 0.
    return np.where(scaled > 1e-6, distance, -float(axes.min()))


def vesicle_piece(vesicle: Vesicle, voxel_size_A: float, sigma_A: float,
                  bilayer: Bilayer = PLAIN) -> Piece:
    """A vesicle's bilayer as a `Piece`; the mask holds both leaflets and what is between."""
    outer = max(vesicle.semi_axes_A) + LEAFLET_DISTANCE_A + 4.0 * sigma_A
    half = int(math.ceil(outer / voxel_size_A))
    axis = np.arange(-half, half + 1) * voxel_size_A
    y, x = np.meshgrid(axis, axis, indexing="ij")
    density = np.empty((len(axis),) * 3, np.float32)
    mask = np.empty(density.shape, bool)
    # Section by section: the coordinates of a large vesicle would fill the memory.
    for section, z in enumerate(axis):
        points_A = np.stack([np.full_like(y, z), y, x], axis=-1)
        distance = ellipsoid_distance_A(points_A, vesicle)
        density[section] = bilayer.strength(points_A) * leaflet_profile(
            distance, sigma_A, bilayer.leaflet_distance_A)
        mask[section] = np.abs(distance) <= half_thickness_A(sigma_A, bilayer.leaflet_distance_A)
    return piece_from_box(density, (float(half),) * 3, mask=mask)


def _inner_box(vesicle: Vesicle, voxel_size_A: float) -> Tuple[int, int, int]:
    """Sides ``(z, y, x)`` in voxels of a box that the bilayer's middle does not fit into less."""
    stretched = as_zyx(vesicle.orientation) * np.array(vesicle.semi_axes_A)
    z, y, x = 2.0 * np.sqrt(np.sum(stretched ** 2, axis=1)) / voxel_size_A
    return int(z), int(y), int(x)


def place_vesicles(canvas: Canvas, number: int, radius_nm: Tuple[float, float], sigma_A: float,
                   class_number: int, rng: np.random.Generator,
                   best_effort: bool = False) -> List[Vesicle]:
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
    best_effort : bool
        Be content with less; large vesicles that find no place are tried smaller.

    Raises
    ------
    DualError
        If vesicles are larger than the sample or do not all find a place, unless `best_effort`.
    """
    vesicles: List[Vesicle] = []
    low, high = radius_nm
    for done in range(number):
        too_large = True
        for attempt in range(_SHAPES):
            most = high - (high - low) * attempt / _SHAPES if best_effort else high
            shape = _random_vesicle((low, most), rng)
            # Asked before the vesicle is drawn: a huge one would take all memory.
            if canvas.corner_range(_inner_box(shape, canvas.voxel_size_A)) is None:
                continue
            piece = vesicle_piece(shape, canvas.voxel_size_A, sigma_A, random_bilayer(rng))
            limits = canvas.corner_range(piece.box)
            if limits is None:
                continue
            too_large = False
            corners = rng.integers(limits[0], limits[1], size=(_PLACES, 3))
            corner = next((one for one in corners if _is_free(canvas, one, piece)), None)
            if corner is not None:
                particle = canvas.place(corner, piece, class_number, "membrane", "membrane",
                                        shape.orientation)
                vesicles.append(replace(shape, centre_voxel=particle.centre_voxel))
                break
        else:
            why = ("vesicles of this radius are larger than the sample" if too_large
                   else "no more find a place")
            report_shortfall(f"only {done} of {number} vesicles were placed: {why}; ask for fewer "
                             "or smaller ones (--vesicles, --vesicle-radius), or a larger volume",
                             best_effort)
            break
    return vesicles


def _random_vesicle(radius_nm: Tuple[float, float], rng: np.random.Generator) -> Vesicle:
    radius_A = 10.0 * float(rng.uniform(*radius_nm))
    stretch = np.exp(rng.uniform(-0.12, 0.12, 3))
    stretch *= radius_A / float(np.prod(stretch)) ** (1.0 / 3.0)
    return Vesicle((float(stretch[0]), float(stretch[1]), float(stretch[2])),
                   random_orientation(rng))


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
