"""Molecules: phantoms and maps come out on one scale of mass and density."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.grand_models.molecules.density import PROTEIN_DENSITY, resolution_sigma_A
from dual_core.grand_models.molecules.maps import estimated_mass_kDa, map_density
from dual_core.grand_models.molecules.phantoms import PHANTOMS, phantom_density, symmetry_matrices
from dual_core.grand_models.molecules.sources import (
    MoleculeSpec,
    load_molecule,
    molecule_from_density,
)
from dual_core.grand_models.orientations import as_zyx, orientation_from_euler, random_orientation
from dual_core.grand_models.packing import Rotator
from dual_core.volumes.reading import write_volume

VOXEL_A = 10.0


# Molecules ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PHANTOMS))
def test_a_phantom_has_its_mass_at_protein_density(name):
    density = phantom_density(PHANTOMS[name], 8.0, resolution_sigma_A(16.0))
    assert density.sum() * 8.0 ** 3 == pytest.approx(1000.0 * PHANTOMS[name].mass_kDa, rel=1e-9)
    inside = density[density > 0.5 * PROTEIN_DENSITY]
    assert 0.7 * PROTEIN_DENSITY < inside.mean() < 1.5 * PROTEIN_DENSITY
    assert density.min() >= 0.0


def test_phantoms_span_the_promised_masses_and_symmetries():
    masses = [phantom.mass_kDa for phantom in PHANTOMS.values()]
    assert min(masses) == 100.0 and max(masses) == 4000.0
    assert {phantom.symmetry == "C1" for phantom in PHANTOMS.values()} == {True, False}


@pytest.mark.parametrize("name", ["clamp_270", "cube_480"])
def test_a_phantom_has_its_point_group_and_no_more(name):
    density = phantom_density(PHANTOMS[name], 6.0, 8.0)
    matrices = symmetry_matrices(PHANTOMS[name].symmetry)
    middle = (np.array(density.shape) - 1) / 2

    def turned(matrix):
        back = as_zyx(matrix).T
        return ndimage.affine_transform(density, back, middle - back @ middle, order=3)

    for matrix in matrices:
        assert np.corrcoef(turned(matrix).ravel(), density.ravel())[0, 1] > 0.99
    third = orientation_from_euler(120.0 if name == "cube_480" else 90.0, 0.0, 0.0)
    assert np.corrcoef(turned(third).ravel(), density.ravel())[0, 1] < 0.95


def test_unknown_symmetry_is_refused():
    with pytest.raises(DualError, match="symmetry"):
        symmetry_matrices("T")


@pytest.mark.parametrize("scale", [1.0, 365.0])
def test_a_molecule_is_mass_normalised_whatever_the_scale_of_its_density(scale):
    density = scale * phantom_density(PHANTOMS["clamp_270"], 5.0, 4.5)
    molecule = molecule_from_density(MoleculeSpec("m"), density, 5.0, 270.0, "test")
    assert molecule.density.sum() * 5.0 ** 3 == pytest.approx(270e3, rel=1e-9)
    turned = Rotator(molecule, VOXEL_A).turned(random_orientation(np.random.default_rng(1)))
    assert turned.sum() * VOXEL_A ** 3 == pytest.approx(270e3, rel=1e-9)


# Maps ---------------------------------------------------------------------------------------


def write_map(path: Path, voxel_size_A: float, noise: float = 0.0, offset: int = 0) -> None:
    density = 365.0 * phantom_density(PHANTOMS["barrel_960"], voxel_size_A, 5.0)
    density = np.pad(density, ((offset, 0), (0, offset), (3, 3)))
    if noise:
        density += noise * np.random.default_rng(0).standard_normal(density.shape)
    write_volume(path, density.astype(np.float32), voxel_size_A)


@pytest.mark.parametrize("voxel_size_A, noise", [(10.0, 0.0), (6.0, 0.0), (6.0, 5.0)])
def test_a_map_comes_out_on_the_common_scale_and_grid(tmp_path, voxel_size_A, noise):
    write_map(tmp_path / "m.mrc", voxel_size_A, noise, offset=7)
    molecule = load_molecule(MoleculeSpec("m", tmp_path / "m.mrc"), VOXEL_A, 20.0)
    truth = load_molecule(MoleculeSpec("barrel_960"), VOXEL_A, 20.0)
    assert molecule.voxel_size_A == truth.voxel_size_A
    assert molecule.mass_kDa == pytest.approx(960.0, rel=0.25)
    assert molecule.radius_A == pytest.approx(truth.radius_A, abs=12.0)
    box = Rotator(molecule, VOXEL_A).turned(np.eye(3))
    true_box = Rotator(truth, VOXEL_A).turned(np.eye(3))
    side = min(len(box), len(true_box)) // 2 - 1
    middle, true_middle = len(box) // 2, len(true_box) // 2
    part = box[(slice(middle - side, middle + side + 1),) * 3]
    true_part = true_box[(slice(true_middle - side, true_middle + side + 1),) * 3]
    assert np.corrcoef(part.ravel(), true_part.ravel())[0, 1] > 0.95


def test_a_given_mass_and_threshold_are_used(tmp_path):
    write_map(tmp_path / "m.mrc", 8.0)
    density, mass, note = map_density(tmp_path / "m.mrc", 8.0, 16.0, threshold=100.0,
                                      mass_kDa=500.0)
    assert mass == 500.0 and "given" in note and "100" in note
    assert density.sum() * 8.0 ** 3 == pytest.approx(500e3)
    loose, _, _ = map_density(tmp_path / "m.mrc", 8.0, 16.0, threshold=10.0, mass_kDa=500.0)
    assert np.count_nonzero(loose > 0.01) > np.count_nonzero(density > 0.01)


def test_the_mass_estimate_is_about_right_for_every_phantom():
    for phantom in PHANTOMS.values():
        density = 17.0 * phantom_density(phantom, 5.0, resolution_sigma_A(20.0))
        assert estimated_mass_kDa(density, 5.0) == pytest.approx(phantom.mass_kDa, rel=0.3)


def test_a_map_without_voxel_size_is_one_clear_line(tmp_path):
    write_map(tmp_path / "m.mrc", 8.0)
    with open(tmp_path / "m.mrc", "r+b") as file:
        file.seek(40)
        file.write(bytes(12))
    with pytest.raises(DualError, match="voxel size") as caught:
        load_molecule(MoleculeSpec("m", tmp_path / "m.mrc"), VOXEL_A, 20.0)
    assert "\n" not in str(caught.value)
    load_molecule(MoleculeSpec("m", tmp_path / "m.mrc", voxel_size_A=8.0), VOXEL_A, 20.0)


def test_a_dark_map_is_refused(tmp_path):
    density = -phantom_density(PHANTOMS["cube_480"], 10.0, 5.0)
    write_volume(tmp_path / "m.mrc", density.astype(np.float32), 10.0)
    with pytest.raises(DualError, match="dark"):
        load_molecule(MoleculeSpec("m", tmp_path / "m.mrc"), VOXEL_A, 20.0)
