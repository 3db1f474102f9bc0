"""Gold beads."""

from __future__ import annotations

import math

import numpy as np

from dual_core.errors import DualError
from dual_core.grand_models.canvas import Canvas, Piece, piece_from_box
from dual_core.grand_models.molecules.density import PROTEIN_DENSITY, blurred_step
from dual_core.grand_models.packing import find_place

# Mean inner potentials over that of ice: gold about 25 V, protein about 2.5 to 3 V.
GOLD_DENSITY = 8.5 * PROTEIN_DENSITY


def gold_piece(diameter_A: float, voxel_size_A: float, sigma_A: float,
               shift: np.ndarray) -> Piece:
    """A gold bead; its mask ends at its surface, where the blurred density is half.

    Parameters
    ----------
    diameter_A, voxel_size_A, sigma_A : float
    shift : numpy.ndarray
        The centre lies this far ``(z, y, x)`` from the middle voxel.
    """
    half = int(math.ceil((0.5 * diameter_A + 4.0 * sigma_A) / voxel_size_A)) + 1
    axis = np.arange(-half, half + 1)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt((z - shift[0]) ** 2 + (y - shift[1]) ** 2 + (x - shift[2]) ** 2)
    depth_A = radius * voxel_size_A - 0.5 * diameter_A
    density = GOLD_DENSITY * blurred_step(depth_A, sigma_A)
    # A bead smaller than a voxel still has one.
    mask = (depth_A <= 0.0) | (radius == radius.min())
    centre = (half + float(shift[0]), half + float(shift[1]), half + float(shift[2]))
    return piece_from_box(density, centre, mask=mask)


def place_gold(canvas: Canvas, number: int, diameter_nm: float, sigma_A: float,
               class_number: int, rng: np.random.Generator) -> None:
    """Place gold beads; their diameters vary by 5 % (standard deviation).

    Raises
    ------
    DualError
        If not all find a place.
    """
    for done in range(number):
        diameter_A = 10.0 * diameter_nm * float(np.clip(rng.normal(1.0, 0.05), 0.8, 1.2))
        shift = rng.uniform(-0.5, 0.5, 3)
        piece = gold_piece(diameter_A, canvas.voxel_size_A, sigma_A, shift)
        corner = find_place(canvas, piece, rng)
        if corner is None:
            raise DualError(f"only {done} of {number} gold beads of {diameter_nm:g} nm were "
                            "placed, no more find a place; ask for fewer or smaller ones or a "
                            "larger volume")
        canvas.place(corner, piece, class_number, "gold", "gold")
