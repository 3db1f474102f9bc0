"""Picking: what is found does not depend on how the volume is cut, and it is what is there."""

from __future__ import annotations

import csv
import json
import weakref

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import pdist

from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.particles import read_particles
from dual_core.picking import PickOptions, pick_particles, sigma_of_diameter
from dual_core.picking.difference_of_gaussians import DifferenceOfGaussians, local_maxima
from dual_core.picking.pick import keep_apart
from dual_core.picking.scan import Scan
from dual_core.volumes.reading import ArrayVolume, write_volume

VOXEL_A = 10.0
CENTRES = np.array([(9, 12, 40), (20, 35, 14), (31, 10, 11), (33, 40, 41), (12, 30, 44)])
SHAPE = (41, 53, 56)


def balls(centres=CENTRES, shape=SHAPE, radius=5.0, noise=0.0, seed=0):
    """Bright balls of different brightness, the first the brightest."""
    z, y, x = np.indices(shape)
    volume = np.zeros(shape, np.float32)
    for number, (cz, cy, cx) in enumerate(centres):
        inside = (z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
        volume[inside] = 2.0 - 0.1 * number
    return volume + noise * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def in_memory(array, voxel_size_A=VOXEL_A):
    return ArrayVolume(array, voxel_size_A, "test")


def options(**changes):
    return PickOptions(**{"diameter_A": 100.0, "contrast": "bright", "number": 5, **changes})


def noise_volume(shape=(37, 44, 50), seed=3):
    return in_memory(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("boundary", ["mean", "mirror"])
@pytest.mark.parametrize("contrast", ["dark", "bright"])
def test_balls_are_found_where_they_are_the_brightest_first(contrast, boundary):
    volume = balls() if contrast == "bright" else -balls()
    found = pick_particles(
        in_memory(volume), options(contrast=contrast, boundary=boundary), threads=1
    )
    assert found.positions.tolist() == CENTRES.tolist()
    assert (np.diff(found.scores) < 0).all() and (found.values > 0).all()


def test_the_contrast_is_found_out():
    found = pick_particles(
        in_memory(-balls(noise=0.3) + 100), options(contrast="auto"), threads=2
    )
    assert found.contrast == "dark"
    assert sorted(map(tuple, found.positions)) == sorted(map(tuple, CENTRES))


@pytest.mark.parametrize("boundary", ["mean", "mirror"])
@pytest.mark.parametrize("sigma", [1.0, 2.5])
def test_filter_is_the_difference_of_two_gaussians(sigma, boundary):
    """As scipy has it; with ``mean`` after each plane's mean and slope have been taken out."""
    volume = noise_volume().load() + 50
    y, x = np.indices(volume.shape[1:])
    if boundary == "mean":
        expected = []
        basis = np.stack([np.ones(y.size), y.ravel(), x.ravel()], axis=1)
        for plane in volume.astype(np.float64):
            fitted = basis @ np.linalg.lstsq(basis, plane.ravel(), rcond=None)[0]
            expected.append(plane - fitted.reshape(plane.shape))
        reference, mode = np.array(expected), "constant"
    else:
        reference, mode = volume.astype(np.float64), "reflect"
    reference = gaussian_filter(reference, sigma, mode=mode, truncate=7) - gaussian_filter(
        reference, 1.2 * sigma, mode=mode, truncate=7
    )
    assert np.allclose(filtered(volume, sigma, boundary), reference, atol=3e-5 * reference.std())


def filtered(volume, sigma, boundary="mean", block=None, threads=1):
    from concurrent.futures import ThreadPoolExecutor

    difference = DifferenceOfGaussians(in_memory(volume), sigma, 1.2, 1, boundary, block)
    with ThreadPoolExecutor(threads) as executor:
        return np.array(list(difference.planes(executor, threads)))


@pytest.mark.parametrize("boundary", ["mean", "mirror"])
def test_not_a_bit_depends_on_blocks_and_threads(boundary):
    volume = noise_volume().load()
    expected = filtered(volume, 2.0, boundary, block=37)
    for block, threads in ((1, 1), (5, 2), (16, 3), (None, 4)):
        assert np.array_equal(filtered(volume, 2.0, boundary, block, threads), expected)


def test_picks_do_not_depend_on_blocks():
    """No duplicate and no loss at an edge: every maximum, wherever the volume is cut."""
    wanted = PickOptions(sigma=1.5, min_distance_A=30, threshold=0.5, contrast="bright")
    expected = pick_particles(noise_volume(), wanted, threads=1)
    assert len(expected.scores) > 100
    assert pdist(expected.positions).min() >= 3.0
    for block in (1, 4, 7):
        again = pick_particles(noise_volume(), wanted, threads=2, block=block)
        assert np.array_equal(again.positions, expected.positions)
        assert np.array_equal(again.scores, expected.scores)


def test_planes_that_have_gone_by_are_not_kept_in_memory():
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(0)
    alive = []

    def planes():
        for _ in range(20):
            plane = rng.standard_normal((500, 480)).astype(np.float32)
            alive.append(weakref.ref(plane))
            yield plane

    # So large that not every voxel goes into the sample.
    scan = Scan(in_memory(np.zeros((20, 500, 480), np.int8)), None, 0.0)
    with ThreadPoolExecutor(2) as executor:
        scan.run(planes(), executor, 2, None)
    assert len(alive) == 20 and not [one for one in alive if one() is not None]
    assert len(scan.result()[0]) > 1000


def test_maxima_are_those_of_a_search_in_all_neighbours():
    values = np.random.default_rng(1).integers(-3, 6, (9, 11, 10)).astype(np.float32)
    found = []
    for z in range(9):
        y, x = local_maxima(
            values[z - 1] if z else None, values[z], values[z + 1] if z < 8 else None
        )
        found += [(z, *at) for at in zip(y, x)]
    order = np.arange(values.size).reshape(values.shape)
    expected = []
    for at in np.ndindex(*values.shape):
        near = tuple(slice(max(0, i - 1), i + 2) for i in at)
        others = values[near] == values[at]
        largest = values[at] >= values[near].max() and order[near][others].min() == order[at]
        if largest and values[at] > 0:
            expected.append(at)
    assert found == expected and len(expected) > 10


def test_better_picks_win_and_the_distance_is_kept():
    positions = np.array([(0, 0, 0), (0, 0, 5), (0, 0, 9), (0, 0, 10)])
    assert keep_apart(positions, 5.0).tolist() == [0, 1, 3]
    assert keep_apart(positions, 5.1).tolist() == [0, 2]
    assert keep_apart(positions, 5.0, number=2).tolist() == [0, 1]
    assert keep_apart(positions[:0], 5.0).tolist() == []


def test_number_and_threshold():
    volume = in_memory(balls(noise=0.5))
    all_of_them = pick_particles(volume, options(number=None, threshold=1.0), threads=1)
    best = pick_particles(volume, options(number=3), threads=1)
    assert best.positions.tolist() == all_of_them.positions[:3].tolist()
    level = float(all_of_them.scores[3:5].mean())
    above = pick_particles(volume, options(number=None, threshold=level), threads=1)
    assert np.array_equal(above.scores, all_of_them.scores[:4])
    by_default = pick_particles(volume, options(number=None), threads=1)
    assert np.array_equal(by_default.scores, all_of_them.scores[all_of_them.scores >= 4])


def test_scores_are_robust_deviations():
    """Whatever the scale and the offset; noise has Gaussian tails after the filter."""
    noise = noise_volume()
    one = pick_particles(noise, options(number=20, diameter_A=50.0), threads=1)
    other = pick_particles(
        in_memory(noise.load() * 100 + 7000), options(number=20, diameter_A=50.0), threads=1
    )
    assert np.allclose(one.scores, other.scores, rtol=1e-3)
    assert np.allclose(one.values * 100, other.values, rtol=1e-3)
    difference = filtered(noise.load(), sigma_of_diameter(50.0, VOXEL_A))
    share = (np.abs(difference - np.median(difference)) > 2 * difference.std()).mean()
    assert 0.02 < share < 0.08
    assert 2.0 < one.scores[0] < 6.5


def test_border_and_mask():
    volume = in_memory(balls())
    inner = pick_particles(volume, options(border_A=95.0), threads=1)
    near = [c.tolist() for c in CENTRES if min(c.min(), (np.array(SHAPE) - 1 - c).min()) < 9.5]
    assert near, "otherwise nothing is tested"
    assert not [p for p in inner.positions.tolist() if p in near]
    mask = np.zeros(SHAPE, np.float32)
    mask[:, 25:] = 1
    masked = pick_particles(volume, options(), in_memory(mask), threads=1)
    assert (masked.positions[:, 1] >= 25).all()
    assert {tuple(c) for c in CENTRES if c[1] >= 25} <= set(map(tuple, masked.positions))


def test_what_is_at_a_face_is_not_doubled():
    """A slope and a flat profile along z make no picks; mirroring puts picks on the faces."""
    volume = noise_volume((24, 60, 60)).load()
    volume += np.linspace(-20, 20, 60)[None, None] + np.linspace(30, -30, 24)[:, None, None]
    volume = in_memory(volume.astype(np.float32))

    def on_faces(boundary):
        wanted = options(sigma=4.0, min_distance_A=50, number=15, boundary=boundary)
        found = pick_particles(volume, wanted, threads=1).positions
        return ((found == 0) | (found == np.array(volume.shape) - 1)).any(axis=1).mean()

    assert on_faces("mean") < 0.2 < on_faces("mirror")


@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 40, 5), (30, 2, 2), (9, 9, 9)])
def test_volumes_thinner_than_the_kernel(shape):
    volume = np.zeros(shape, np.float32)
    at = tuple(length // 2 for length in shape)
    volume[at] = 1.0
    found = pick_particles(in_memory(volume), options(sigma=6.0, number=1), threads=1)
    assert np.abs(found.positions[0] - at).max() <= 1


def test_the_papers_sigma_belongs_to_its_ribosome():
    assert sigma_of_diameter(280.0, 10.0) == pytest.approx(8.0, rel=0.02)


def test_the_formula_gives_the_strongest_answer_of_a_ball():
    ball = balls(centres=[(24, 24, 24)], shape=(49, 49, 49), radius=8.0)
    best = sigma_of_diameter(160.0, 10.0)

    def answer(sigma):
        # Of the scale-normalised Laplacian: the factor's step is a fixed share of sigma.
        return (gaussian_filter(ball, sigma) - gaussian_filter(ball, 1.02 * sigma))[24, 24, 24]

    assert answer(best) > answer(0.85 * best) and answer(best) > answer(1.15 * best)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diameter_A": None}, "--diameter"),
        ({"factor": 1.0}, "factor"),
        ({"diameter_A": 10.0}, "sigma is"),
        ({"border_A": 300.0}, "border"),
        ({"boundary": "zero"}, "boundary"),
    ],
)
def test_options_without_sense(change, message):
    with pytest.raises(DualError, match=message):
        pick_particles(in_memory(balls()), options(**change), threads=1)


