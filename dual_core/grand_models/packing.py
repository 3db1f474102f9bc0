"""Placing molecules: random orientation, random place, no voxel labelled twice."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.grand_models.canvas import Canvas, Piece, piece_from_box
from dual_core.grand_models.molecules.sources import Molecule
from dual_core.grand_models.orientations import as_zyx, orientation_along, random_orientation
from dual_core.grand_models.shortfall import report_shortfall
from dual_core.grand_models.variation import Variant, draw_scale, draw_variant, most_growth

logger = logging.getLogger(__name__)

# Places tried for one orientation, in growing batches: most are found in the first.
_BATCHES = (32, 256, 2048, 16384)
# Voxels of a molecule looked at before all of it is: enough to reject nearly every bad place.
_PROBES = 24
# Orientations tried before a molecule counts as not placeable.
_ORIENTATIONS = 4
# Voxels of a molecule that are looked up at once.
_AT_ONCE = 1 << 19
# Orientations drawn until one fits into a thin sample.
_FITTING_ORIENTATIONS = 40


class Rotator:
    """Turns one molecule; holds its spline coefficients.

    Parameters
    ----------
    molecule : Molecule
    voxel_size_A : float
        Of the grand model.
    gap_A : float
        Distance kept free around the molecule.
    variation : float
        How much copies differ; see `draw_variant`.
    """

    def __init__(self, molecule: Molecule, voxel_size_A: float, gap_A: float = 0.0,
                 variation: float = 0.0) -> None:
        self.molecule = molecule
        self.variation = variation
        self._voxel_size_A = voxel_size_A
        self._gap = gap_A / voxel_size_A
        self._coefficients = ndimage.spline_filter(molecule.density, order=3)
        self._radius_A = molecule.radius_A
        reach_A = self._radius_A * most_growth(variation)
        self._half = int(np.ceil(reach_A / voxel_size_A)) + 1

    def turned(self, orientation: np.ndarray,
               shift: Tuple[float, float, float] = (0.0, 0.0, 0.0),
               variant: Optional[Variant] = None) -> np.ndarray:
        """Density ``(z, y, x)`` of the turned molecule.

        Parameters
        ----------
        orientation : numpy.ndarray
            Rotation matrix for ``(x, y, z)`` columns.
        shift : tuple of float
            The centre of mass lies this far ``(z, y, x)`` from the middle voxel; where a variant
            is bent, near it.
        variant : Variant, optional
            The copy's own shape and sharpness.

        Returns
        -------
        numpy.ndarray
            Cube with odd sides, float64, Da/A3; it holds the molecule's mass.
        """
        molecule, side = self.molecule, 2 * self._half + 1
        middle = self._half + np.array(shift)
        if variant is None:
            to_file = as_zyx(orientation).T * (self._voxel_size_A / molecule.voxel_size_A)
            box = ndimage.affine_transform(
                self._coefficients, to_file, offset=np.array(molecule.centre) - to_file @ middle,
                output_shape=(side,) * 3, order=3, mode="constant", prefilter=False)
        else:
            box = self._deformed(orientation, middle, variant)
            box = variant.blurred(box, self._voxel_size_A)
        np.clip(box, 0.0, None, out=box)
        # Sampling on a coarse grid changes the sum by a fraction of a per cent.
        box *= molecule.mass_kDa * 1000.0 / (float(box.sum()) * self._voxel_size_A ** 3)
        return np.asarray(box)

    def _deformed(self, orientation: np.ndarray, middle: np.ndarray,
                  variant: Variant) -> np.ndarray:
        """The map of a variant, section by section: coordinates take much memory."""
        molecule, side = self.molecule, 2 * self._half + 1
        box = np.empty((side,) * 3)
        sections = max(1, _AT_ONCE // side ** 2)
        for first in range(0, side, sections):
            part = box[first:first + sections]
            from_middle = np.indices(part.shape).reshape(3, -1) - middle[:, None]
            from_middle[0] += first
            points_A = as_zyx(orientation).T @ from_middle * self._voxel_size_A
            looked_up = variant.moved(points_A, self._radius_A) / molecule.voxel_size_A
            part[...] = ndimage.map_coordinates(
                self._coefficients, looked_up + np.array(molecule.centre)[:, None], order=3,
                mode="constant", prefilter=False).reshape(part.shape)
        return box

    def piece(self, orientation: np.ndarray, shift: Tuple[float, float, float],
              variant: Optional[Variant] = None) -> Piece:
        """The turned molecule as a `Piece`; its centre is the centre of mass."""
        box = self.turned(orientation, shift, variant)
        middle = self._half + np.array(shift)
        if variant is not None:  # bending moves it
            middle = np.array(ndimage.center_of_mass(box))
        margin = 0
        keep_out = None
        if self._gap > 0.0:
            margin = int(np.ceil(self._gap)) + 1
            box = np.pad(box, margin)
            outside = box < self.molecule.mask_level
            keep_out = ndimage.distance_transform_edt(outside) <= self._gap
        z, y, x = middle + margin
        return piece_from_box(box, (float(z), float(y), float(x)),
                              mask_level=self.molecule.mask_level, keep_out=keep_out)

    def drawn_piece(self, orientation: np.ndarray, shift: Tuple[float, float, float],
                    rng: np.random.Generator) -> Piece:
        """The turned molecule as one copy of its class, which differs from the next."""
        variant = draw_variant(rng, self.variation) if self.variation else None
        return self.piece(orientation, shift, variant)

    def random_piece(self, rng: np.random.Generator, canvas: Canvas
                     ) -> Optional[Tuple[Piece, np.ndarray]]:
        """A randomly turned piece that fits into the sample, and its orientation."""
        for _ in range(_FITTING_ORIENTATIONS):
            orientation = random_orientation(rng)
            shift = rng.uniform(-0.5, 0.5, 3)
            piece = self.drawn_piece(orientation, (shift[0], shift[1], shift[2]), rng)
            if canvas.corner_range(piece.box) is not None:
                return piece, orientation
        return None


def find_place(canvas: Canvas, piece: Piece, rng: np.random.Generator) -> Optional[np.ndarray]:
    """A random free corner ``(z, y, x)`` for a piece, or None.

    Batches of random corners are tested on a few voxels first; survivors on all.
    """
    limits = canvas.corner_range(piece.box)
    if limits is None:
        return None
    offsets = canvas.offsets(piece.points[piece.keep_out])
    probes = rng.choice(offsets, _PROBES)
    blocked = canvas.blocked.ravel()
    for number in _BATCHES:
        corners = rng.integers(limits[0], limits[1], size=(number, 3))
        bases = corners @ canvas.strides
        hopeful = ~blocked[bases[:, None] + probes[None, :]].any(axis=1)
        for corner, base in zip(corners[hopeful], bases[hopeful]):
            if not blocked[base + offsets].any():
                return np.asarray(corner)
    return None


@dataclass
class Packer:
    """Places molecules of all classes on one canvas.

    Attributes
    ----------
    canvas : Canvas
    rotators : list of Rotator
        One a class, in the order of the class numbers (from 1).
    rng : numpy.random.Generator
    """

    canvas: Canvas
    rotators: List[Rotator]
    rng: np.random.Generator
    labelled: int = 0

    @property
    def occupancy(self) -> float:
        """Part of the sample's voxels that molecules fill."""
        return self.labelled / self.canvas.slab_voxels

    def _put(self, index: int, corner: np.ndarray, piece: Piece, orientation: np.ndarray) -> None:
        rotator = self.rotators[index]
        molecule, scale = rotator.molecule, draw_scale(self.rng, rotator.variation)
        self.canvas.place(corner, piece, index + 1, molecule.name, "molecule", orientation,
                          molecule.mass_kDa, scale)
        self.labelled += piece.labelled

    def place_one(self, index: int) -> bool:
        """Place one molecule of a class; False when no place was found."""
        for _ in range(_ORIENTATIONS):
            drawn = self.rotators[index].random_piece(self.rng, self.canvas)
            if drawn is None:
                return False
            piece, orientation = drawn
            corner = find_place(self.canvas, piece, self.rng)
            if corner is not None:
                self._put(index, corner, piece, orientation)
                return True
        return False

    def place_bound(self, index: int, sites: Sequence[Tuple[np.ndarray, np.ndarray]]) -> bool:
        """Place one molecule on a membrane.

        Parameters
        ----------
        index : int
            Class, from 0.
        sites : sequence of (point, normal)
            Points on the middle of a membrane and outward normals, ``(z, y, x)``, voxels.

        Notes
        -----
        The molecule's z axis is turned to the normal, with a random turn about it; it is moved
        outwards from the membrane until it touches nothing.
        """
        rotator = self.rotators[index]
        reach = rotator.molecule.radius_A / self.canvas.voxel_size_A
        for point, normal in sites:
            spin = float(self.rng.uniform(0.0, 2.0 * np.pi))
            orientation = orientation_along(normal[::-1], spin)
            piece = rotator.drawn_piece(orientation, (0.0, 0.0, 0.0), self.rng)
            for distance in np.arange(0.0, reach + 8.0, 0.5):
                corner = np.rint(point + distance * normal - np.array(piece.centre)).astype(int)
                if self.canvas.is_free(corner, piece):
                    self._put(index, corner, piece, orientation)
                    return True
        return False

    def place_copies(self, copies: Dict[int, int], best_effort: bool = False) -> None:
        """Place given numbers of molecules, large ones first.

        Raises
        ------
        DualError
            If not all find a place, unless `best_effort`.
        """
        order = sorted(copies, key=lambda one: -self.rotators[one].molecule.volume_A3)
        for index in order:
            for done in range(copies[index]):
                if self.place_one(index):
                    continue
                report_shortfall(
                    f"only {done} of {copies[index]} copies of "
                    f"{self.rotators[index].molecule.name} found a place (molecules fill "
                    f"{self.occupancy:.3f} of the sample); place fewer copies or take a larger "
                    "volume", best_effort)
                break
            logger.info("%s: placed, occupancy %.4f", self.rotators[index].molecule.name,
                        self.occupancy)

    def fill(self, occupancy: float, abundances: Dict[int, float],
             best_effort: bool = False) -> None:
        """Place molecules by relative abundance until they fill a part of the sample.

        Most are placed large ones first, which packs densest; the rest is drawn at random.

        Raises
        ------
        DualError
            If no class finds a place any more before the occupancy is reached, unless
            `best_effort`.
        """
        # A mask of the molecule's own grid is near enough to count copies with.
        voxels = {one: self.rotators[one].molecule.volume_A3 / self.canvas.voxel_size_A ** 3
                  for one in abundances}
        wanted = occupancy * self.canvas.slab_voxels
        average = sum(abundances[one] * voxels[one] for one in abundances)
        scale = max(0.0, wanted - self.labelled) / average
        placeable = set(abundances)
        for index in sorted(abundances, key=lambda one: -voxels[one]):
            for _ in range(int(0.97 * scale * abundances[index])):
                if self.labelled >= wanted:
                    return
                if not self.place_one(index):
                    placeable.discard(index)
                    break
        while self.labelled < wanted and placeable:
            missing = wanted - self.labelled
            smallest = min(placeable, key=lambda one: voxels[one])
            # The last ones must not overshoot by a large complex.
            choice = [one for one in sorted(placeable)
                      if voxels[one] <= 1.5 * missing or one == smallest]
            weights = np.array([abundances[one] for one in choice])
            index = choice[int(self.rng.choice(len(choice), p=weights / weights.sum()))]
            if not self.place_one(index):
                placeable.discard(index)
        if self.labelled < wanted:
            report_shortfall(f"occupancy {occupancy:g} was not reached: molecules fill "
                             f"{self.occupancy:.3f} of the sample and no more find a place; ask "
                             "for a lower occupancy", best_effort)


def fits(molecule: Molecule, canvas: Canvas) -> bool:
    """Whether a molecule is no larger than the sample, its axes laid as is best."""
    sides = sorted(side * canvas.voxel_size_A for side in canvas.slab_shape)
    return all(extent <= side for extent, side in zip(molecule.extents_A, sides))


def check_fit(molecule: Molecule, canvas: Canvas) -> None:
    """Raise DualError when a molecule is larger than the sample, however its axes are laid."""
    if not fits(molecule, canvas):
        molecule_sides = " x ".join(f"{extent:.0f}" for extent in molecule.extents_A)
        sample = " x ".join(f"{side * canvas.voxel_size_A:.0f}" for side in canvas.slab_shape)
        raise DualError(f"molecule {molecule.name} ({molecule_sides} A) is larger than the "
                        f"sample ({sample} A, z y x); give a larger --shape or --thickness, or "
                        "choose smaller ones with --molecules")
