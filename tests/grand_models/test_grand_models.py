"""Grand models: molecules on one scale, packed without overlap, labelled truly."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.grand_models.canvas import Canvas, piece_from_box
from dual_core.grand_models.labels import CSV_COLUMNS, write_csv, write_star
from dual_core.grand_models.molecules.density import (
    MASK_DENSITY,
    PROTEIN_DENSITY,
    TAIL_DENSITY,
    resolution_sigma_A,
)
from dual_core.grand_models.molecules.maps import estimated_mass_kDa, map_density
from dual_core.grand_models.molecules.molecule_list import read_molecule_list, resolve_molecules
from dual_core.grand_models.molecules.phantoms import PHANTOMS, phantom_density, symmetry_matrices
from dual_core.grand_models.molecules.sources import (
    MoleculeSpec,
    load_molecule,
    molecule_from_density,
)
from dual_core.grand_models.orientations import (
    as_zyx,
    euler_angles,
    orientation_along,
    orientation_from_euler,
    random_orientation,
)
from dual_core.grand_models.pack import PackConfig, load_molecules, pack_grand_model
from dual_core.grand_models.packing import Rotator
from dual_core.grand_models.structures.fiducials import GOLD_DENSITY, gold_piece
from dual_core.grand_models.structures.membranes import (
    LEAFLET_DISTANCE_A,
    Vesicle,
    leaflet_profile,
    vesicle_piece,
)
from dual_core.volumes.reading import write_volume

VOXEL_A = 10.0
SMALL = ("antibody_150", "clamp_270", "cube_480", "barrel_960")


def specs(*names: str, **settings: object) -> tuple:
    return tuple(MoleculeSpec(name, **settings) for name in names)


@pytest.fixture(scope="module")
def config() -> PackConfig:
    return PackConfig(specs(*SMALL), shape=(48, 72, 80), occupancy=0.06, vesicles=1,
                      vesicle_radius_nm=(9.0, 11.0), gold=2, gold_diameter_nm=6.0,
                      thickness_nm=44.0, seed=5)


@pytest.fixture(scope="module")
def model(config):
    return pack_grand_model(config, load_molecules(config))


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


# Atomic models ------------------------------------------------------------------------------

PDB_LINE = ("ATOM  {serial:5d}  CA  ALA A{residue:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00"
            "           C  \n")
TWO_FOLD = """\
REMARK 350 BIOMOLECULE: 1
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000       80.00000
REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000
"""


def write_pdb(path: Path, remark: str = TWO_FOLD) -> None:
    points = np.random.default_rng(2).uniform(0.0, 30.0, (400, 3)) * (1.0, 0.4, 2.0)
    lines = [PDB_LINE.format(serial=n + 1, residue=n + 1, x=x, y=y, z=z)
             for n, (x, y, z) in enumerate(points)]
    path.write_text(remark + "".join(lines) + "END\n", encoding="ascii")


def test_the_biological_assembly_is_built(tmp_path):
    pytest.importorskip("gemmi")
    write_pdb(tmp_path / "two.pdb")
    whole = load_molecule(MoleculeSpec("two", tmp_path / "two.pdb"), VOXEL_A, 20.0)
    half = load_molecule(MoleculeSpec("one", tmp_path / "two.pdb", assembly="none"), VOXEL_A, 20.0)
    assert whole.mass_kDa == pytest.approx(2.0 * half.mass_kDa)
    # 400 residues of which only the carbon is there, and the hydrogens of an alanine.
    assert half.mass_kDa == pytest.approx(0.4 * (12.011 + 5 * 1.008), rel=0.01)
    two_fold = ndimage.rotate(whole.density, 180.0, axes=(1, 2), reshape=False)
    assert np.corrcoef(two_fold.ravel(), whole.density.ravel())[0, 1] > 0.8
    with pytest.raises(DualError, match="no biological assembly '7'"):
        load_molecule(MoleculeSpec("x", tmp_path / "two.pdb", assembly="7"), VOXEL_A, 20.0)


def test_an_atomic_model_keeps_its_hand_and_axes(tmp_path):
    gemmi = pytest.importorskip("gemmi")
    write_pdb(tmp_path / "one.pdb", remark="")
    molecule = load_molecule(MoleculeSpec("one", tmp_path / "one.pdb"), 4.0, 8.0)
    atoms = [atom.pos.tolist() for chain in gemmi.read_structure(str(tmp_path / "one.pdb"))[0]
             for residue in chain for atom in residue]
    positions = np.array(atoms) - np.mean(atoms, axis=0)
    index = positions[:, ::-1] / molecule.voxel_size_A + np.array(molecule.centre)
    at_atoms = ndimage.map_coordinates(molecule.density, index.T, order=1)
    mirrored = (positions * (-1.0, 1.0, 1.0))[:, ::-1] / molecule.voxel_size_A
    elsewhere = ndimage.map_coordinates(molecule.density, (mirrored + molecule.centre).T, order=1)
    assert at_atoms.mean() > 1.1 * elsewhere.mean()
    assert (at_atoms > 0.0).all()


@pytest.mark.parametrize("text", [
    "", "nothing of the kind\n" * 4,
    "ATOM      1  CA  ALA A   1      xx.xxx  11.000  12.000  1.00 20.00           C\n",
    "ATOM      1  CA  ALA A   1      10.000  11.0",
])
@pytest.mark.parametrize("suffix", ["pdb", "cif"])
def test_a_broken_atomic_model_is_one_clear_line(tmp_path, text, suffix):
    pytest.importorskip("gemmi")
    path = tmp_path / f"broken.{suffix}"
    path.write_text(text, encoding="ascii")
    with pytest.raises(DualError, match="broken") as caught:
        load_molecule(MoleculeSpec("broken", path), VOXEL_A, 20.0)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_without_gemmi_the_error_says_what_to_install(tmp_path, monkeypatch):
    write_pdb(tmp_path / "one.pdb")
    monkeypatch.setitem(__import__("sys").modules, "gemmi", None)
    with pytest.raises(DualError, match=r"pip install 'scipion-em-dual\[molecules\]'"):
        load_molecule(MoleculeSpec("one", tmp_path / "one.pdb"), VOXEL_A, 20.0)


# Lists of molecules -------------------------------------------------------------------------


def test_a_yaml_list_gives_names_numbers_and_files(tmp_path):
    (tmp_path / "list.yaml").write_text(
        "molecules:\n"
        "  - {name: one, file: a.mrc, copies: 3, mass_kDa: 500, threshold: 2.5}\n"
        "  - {file: b.pdb, abundance: 2}\n"
        "  - barrel_960\n"
        "  - {name: receptor, phantom: antibody_150, membrane_bound: true}\n", encoding="utf-8")
    one, two, three, four = read_molecule_list(tmp_path / "list.yaml")
    assert (one.name, one.path, one.copies, one.mass_kDa, one.threshold) == (
        "one", tmp_path / "a.mrc", 3, 500.0, 2.5)
    assert (two.name, two.abundance, two.copies) == ("b", 2.0, None)
    assert (three.name, three.path) == ("barrel_960", None)
    assert (four.phantom, four.membrane_bound) == ("antibody_150", True)


@pytest.mark.parametrize("entry, complaint", [
    ("{name: ribosomme, copies: 3}", "unknown class name 'ribosomme'"),
    ("{name: a, phantom: nothing}", "unknown class name 'nothing'"),
    ("{name: barrel_960, copys: 3}", "unknown key 'copys'"),
    ("{name: barrel_960, copies: -3}", "copies"),
    ("{name: barrel_960, copies: many}", "copies"),
    ("{name: barrel_960, abundance: .nan}", "abundance"),
    ("{name: barrel_960}\n  - {name: barrel_960}", "given twice"),
    ("{name: gold, phantom: barrel_960}", "reserved"),
    ("{name: [", "not valid YAML"),
    ("17", "not a mapping"),
])
def test_mistakes_in_a_yaml_list_are_one_clear_line(tmp_path, entry, complaint):
    (tmp_path / "list.yaml").write_text(f"molecules:\n  - {entry}\n", encoding="utf-8")
    with pytest.raises(DualError, match=complaint) as caught:
        read_molecule_list(tmp_path / "list.yaml")
    assert "\n" not in str(caught.value)


def test_a_folder_and_names_given_twice(tmp_path):
    for name in ("b.mrc", "a.pdb", "notes.txt"):
        (tmp_path / name).touch()
    assert [spec.name for spec in resolve_molecules([tmp_path])] == ["a", "b"]
    with pytest.raises(DualError, match="'a' is given twice"):
        resolve_molecules([tmp_path, tmp_path / "a.pdb"])
    assert len(resolve_molecules([])) == len(PHANTOMS)


# Orientations -------------------------------------------------------------------------------


def test_euler_angles_and_matrix_are_inverses():
    rng = np.random.default_rng(3)
    special = [orientation_from_euler(*angles)
               for angles in ((0, 0, 0), (30, 0, 40), (30, 180, 40), (-20, 90, 0))]
    for matrix in special + [random_orientation(rng) for _ in range(50)]:
        assert np.allclose(orientation_from_euler(*euler_angles(matrix)), matrix, atol=1e-9)
        assert np.linalg.det(matrix) == pytest.approx(1.0)


def test_the_convention_is_relions():
    """Elements of RELION's Euler_angles2matrix (euler.cpp), which maps reference to particle."""
    rot, tilt, psi = np.radians([20.0, 50.0, -75.0])
    matrix = orientation_from_euler(20.0, 50.0, -75.0)
    assert matrix[2] == pytest.approx(
        [np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)])
    assert matrix[:, 2] == pytest.approx(
        [-np.cos(psi) * np.sin(tilt), np.sin(psi) * np.sin(tilt), np.cos(tilt)])