def test_volumes_without_sense():
    flat = in_memory(np.full(SHAPE, 3.0, np.float32))
    with pytest.raises(DualError, match="every voxel is 3"):
        pick_particles(flat, options(), threads=1)
    holed = balls()
    holed[20, 7, 9] = np.nan
    with pytest.raises(DualError, match="20, 7, 9"):
        pick_particles(in_memory(holed), options(), threads=1)
    with pytest.raises(DualError, match="mask of the tomogram's shape"):
        pick_particles(in_memory(balls()), options(), in_memory(balls()[1:]), threads=1)


# dual pick ------------------------------------------------------------------------------------


@pytest.fixture
def tomograms(tmp_path):
    paths = []
    for number in range(2):
        volume = np.clip(-30 * balls(noise=0.3, seed=number), -127, 127).astype(np.int8)
        paths.append(tmp_path / f"tomo {number}.mrc")
        write_volume(paths[-1], volume, VOXEL_A)
    return paths


def test_command_writes_lists_that_agree(tomograms, tmp_path):
    output = tmp_path / "picks"
    arguments = ["pick", *map(str, tomograms), "--output", str(output), "--number", "5"]
    assert main([*arguments, "--diameter", "100", "-q"]) == 0
    names = {f"tomo {n}_picks.{kind}" for n in (0, 1) for kind in ("csv", "star")}
    names |= {"pick.jsonl", "pick.yaml", "pick.status.json"}
    assert {path.name for path in output.iterdir()} == names
    table = read_particles(output / "tomo 0_picks.csv")
    star = read_particles(output / "tomo 0_picks.star")
    assert {tuple(p) for p in table.voxels.astype(int)} == set(map(tuple, CENTRES))
    assert np.allclose(table.angstroms, table.voxels * VOXEL_A)
    assert np.array_equal(star.voxels, table.voxels) and np.array_equal(
        star.angstroms, table.angstroms
    )
    assert np.array_equal(star.scores(), table.scores())
    assert table.columns["pick"] == ["1", "2", "3", "4", "5"]
    assert set(star.columns["rlnTomoName"]) == {"tomo_0"}


