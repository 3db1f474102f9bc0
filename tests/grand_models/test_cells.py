"""A cell by default: of everything something, each thing as it should be, nothing overlapping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.grand_models.canvas import Canvas
from dual_core.grand_models.cell import CROWD_MG_PER_ML, contents_of
from dual_core.grand_models.config import OTHER_CLASSES, STRUCTURES
from dual_core.grand_models.molecules.density import (
    MASK_DENSITY,
    PROTEIN_DENSITY,
    resolution_sigma_A,
)
from dual_core.grand_models.molecules.sources import MoleculeSpec
from dual_core.grand_models.orientations import as_zyx
from dual_core.grand_models.pack import PackConfig, load_molecules, pack_grand_model
from dual_core.grand_models.structures.crowd import MASSES_KDA, MG_PER_ML, small_proteins
from dual_core.grand_models.structures.helices import (
    ACTIN,
    MICROTUBULE,
    Axis,
    FilamentKind,
    filament_piece,
)
from dual_core.grand_models.structures.membranes import leaflet_profile, random_bilayer
from dual_core.grand_models.structures.sheets import place_sheets

AS_A_CELL = dict.fromkeys((*STRUCTURES, "crowd"))
MOLECULES = (MoleculeSpec("dimer_100"), MoleculeSpec("antibody_150"), MoleculeSpec("cube_480"))


def cell(**settings: object) -> PackConfig:
    given = {"shape": (48, 96, 96), "voxel_size_A": 10.0, "occupancy": 0.04, "seed": 1,
             **AS_A_CELL, **settings}
    return PackConfig(MOLECULES, **given)


@pytest.fixture(scope="module")
def packed():
    config = cell()
    return config, pack_grand_model(config, load_molecules(config))


def test_a_default_cell_has_every_kind_in_its_label(packed):
    config, model = packed
    canvas = model.canvas
    names = {particle.name for particle in canvas.particles}
    assert names == {spec.name for spec in MOLECULES} | set(OTHER_CLASSES) - {"gold"}
    assert list(config.classes.values()) == list(range(1, len(config.classes) + 1))
    background = canvas.density[canvas.classes == 0].mean()
    for name in names:
        own = canvas.classes == config.classes[name]
        assert own.any() and canvas.density[own].mean() > 10.0 * background
    membranes = [one for one in canvas.particles if one.kind == "membrane"]
    assert len(membranes) >= 2, "a sheet and a vesicle"


def test_nothing_overlaps(packed):
    """Instances have the voxels that they would have alone: labels were never overwritten."""
    config, model = packed
    canvas = model.canvas
    assert ((canvas.classes > 0) == (canvas.instances > 0)).all()
    without = pack_grand_model(replace(config, crowd=0.0), load_molecules(config)).canvas
    others = without.instances > 0
    assert (canvas.instances[others] == without.instances[others]).all()
    assert np.array_equal(canvas.classes == config.classes["crowd"],
                          (canvas.instances > 0) & ~others)
    # Where two things touch, two tails add up and not two bodies.
    assert canvas.density.max() < 2.2 * PROTEIN_DENSITY
    assert canvas.density.min() >= 0.0


def test_the_same_seed_gives_the_same_bytes(packed):
    config, model = packed
    again = pack_grand_model(config, load_molecules(config)).canvas
    assert again.density.tobytes() == model.canvas.density.tobytes()
    assert again.instances.tobytes() == model.canvas.instances.tobytes()
    other = pack_grand_model(replace(config, seed=2), load_molecules(config)).canvas
    assert other.density.tobytes() != model.canvas.density.tobytes()


def test_zero_is_none_and_a_number_is_exact(packed):
    config, _ = packed
    molecules = load_molecules(config)
    none = pack_grand_model(replace(config, **dict.fromkeys(AS_A_CELL, 0)), molecules).canvas
    assert {one.kind for one in none.particles} == {"molecule"}
    given = {"sheets": 1, "vesicles": 0, "microtubules": 0, "actin": 5, "crowd": 0.0}
    some = pack_grand_model(replace(config, **given), molecules).canvas
    names = [one.name for one in some.particles]
    assert (names.count("membrane"), names.count("actin"), names.count("microtubule")) == (1, 5, 0)
    with pytest.raises(DualError, match="only .* of 900 filaments"):
        pack_grand_model(replace(config, microtubules=900), molecules)


def test_the_contents_go_with_the_volume():
    small, large = (contents_of(cell(shape=shape)) for shape in ((64, 128, 128), (256, 512, 512)))
    for name in STRUCTURES:
        assert getattr(large, name) > getattr(small, name) >= 1
    assert large.vesicles == pytest.approx(64 * small.vesicles, rel=0.6)
    assert small.by_default == set(AS_A_CELL)
    assert contents_of(cell(actin=2)).by_default == set(AS_A_CELL) - {"actin"}


@pytest.mark.parametrize("shape, voxel_A", [
    ((64, 96, 96), 5.0), ((64, 80, 80), 20.0), ((20, 60, 60), 8.0), ((12, 16, 16), 10.0)])
def test_volumes_of_any_size_are_packed(shape, voxel_A):
    config = replace(cell(shape=shape, voxel_size_A=voxel_A), molecules=MOLECULES[:1])
    model = pack_grand_model(config, load_molecules(config))
    assert model.crowd_mg_per_ml == pytest.approx(CROWD_MG_PER_ML, rel=0.4)
    assert model.canvas.particles[-1].name == "crowd"


def test_a_thin_sample_stays_inside_and_leaves_out_what_it_has_no_room_for():
    config = cell(shape=(48, 128, 128), thickness_nm=20.0)
    model = pack_grand_model(config, load_molecules(config))
    first, last = config.slab
    density = model.canvas.density
    assert not density[:first].any() and not density[last:].any()
    assert contents_of(config).left_out == ("vesicles", "microtubules")
    assert contents_of(replace(config, microtubules=0)).left_out == ("vesicles",)
    with pytest.raises(DualError, match="too thin for a microtubule"):
        pack_grand_model(replace(config, microtubules=1), load_molecules(config))
    assert not any(one.name == "microtubule" for one in model.canvas.particles)


# Membranes ----------------------------------------------------------------------------------


def test_a_vesicle_is_closed_and_a_sheet_divides_the_sample():
    for voxel_A in (5.0, 10.0, 20.0):
        nothing = {**dict.fromkeys(AS_A_CELL, 0), "voxel_size_A": voxel_A, "occupancy": None,
                   "number": 0, "shape": (int(480 / voxel_A),) * 3}
        for name, kwargs in (("vesicles", {"vesicle_radius_nm": (13.0, 13.0)}), ("sheets", {})):
            config = cell(**{**nothing, name: 1, **kwargs})
            canvas = pack_grand_model(config, load_molecules(config)).canvas
            parts, number = ndimage.label(canvas.classes == 0)
            sizes = np.sort(np.bincount(parts.ravel())[1:])[::-1]
            assert number >= 2 and sizes[1] > 0.002 * parts.size, (voxel_A, name)
            labelled, pieces = ndimage.label(canvas.classes == config.classes["membrane"])
            assert pieces == 1, "continuous"


def test_sheets_are_gently_curved_and_do_not_meet():
    canvas = Canvas((60, 160, 160), 10.0, (0, 60))
    place_sheets(canvas, 2, resolution_sigma_A(20.0), 1, np.random.default_rng(5))
    for number in (1, 2):
        points = np.argwhere(canvas.instances == number)
        centred = points - points.mean(axis=0)
        _, spread, axes = np.linalg.svd(centred[::7], full_matrices=False)
        height = centred @ axes[2]
        assert height.std() * 10.0 < 250.0, "nearly flat"
        assert height.std() * 10.0 > 18.0 / np.sqrt(3.0), "but as thick as a bilayer"
    assert not (ndimage.binary_dilation(canvas.instances == 1) & (canvas.instances == 2)).any()


def test_bilayers_vary_a_little():
    rng = np.random.default_rng(0)
    bilayers = [random_bilayer(rng) for _ in range(200)]
    distances = np.array([one.leaflet_distance_A for one in bilayers])
    scales = np.array([one.scale for one in bilayers])
    assert 0.5 < distances.std() < 3.0 and distances.min() >= 36.0 and distances.max() <= 44.0
    assert 0.03 < scales.std() < 0.1
    points_A = rng.uniform(0.0, 2000.0, (4000, 3))
    strength = bilayers[0].strength(points_A) / bilayers[0].scale
    assert 0.02 < strength.std() < 0.1 and strength.min() > 0.8
    thin, thick = (leaflet_profile(np.arange(60.0), 2.0, distance) for distance in (36.0, 44.0))
    assert np.argmax(thick) - np.argmax(thin) == 4


# Filaments ----------------------------------------------------------------------------------


def straight(kind: FilamentKind, voxel_A: float = 5.0, length: int = 120) -> Canvas:
    """A filament along x, in a box of its own; one that is longer than the box is cut."""
    side = int(2.4 * kind.outer_radius_A / voxel_A) + 12
    canvas = Canvas((side, side, length), voxel_A, (0, side))
    middle = (side - 1) / 2.0
    axis = Axis(np.array([middle, middle, length / 2.0]), np.array([0.0, 0.0, 1.0]),
                np.array([0.0, 1.0, 0.0]), 0.0)
    piece, corner = filament_piece(kind, canvas, axis, (-length, length), 4.5)
    canvas.place(corner, piece, 1, kind.name, "filament")
    canvas.seal(corner, piece)
    return canvas


def test_a_microtubule_is_a_hollow_tube_of_13_protofilaments_25_nm_thick():
    canvas = straight(MICROTUBULE)
    section = canvas.density.mean(axis=2)
    middle = (np.array(section.shape) - 1) / 2.0
    y, x = np.indices(section.shape)
    radius_A = 5.0 * np.hypot(y - middle[0], x - middle[1])
    assert section[radius_A < 60.0].max() < MASK_DENSITY, "hollow"
    assert not canvas.classes[:, :, 60][radius_A < 60.0].any()
    assert canvas.blocked[:, :, 60][radius_A < 60.0].all(), "and nothing may come in"
    wall = np.array([section[np.abs(radius_A - one) < 3.0].mean() for one in range(60, 150)])
    outer_nm = 0.2 * (60 + np.flatnonzero(wall > 0.5 * wall.max()).max())
    assert 23.5 < outer_nm < 26.5
    angles = np.linspace(0.0, 2.0 * np.pi, 360, endpoint=False)
    ring = ndimage.map_coordinates(section, [middle[0] + 22.0 * np.sin(angles),
                                             middle[1] + 22.0 * np.cos(angles)], order=1)
    assert np.argmax(np.abs(np.fft.rfft(ring - ring.mean()))) == 13
    assert ring.min() > 0.5 * ring.mean(), "walls are continuous"


@pytest.mark.parametrize("kind, thickness_nm", [(MICROTUBULE, None), (ACTIN, (6.5, 9.0))])
def test_a_filament_has_the_mass_per_length_of_its_subunits(kind, thickness_nm):
    canvas = straight(kind)
    per_A = canvas.density.sum() * 5.0 ** 3 / (canvas.shape[2] * 5.0)
    assert per_A == pytest.approx(kind.strands * kind.mass_Da / kind.rise_A, rel=0.05)
    if thickness_nm is not None:
        swept = canvas.density.max(axis=2)
        area_nm2 = np.count_nonzero(swept > 0.5 * swept.max()) * 0.25
        assert thickness_nm[0] < 2.0 * np.sqrt(area_nm2 / np.pi) < thickness_nm[1]


def test_actin_is_a_helix_that_crosses_over_every_36_nm():
    canvas = straight(ACTIN, length=240)
    side = np.array([ndimage.center_of_mass(canvas.density[:, :, n])[0] for n in range(240)])
    wave = np.abs(np.fft.rfft((side - side.mean()) * np.hanning(240), 4096))
    spacing_A = 5.0 * 4096 / np.argmax(wave)
    # Subunits of one long-pitch strand after the other: 27.5 A, turned by nearly half a turn.
    assert spacing_A == pytest.approx(27.5 * 360.0 / 166.6, rel=0.03)


def test_filaments_cross_the_sample_and_bend_little():
    config = cell(shape=(48, 128, 128), **{**dict.fromkeys(AS_A_CELL, 0), "microtubules": 2})
    canvas = pack_grand_model(config, load_molecules(config)).canvas
    tubes = [one for one in canvas.particles if one.name == "microtubule"]
    for tube in tubes:
        points = np.argwhere(canvas.instances == tube.instance)
        axis = as_zyx(tube.orientation)[:, 0]
        along = (points - points.mean(axis=0)) @ axis
        assert np.ptp(along) > 0.75 * 128
        assert ndimage.label(canvas.instances == tube.instance, np.ones((3, 3, 3)))[1] == 1


# Crowd --------------------------------------------------------------------------------------


def test_the_crowd_has_the_mass_that_was_asked_for():
    molecules = load_molecules(cell())
    for wanted in (10.0, 40.0, 80.0):
        config = cell(**{**dict.fromkeys(AS_A_CELL, 0), "crowd": wanted, "occupancy": 0.03})
        model = pack_grand_model(config, molecules)
        canvas = model.canvas
        assert model.crowd_mg_per_ml == pytest.approx(wanted, rel=0.02)
        molecules_Da = 1000.0 * sum(one.mass_kDa for one in canvas.particles
                                    if one.kind == "molecule")
        found = (canvas.density.sum() * 1000.0 - molecules_Da) / (canvas.slab_voxels * 1000.0)
        assert found / MG_PER_ML == pytest.approx(wanted, rel=0.08)
        (crowd,) = (one for one in canvas.particles if one.kind == "crowd")
        own = canvas.instances == crowd.instance
        assert (canvas.classes[own] == config.classes["crowd"]).all()
        assert np.allclose(np.argwhere(own).mean(axis=0), crowd.centre_voxel, atol=1e-6)


def test_a_crowd_that_finds_no_place_says_so():
    config = cell(**{**dict.fromkeys(AS_A_CELL, 0), "crowd": 400.0, "shape": (24, 40, 40)})
    with pytest.raises(DualError, match="crowd of 400 mg/ml was not reached"):
        pack_grand_model(config, load_molecules(config))
    less = pack_grand_model(replace(config, best_effort=True), load_molecules(config))
    assert 50.0 < less.crowd_mg_per_ml < 400.0


def test_small_proteins_are_small_and_always_the_same():
    masses = [protein.mass_kDa for protein in small_proteins()]
    assert (min(masses), max(masses)) == pytest.approx(MASSES_KDA)
    assert small_proteins() == small_proteins()