def test_random_orientations_are_uniform():
    rng = np.random.default_rng(4)
    axes = np.array([random_orientation(rng)[:, 2] for _ in range(2000)])
    assert np.abs(axes.mean(axis=0)).max() < 0.05
    assert np.allclose(axes.T @ axes / 2000, np.eye(3) / 3, atol=0.03)


def test_an_orientation_along_a_normal_turns_z_onto_it():
    normal = np.array([0.3, -0.5, -0.8]) / np.linalg.norm([0.3, -0.5, -0.8])
    assert np.allclose(orientation_along(normal, 1.3) @ [0, 0, 1], normal)


# Packing ------------------------------------------------------------------------------------


def test_no_voxel_is_labelled_twice(model, config):
    """Every object still has all the voxels that it has alone."""
    canvas = model.canvas
    counts = np.bincount(canvas.instances.ravel(), minlength=len(canvas.particles) + 1)
    rotators = {one.name: Rotator(one, VOXEL_A) for one in load_molecules(config)}
    molecules = [one for one in canvas.particles if one.kind == "molecule"]
    assert len(molecules) > 10
    for particle in molecules:
        centre = np.array(particle.centre_voxel)
        shift = centre - np.rint(centre)
        piece = rotators[particle.name].piece(particle.orientation, tuple(shift))
        assert abs(counts[particle.instance] - piece.labelled) <= 2
    assert (counts[1:] > 0).all()