def test_command_resumes_and_goes_on_after_a_failure(tomograms, tmp_path, capsys):
    output = tmp_path / "picks"
    bad = tmp_path / "bad.mrc"
    bad.write_bytes(b"no volume")
    arguments = ["pick", str(bad), *map(str, tomograms), "--output", str(output)]
    arguments += ["--diameter", "100", "--number", "4"]
    assert main(arguments) == 1
    assert "bad.mrc" in capsys.readouterr().err
    before = [(p.name, p.stat().st_mtime_ns) for p in sorted(output.glob("*.csv"))]
    assert len(before) == 2
    assert main([*arguments, "--resume"]) == 1
    assert [(p.name, p.stat().st_mtime_ns) for p in sorted(output.glob("*.csv"))] == before
    assert main([*arguments[:-1], "3", "--resume"]) == 1
    with open(output / "tomo 1_picks.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3
    lines = (output / "pick.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["results"]["picks"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--output", "out"], "--diameter"),
        (["--output", "out", "--diameter", "100", "--factor", "0.9"], "--factor"),
        (["--output", "out", "--diameter", "100", "--mask", "nowhere.mrc"], "nowhere.mrc"),
        (["--output", "out", "--diameter", "-3"], "--diameter"),
        (["--output", "out", "--sigma", "9", "--number", "1", "--threshold", "2"], "--threshold"),
    ],
)
def test_command_tells_mistakes_in_one_line(
    tomograms, tmp_path, monkeypatch, capsys, change, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["pick", str(tomograms[0]), *change]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "out").exists()
