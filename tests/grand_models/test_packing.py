"""Packing: no overlap, the wanted occupancy, and labels that are true."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.grand_models.labels import CSV_COLUMNS, write_csv, write_star
from dual_core.grand_models.molecules.density import MASK_DENSITY, PROTEIN_DENSITY
from dual_core.grand_models.molecules.sources import MoleculeSpec
from dual_core.grand_models.orientations import orientation_from_euler
from dual_core.grand_models.pack import PackConfig, load_molecules, pack_grand_model
from dual_core.grand_models.packing import Rotator

VOXEL_A = 10.0
SMALL = ("antibody_150", "clamp_270", "cube_480", "barrel_960")


def specs(*names: str, **settings: object) -> tuple:
    return tuple(MoleculeSpec(name, **settings) for name in names)


@pytest.fixture(scope="module")
def config() -> PackConfig:
    return PackConfig(specs(*SMALL), shape=(48, 72, 80), occupancy=0.06, vesicles=1,
                      vesicle_radius_nm=(9.0, 11.0), gold=2, gold_diameter_nm=6.0,
                      thickness_nm=44.0, seed=5, variation=0.0)


@pytest.fixture(scope="module")
def model(config):
    return pack_grand_model(config, load_molecules(config))


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
    config = PackConfig(specs("antibody_150", copies=3), shape=(40, 60, 60), seed=8,
                        variation=0.0)
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