def test_masks_agree_with_each_other_and_with_the_density(model):
    canvas = model.canvas
    assert ((canvas.classes > 0) == (canvas.instances > 0)).all()
    for particle in canvas.particles:
        own = canvas.instances == particle.instance
        assert (canvas.classes[own] == particle.class_number).all()
        if particle.kind == "molecule":
            # Copies differ in density by some per cent; the mask is that of the nominal one.
            assert canvas.density[own].min() >= 0.89 * MASK_DENSITY
    assert (canvas.density >= 0.0).all()
    # Outside the masks there are tails, and the blurred edge of the gold.
    near_gold = ndimage.binary_dilation(canvas.classes == len(SMALL) + 2, iterations=2)
    assert canvas.density[(canvas.classes == 0) & ~near_gold].max() < 3.0 * MASK_DENSITY
    assert canvas.density.dtype == np.float32


def test_listed_centres_agree_with_the_masks(model):
    canvas = model.canvas
    for particle in canvas.particles:
        own = canvas.instances == particle.instance
        weight = canvas.density * own if particle.kind == "molecule" else own
        found = np.array(ndimage.center_of_mass(weight))
        assert np.abs(found - particle.centre_voxel).max() < 0.6
        assert np.allclose(particle.centre_A, np.array(particle.centre_voxel) * VOXEL_A)


def test_the_occupancy_is_reached_inside_the_sample(model, config):
    first, last = config.slab
    assert (first, last) == (2, 46)
    canvas = model.canvas
    labelled = np.isin(canvas.classes, np.arange(1, len(SMALL) + 1))
    assert model.occupancy == pytest.approx(labelled[first:last].mean(), abs=1e-9)
    assert 0.06 <= model.occupancy < 0.07
    assert not canvas.density[:first].any() and not canvas.density[last:].any()
    placed = {name: sum(one.name == name for one in canvas.particles) for name in SMALL}
    assert max(placed.values()) <= 3 * min(placed.values())


