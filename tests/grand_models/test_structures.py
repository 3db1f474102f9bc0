"""Membranes, gold beads and cut pieces: their shape, thickness and density."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dual_core.grand_models.canvas import Canvas, piece_from_box
from dual_core.grand_models.molecules.density import (
    PROTEIN_DENSITY,
    TAIL_DENSITY,
    resolution_sigma_A,
)
from dual_core.grand_models.orientations import random_orientation
from dual_core.grand_models.structures.fiducials import GOLD_DENSITY, gold_piece
from dual_core.grand_models.structures.membranes import (
    LEAFLET_DISTANCE_A,
    Vesicle,
    leaflet_profile,
    vesicle_piece,
)

VOXEL_A = 10.0


def test_a_bilayer_has_two_leaflets_4_nm_apart():
    sigma_A = resolution_sigma_A(10.0)
    distance = np.arange(-60.0, 60.0, 0.5)
    profile = leaflet_profile(distance, sigma_A)
    peaks = distance[1:-1][(profile[1:-1] > profile[:-2]) & (profile[1:-1] > profile[2:])]
    assert peaks == pytest.approx([-20.0, 20.0], abs=0.6)
    piece = vesicle_piece(Vesicle((150.0, 150.0, 150.0), np.eye(3)), 5.0, sigma_A)
    box = np.zeros(piece.box)
    box[tuple(piece.points.T)] = piece.values
    middle = int(round(piece.centre[0]))
    ray = box[middle, middle, middle:]
    tops = [n for n in range(1, len(ray) - 1) if ray[n - 1] < ray[n] >= ray[n + 1]]
    assert len(tops) == 2
    assert (tops[1] - tops[0]) * 5.0 == pytest.approx(LEAFLET_DISTANCE_A, abs=5.0)
    assert 0.4 * PROTEIN_DENSITY < ray.max() < PROTEIN_DENSITY


def test_the_thickness_is_the_same_all_around_an_ellipsoid():
    vesicle = Vesicle((120.0, 160.0, 200.0), random_orientation(np.random.default_rng(7)))
    piece = vesicle_piece(vesicle, 10.0, 4.5)
    box = np.zeros(piece.box, bool)
    box[tuple(piece.points[piece.mask].T)] = True
    filled = ndimage.binary_fill_holes(box)
    inside = filled & ~box
    depth = ndimage.distance_transform_edt(~inside)[box & ~ndimage.binary_erosion(filled)]
    assert depth.std() * 10.0 < 6.0
    assert 40.0 < depth.mean() * 10.0 < 80.0


def test_gold_is_far_brighter_than_protein_and_has_its_size():
    piece = gold_piece(100.0, 5.0, 4.5, np.zeros(3))
    assert piece.labelled * 5.0 ** 3 == pytest.approx(np.pi / 6.0 * 1e6, rel=0.03)
    assert piece.values.max() == pytest.approx(GOLD_DENSITY, rel=1e-3)
    assert 6.0 < GOLD_DENSITY / PROTEIN_DENSITY < 12.0


def test_a_piece_keeps_what_its_box_holds():
    box = np.zeros((9, 9, 9))
    box[2:5, 3:7, 4] = 1.0
    box[8, 8, 8] = 0.5 * TAIL_DENSITY
    piece = piece_from_box(box, (3.0, 4.5, 4.0))
    assert piece.box == (3, 4, 1) and piece.labelled == 12
    assert piece.centre == (1.0, 1.5, 0.0)
    canvas = Canvas((9, 9, 9), VOXEL_A, (1, 9))
    assert canvas.is_free(np.array([1, 0, 0]), piece)
    assert not canvas.is_free(np.array([0, 0, 0]), piece), "outside the sample"
    canvas.place(np.array([1, 0, 0]), piece, 1, "m", "molecule")
    assert not canvas.is_free(np.array([3, 3, 0]), piece)
    assert canvas.is_free(np.array([4, 3, 0]), piece)
