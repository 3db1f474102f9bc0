"""Copies of a molecule that differ, and solvent that is not even."""

from __future__ import annotations

from dataclasses import replace
from typing import List, Tuple

import numpy as np
import pytest
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.grand_models.molecules.density import PROTEIN_DENSITY
from dual_core.grand_models.molecules.sources import Molecule, MoleculeSpec
from dual_core.grand_models.pack import GrandModel, PackConfig, load_molecules, pack_grand_model
from dual_core.grand_models.packing import Rotator
from dual_core.grand_models.variation import draw_scale, draw_variant, most_growth

VOXEL_A = 10.0
UPRIGHT = np.eye(3)


@pytest.fixture(scope="module")
def molecule() -> Molecule:
    config = PackConfig((MoleculeSpec("barrel_960"),), number=1)
    return load_molecules(config)[0]


def copies(molecule: Molecule, variation: float, count: int = 12) -> List[np.ndarray]:
    rotator, rng = Rotator(molecule, VOXEL_A, variation=variation), np.random.default_rng(3)
    return [rotator.turned(UPRIGHT, variant=draw_variant(rng, variation)) for _ in range(count)]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_copies_differ_the_more_the_larger_the_variation(molecule):
    def spread(variation: float) -> Tuple[float, float]:
        alike = Rotator(molecule, VOXEL_A, variation=variation).turned(UPRIGHT)
        found = [correlation(one, alike) for one in copies(molecule, variation)]
        return float(np.mean(found)), min(found)

    mean, least = spread(1.0)
    assert 0.97 < mean < 0.9995, "another shape, the same molecule"
    assert least > 0.9
    assert spread(2.0)[0] < mean
    assert spread(0.01)[0] > 0.9999


def test_a_variation_changes_neither_the_mass_nor_what_holds_it(molecule):
    for box in copies(molecule, 3.0):
        mass_kDa = box.sum() * VOXEL_A**3 / 1000.0
        assert mass_kDa == pytest.approx(molecule.mass_kDa, rel=1e-6)
        rim = np.ones(box.shape, bool)
        rim[1:-1, 1:-1, 1:-1] = False
        assert box[rim].max() < 0.02 * PROTEIN_DENSITY, "cut by its box"
        assert (box >= 0.0).all()


def test_the_b_factor_takes_detail_and_bends_leave_it(molecule):
    def detail(box: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfftn(box)) ** 2
        axes = [np.fft.fftfreq(n) for n in box.shape[:2]] + [np.fft.rfftfreq(box.shape[2])]
        frequency = np.sqrt(sum(np.square(axis) for axis in np.ix_(*axes)))
        return float(spectrum[frequency > 0.35].sum() / spectrum.sum())

    rotator = Rotator(molecule, VOXEL_A, variation=1.0)
    variant = draw_variant(np.random.default_rng(0), 1.0)
    sharp = rotator.turned(UPRIGHT, variant=replace(variant, b_factor_A2=0.0))
    blurred = rotator.turned(UPRIGHT, variant=replace(variant, b_factor_A2=2000.0))
    # exp(-B s^2 / 2) of the power at s = 0.035 per angstrom and beyond.
    assert detail(blurred) < 0.4 * detail(sharp)
    assert detail(sharp) > 0.7 * detail(rotator.turned(UPRIGHT))


def test_the_listed_centre_of_a_bent_molecule_is_its_centre_of_mass(molecule):
    rotator, rng = Rotator(molecule, VOXEL_A, variation=3.0), np.random.default_rng(1)
    for _ in range(5):
        piece = rotator.drawn_piece(UPRIGHT, (0.3, -0.2, 0.1), rng)
        box = np.zeros(piece.box)
        box[tuple(piece.points.T)] = piece.values
        np.testing.assert_allclose(piece.centre, ndimage.center_of_mass(box), atol=0.1)


def test_draws_stay_within_what_the_box_was_made_for():
    rng = np.random.default_rng(0)
    variants = [draw_variant(rng, 1.0) for _ in range(300)]
    points = 100.0 * np.eye(3)  # on a sphere: one along each axis
    for variant in variants:
        np.testing.assert_allclose(variant.strain, variant.strain.T)
        assert abs(variant.axis @ variant.aside) < 1e-9
        moved = np.linalg.norm(variant.moved(points, 100.0), axis=0)
        assert moved.max() < 100.0 * most_growth(1.0) and moved.min() > 100.0 / most_growth(1.0)
        assert variant.b_factor_A2 >= 0.0
    scales = [draw_scale(rng, 1.0) for _ in range(300)]
    assert np.std(scales) == pytest.approx(0.03, rel=0.2)
    assert draw_scale(rng, 0.0) == 1.0


def packed(**settings: object) -> GrandModel:
    config = PackConfig((MoleculeSpec("clamp_270"),), shape=(40, 56, 56), number=4, seed=2,
                        thickness_nm=32.0, **settings)
    return pack_grand_model(config, load_molecules(config))


def test_copies_in_a_grand_model_differ_and_without_variation_they_do_not():
    def spread_of_peaks(variation: float) -> float:
        canvas = packed(variation=variation).canvas
        peaks = [canvas.density[canvas.instances == one.instance].mean()
                 for one in canvas.particles]
        return float(np.std(peaks) / np.mean(peaks))

    assert spread_of_peaks(0.0) < 0.01 < spread_of_peaks(1.0)


def test_solvent_fluctuates_where_there_is_nothing_else_and_labels_stay():
    even, uneven = packed(), packed(solvent=0.05)
    np.testing.assert_array_equal(uneven.canvas.classes, even.canvas.classes)
    np.testing.assert_array_equal(uneven.canvas.instances, even.canvas.instances)
    change = uneven.canvas.density - even.canvas.density
    first, last = uneven.canvas.slab
    assert not change[:first].any() and not change[last:].any(), "there is no ice"
    empty = (even.canvas.density == 0.0)[first:last]
    assert change[first:last][empty].std() == pytest.approx(0.05 * PROTEIN_DENSITY, rel=0.1)
    assert abs(change[first:last].mean()) < 0.005 * PROTEIN_DENSITY
    inside = even.canvas.density > 0.8 * PROTEIN_DENSITY
    assert change[inside].std() < 0.3 * 0.05 * PROTEIN_DENSITY
    again = packed(solvent=0.05)
    np.testing.assert_array_equal(again.canvas.density, uneven.canvas.density)


@pytest.mark.parametrize("wrong", ({"variation": -0.1}, {"variation": float("nan")},
                                   {"solvent": -0.01}, {"solvent": 9.0}))
def test_impossible_amounts_are_refused(wrong):
    with pytest.raises(DualError, match="outside of the possible range"):
        packed(**wrong)