def test_mass_is_conserved(model):
    """Total density is the sum of the molecules' masses, but for the cut tails."""
    canvas = model.canvas
    mass = sum(one.mass_kDa for one in canvas.particles if one.kind == "molecule")
    other = np.isin(canvas.classes, (len(SMALL) + 1, len(SMALL) + 2))
    other = ndimage.binary_dilation(other, iterations=2)
    assert canvas.density[~other].sum() * VOXEL_A ** 3 / 1e3 == pytest.approx(mass, rel=0.04)


def test_the_same_seed_gives_the_same_bytes_and_another_another(config):
    small = replace(config, shape=(40, 48, 48), occupancy=0.04, vesicles=0, thickness_nm=None)
    molecules = load_molecules(small)

    def bytes_of(settings: PackConfig, index: int = 0) -> bytes:
        canvas = pack_grand_model(settings, molecules, index).canvas
        return canvas.density.tobytes() + canvas.instances.tobytes()

    first = bytes_of(small)
    assert first == bytes_of(small)
    assert first != bytes_of(replace(small, seed=6))
    assert first != bytes_of(small, index=1)


def test_euler_angles_reproduce_the_placed_molecule():
    config = PackConfig(specs("antibody_150", copies=3), shape=(40, 60, 60), seed=8)
    (molecule,) = load_molecules(config)
    canvas = pack_grand_model(config, [molecule]).canvas
    z, y, x = np.indices(canvas.shape)
    for particle in canvas.particles:
        matrix = orientation_from_euler(*particle.euler_deg)
        centre = np.array(particle.centre_voxel)
        # Independent of the packing code: every voxel is asked for its place in the file.
        relative = np.stack([x - centre[2], y - centre[1], z - centre[0]], axis=-1) * VOXEL_A
        in_file = (relative @ matrix) / molecule.voxel_size_A
        index = np.moveaxis(in_file[..., ::-1] + np.array(molecule.centre), -1, 0)
        expected = ndimage.map_coordinates(molecule.density, index, order=3)
        own = canvas.instances == particle.instance
        assert np.corrcoef(expected[own], canvas.density[own])[0, 1] > 0.99
        wrong = ndimage.map_coordinates(
            molecule.density,
            np.moveaxis((relative @ matrix.T / molecule.voxel_size_A)[..., ::-1]
                        + np.array(molecule.centre), -1, 0), order=3)
        assert np.corrcoef(wrong[own], canvas.density[own])[0, 1] < 0.9


def test_a_gap_keeps_molecules_apart():
    config = PackConfig(specs("cube_480", copies=8), shape=(48, 56, 56), gap_A=30.0, seed=1)
    canvas = pack_grand_model(config, load_molecules(config)).canvas
    assert len(canvas.particles) == 8
    for particle in canvas.particles:
        own = canvas.instances == particle.instance
        others = (canvas.instances > 0) & ~own
        distance = ndimage.distance_transform_edt(~others)[own].min() * VOXEL_A
        assert distance > 30.0


def test_membrane_bound_molecules_sit_on_the_membrane():
    bound = specs("antibody_150", copies=4, membrane_bound=True)
    config = PackConfig(bound, shape=(64, 64, 64), vesicles=1, vesicle_radius_nm=(14.0, 14.5))
    canvas = pack_grand_model(config, load_molecules(config)).canvas
    vesicle = canvas.particles[0]
    membrane = canvas.instances == vesicle.instance
    near = ndimage.binary_dilation(membrane, iterations=3)
    molecules = [one for one in canvas.particles if one.kind == "molecule"]
    assert len(molecules) == 4
    for particle in molecules:
        assert near[canvas.instances == particle.instance].any()
        outwards = np.subtract(particle.centre_voxel, vesicle.centre_voxel)[::-1]
        axis = particle.orientation @ [0.0, 0.0, 1.0]
        assert axis @ outwards / np.linalg.norm(outwards) > 0.9


def test_filaments_cross_the_sample():
    config = PackConfig(specs("antibody_150", copies=1), shape=(48, 64, 64), microtubules=1,
                        actin=1, seed=2)
    canvas = pack_grand_model(config, load_molecules(config)).canvas
    tube, thread = (canvas.classes == config.classes[name] for name in ("microtubule", "actin"))
    assert tube.sum() > 2 * thread.sum() > 0
    level = canvas.density[tube].mean()
    assert 0.3 * PROTEIN_DENSITY < level < PROTEIN_DENSITY


@pytest.mark.parametrize("settings, complaint", [
    ({"shape": (16, 16, 16)}, "shell_4000 .* is larger than the sample"),
    ({"shape": (48, 48, 48), "thickness_nm": 20.0}, "larger than the sample"),
    ({"thickness_nm": 2000.0}, "does not fit the volume"),
    ({"occupancy": 1.0}, "occupancy 1"),
    ({"occupancy": 0.1, "number": 4}, "not both"),
    ({"resolution_A": 8.0}, "resolution"),
    ({"vesicles": 2, "vesicle_radius_nm": (300.0, 300.0)}, "larger than the sample"),
    ({"shape": (37, 80, 80), "thickness_nm": 15.0, "molecules": specs("dimer_100"),
      "vesicles": 1}, "too thin for vesicles"),
    ({"shape": (40, 40, 40), "molecules": specs("dimer_100"), "vesicles": 30}, "only .* vesicles"),
])
def test_what_does_not_fit_is_one_clear_line(settings, complaint):
    with pytest.raises(DualError, match=complaint) as caught:
        config = replace(PackConfig(specs("shell_4000"), shape=(48, 48, 48)), **settings)
        pack_grand_model(config, load_molecules(config))
    assert "\n" not in str(caught.value)


def test_an_unreachable_occupancy_says_what_was_reached():
    config = PackConfig(specs("barrel_960"), shape=(40, 40, 40), occupancy=0.9)
    molecules = load_molecules(config)
    with pytest.raises(DualError, match=r"molecules fill 0\.[1-5]\d+ of the sample"):
        pack_grand_model(config, molecules)
    less = pack_grand_model(replace(config, best_effort=True), molecules)
    assert 0.1 < less.occupancy < 0.6


def test_copies_that_find_no_place_are_counted():
    config = PackConfig(specs("barrel_960", copies=500), shape=(40, 40, 40))
    with pytest.raises(DualError, match=r"only \d+ of 500 copies of barrel_960"):
        pack_grand_model(config, load_molecules(config))


# Membranes, gold, labels --------------------------------------------------------------------


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


def test_particle_lists_hold_what_was_placed(model, config, tmp_path):
    particles = model.canvas.particles
    write_csv(tmp_path / "p.csv", particles)
    with open(tmp_path / "p.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CSV_COLUMNS and len(rows) == len(particles)
    for row, particle in zip(rows, particles):
        assert int(row["class"]) == config.classes[row["name"]]
        assert float(row["z_A"]) == pytest.approx(VOXEL_A * float(row["z_voxel"]), abs=0.01)
        assert float(row["x_voxel"]) == pytest.approx(particle.centre_voxel[2], abs=1e-3)
        angles = [float(row[f"relion_{name}_deg"]) for name in ("rot", "tilt", "psi")]
        if particle.orientation is not None:
            assert np.allclose(orientation_from_euler(*angles), particle.orientation, atol=1e-4)
    write_star(tmp_path / "p.star", particles, "cell", config.shape)
    lines = (tmp_path / "p.star").read_text(encoding="utf-8").splitlines()
    names = [line.split()[0] for line in lines if line.startswith("_rln")]
    assert {"_rlnCoordinateX", "_rlnAngleTilt", "_rlnTomoName"} <= set(names)
    molecules = [one for one in particles if one.kind == "molecule"]
    data = [line.split() for line in lines if line.startswith("cell ")]
    assert len(data) == len(molecules)
    columns = names[names.index("_rlnTomoName"):]
    row = dict(zip(columns, data[0]))
    z, y, x = molecules[0].centre_voxel
    assert float(row["_rlnCoordinateX"]) == pytest.approx(x, abs=1e-3)
    assert float(row["_rlnCenteredCoordinateZAngst"]) == pytest.approx(
        (z - config.shape[0] // 2) * VOXEL_A, abs=0.01)
    assert len(data[0]) == len(columns)
