"""Averaging at picks: right picks show a ball of the particle's radius, others do not."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import center_of_mass, gaussian_filter, shift

from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.particles import position_columns, write_csv
from dual_core.picking.averaging import average_particles, fit_ball, radial_profile
from dual_core.volumes.reading import ArrayVolume, write_volume

VOXEL_A = 12.0
RADIUS = 6.0  # voxels; about the 280 A of a ribosome across at this voxel size
DIAMETER_A = 2 * RADIUS * VOXEL_A


def cell(seed, shape=(56, 80, 84), number=14, noise=2.0, contrast="dark"):
    """A noisy tomogram of balls that do not overlap: (volume, positions ``(n, 3)``)."""
    generator = np.random.default_rng(seed)
    centres = []
    while len(centres) < number:
        centre = generator.integers(RADIUS + 1, np.array(shape) - RADIUS - 1)
        if all(np.linalg.norm(centre - other) >= 2.2 * RADIUS for other in centres):
            centres.append(centre)
    grid = np.indices(shape)
    volume = np.zeros(shape, np.float32)
    for centre in centres:
        inside = sum((axis - c) ** 2 for axis, c in zip(grid, centre)) <= RADIUS**2
        volume[inside] = 1.0
    volume = gaussian_filter(volume, 0.7)
    volume *= -1 if contrast == "dark" else 1
    volume += noise * generator.standard_normal(shape).astype(np.float32)
    return volume.astype(np.float32), np.array(centres)


def averaged(volume, positions, contrast="dark", box=25):
    return average_particles([(ArrayVolume(volume, VOXEL_A), positions)], box, contrast)


@pytest.mark.parametrize("contrast", ["dark", "bright"])
def test_right_picks_show_a_bright_ball_of_the_particles_radius(contrast):
    volume, centres = cell(1, noise=0.5, contrast=contrast)
    average = averaged(volume * 30 + 1000, centres, contrast)
    assert average.used + average.left_out == len(centres) and average.used > 5
    ball = fit_ball(average.volume, VOXEL_A)
    assert ball.radius_A == pytest.approx(RADIUS * VOXEL_A, rel=0.06)
    radius, mean = radial_profile(average.volume, VOXEL_A)
    inside, outside = mean[radius < 0.8 * ball.radius_A], mean[radius > 1.2 * ball.radius_A]
    assert inside.min() > outside.max() + 0.5 * ball.height


def test_wrong_picks_lower_and_off_centre_picks_smear_the_ball():
    volume, centres = cell(2, noise=0.5)
    generator = np.random.default_rng(3)
    anywhere = generator.integers(13, np.array(volume.shape) - 13, (300, 3))
    off = centres + generator.integers(-6, 7, centres.shape)
    right, wrong, smeared = (
        fit_ball(averaged(volume, at).volume, VOXEL_A) for at in (centres, anywhere, off)
    )
    assert wrong.height < 0.25 * right.height
    assert smeared.height < 0.75 * right.height
    assert smeared.explained < right.explained


def test_the_radius_is_that_of_a_ball_for_even_and_odd_boxes():
    for box in (24, 25):
        offset = np.arange(box) - box // 2
        z, y, x = np.meshgrid(offset, offset, offset, indexing="ij")
        for radius in (3.0, 5.5, 8.0):
            ball = (z**2 + y**2 + x**2 <= radius**2).astype(np.float32)
            fitted = fit_ball(ball, 2.0)
            assert fitted.radius_A == pytest.approx(2 * radius, abs=1.0)
            assert fitted.height == pytest.approx(1.0)
            assert fitted.explained == pytest.approx(1.0)


def test_a_box_is_centred_on_its_pick():
    """One bright voxel: it must come to lie at ``box // 2``, whatever the box."""
    volume = np.zeros((30, 31, 32), np.float32)
    volume[14, 15, 17] = 1.0
    for box in (8, 9):
        average = averaged(volume, [(14.2, 14.9, 17.4)], "bright", box)
        where = np.unravel_index(average.volume.argmax(), average.volume.shape)
        assert where == (box // 2,) * 3


def test_a_box_that_sticks_out_counts_with_the_part_inside():
    volume = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    whole = averaged(volume, [(20, 20, 20)], "bright", 25)
    assert whole.counts.min() == 1
    cut = averaged(volume[: 20 + 7], [(20, 20, 20)], "bright", 25)
    assert cut.used == 1 and (cut.counts[19:] == 0).all() and (cut.counts[:19] == 1).all()
    mean, deviation = volume[:27].mean(), volume[:27].std()
    expected = (volume[8:27, 8:33, 8:33] - mean) / deviation
    assert np.allclose(cut.volume[:19], expected, atol=1e-4)
    both = averaged(volume, [(20, 20, 20), (7, 20, 20)], "bright", 25)
    assert both.counts[0, 12, 12] == 1 and both.counts[12, 12, 12] == 2


def test_in_a_thin_tomogram_the_ball_is_found_with_the_box_of_twice_the_diameter():
    volume, centres = cell(7, shape=(26, 160, 160), number=30, noise=1.0)
    average = averaged(volume, centres, box=24)
    assert average.used > 20  # of whole boxes none would fit
    ball = fit_ball(average.volume, VOXEL_A, average.counts)
    assert ball.radius_A == pytest.approx(RADIUS * VOXEL_A, rel=0.15)
    assert ball.explained > 0.3


def test_every_particle_counts_the_same_and_picks_at_a_face_are_left_out():
    volume, centres = cell(4)
    other, others = cell(5)
    both = average_particles(
        [(ArrayVolume(volume, VOXEL_A), centres[:9]), (ArrayVolume(other, VOXEL_A), others)],
        13,
        "dark",
    )
    one, two = averaged(volume, centres[:9], box=13), averaged(other, others, box=13)
    expected = (one.counts * one.volume + two.counts * two.volume) / (one.counts + two.counts)
    assert np.allclose(both.volume, expected, atol=1e-5)
    assert averaged(volume, [(28, 40, 40), (0, 40, 40), (28, 40, 83)]).left_out == 2
    with pytest.raises(DualError, match="no pick is 6 voxels from"):
        averaged(volume, [(0, 0, 0)])
    with pytest.raises(DualError, match="too small"):
        averaged(volume, centres, box=3)


# The whole chain ----------------------------------------------------------------------------


def test_picks_of_denoised_tomograms_sit_on_the_particles_of_the_raw_ones(tmp_path, capsys):
    """Pick on smoothed tomograms, average the raw ones, whose noise hides the particles."""
    raw, smooth, lists = [], [], []
    for number in range(2):
        volume, _ = cell(10 + number)
        raw.append(str(tmp_path / f"tomo_{number}.mrc"))
        smooth.append(str(tmp_path / f"tomo_{number}_denoised.mrc"))
        lists.append(str(tmp_path / "picks" / f"tomo_{number}_denoised_picks.csv"))
        write_volume(raw[-1], volume, VOXEL_A)
        write_volume(smooth[-1], gaussian_filter(volume, 1.5), VOXEL_A)
    size = ["--diameter", f"{DIAMETER_A}"]
    where = ["--output", str(tmp_path / "picks")]
    assert main(["pick", *smooth, *size, "--number", "14", *where]) == 0
    output = tmp_path / "average"
    arguments = [*raw, "--picks", *lists, *size, "--output", str(output)]
    assert main(["average", *arguments, "--contrast", "dark"]) == 0
    assert "particles averaged" in capsys.readouterr().out

    told = json.loads((output / "average.json").read_text())
    assert told["radius_A"] == pytest.approx(DIAMETER_A / 2, rel=0.15)
    assert told["height"] > 5 * told["noise"] / np.sqrt(1000)
    with mrcfile.open(output / "average.mrc") as file:
        assert file.data.shape == (24, 24, 24) and file.voxel_size.x == pytest.approx(VOXEL_A)
        average = file.data.copy()
    with open(output / "radial_profile.csv", newline="") as file:
        rows = [(float(r["radius_A"]), float(r["density"])) for r in csv.DictReader(file)]
    radius, mean = np.array(rows).T
    edge = radius[np.flatnonzero(mean < (mean[:3].mean() + mean[-3:].mean()) / 2)[0]]
    assert abs(edge - DIAMETER_A / 2) <= 1.5 * VOXEL_A
    assert (output / "radial_profile.png").stat().st_size > 10_000
    # The same number of places that were not picked shows nothing of the kind.
    generator = np.random.default_rng(0)
    for path in lists:
        somewhere = generator.integers(12, (44, 68, 72), (14, 3))
        write_csv(path, position_columns(somewhere, VOXEL_A))
    assert main(["average", *arguments, "--contrast", "dark"]) == 0
    control = json.loads((output / "average.json").read_text())
    assert control["height"] < 0.5 * told["height"]
    with mrcfile.open(output / "average.mrc") as file:
        assert not np.allclose(file.data, average)


def ball_of_a_structure(path, box):
    """The ball that fits a density map in all orientations, from its centre of mass."""
    with mrcfile.open(path) as file:
        density, voxel_A = file.data.astype(np.float32), float(file.voxel_size.x)
    middle = np.array(density.shape) // 2
    centred = shift(density, middle - np.array(center_of_mass(density)), order=1)
    around = tuple(slice(m - box // 2, m - box // 2 + box) for m in middle)
    radius, mean = radial_profile(centred[around], voxel_A)
    offset = (np.arange(box) - box // 2) * voxel_A
    z, y, x = np.meshgrid(offset, offset, offset, indexing="ij")
    return fit_ball(np.interp(np.sqrt(z**2 + y**2 + x**2), radius, mean), voxel_A)


def test_picks_on_ribosomes_show_a_ball_of_the_ribosomes_radius(tmp_path):
    """Four tomograms of purified ribosomes in very much noise, picked and averaged as by a user."""
    data = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = data / "ribosome_like"
    if not (folder / "tomo_3.mrc").exists():
        pytest.skip("the tomograms of ribosomes are not beside the repository")
    tomograms = [str(folder / f"tomo_{number}.mrc") for number in range(4)]
    options = ["--diameter", "280", "--number", "40", "--output", str(tmp_path)]
    assert main(["pick", *tomograms, *options]) == 0

    def ball(name, lists, *more):
        """What ``dual average`` tells of the raw tomograms at some positions."""
        where = ["--box", "36", "--contrast", "dark", "--output", str(tmp_path / name), *more]
        assert main(["average", *tomograms, "--picks", *map(str, lists), *where]) == 0
        return json.loads((tmp_path / name / "average.json").read_text())

    picked = ball("picked", [tmp_path / f"tomo_{number}_picks.csv" for number in range(4)])
    true = ball("true", [folder / f"particles_{n}.csv" for n in range(4)], "--class", "1")
    expected = ball_of_a_structure(data / "templates" / "4v4r.mrc", 36)
    # The picks are some voxels off the centres, which smears the ball a little.
    assert true["radius_A"] == pytest.approx(expected.radius_A, rel=0.07)
    assert picked["radius_A"] == pytest.approx(expected.radius_A, rel=0.12)
    assert picked["height"] > 0.75 * true["height"]

    generator = np.random.default_rng(0)
    for number in range(4):
        somewhere = generator.integers(18, (46, 174, 174), (60, 3))
        write_csv(tmp_path / f"somewhere_{number}.csv", position_columns(somewhere, 10.0))
    control = ball("somewhere", [tmp_path / f"somewhere_{number}.csv" for number in range(4)])
    assert control["height"] < 0.5 * picked["height"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--picks", "a.csv", "b.csv", "--box", "8"], "one list for each tomogram"),
        (["--picks", "a.csv"], "--diameter"),
        (["--picks", "nowhere.csv", "--box", "8"], "nowhere.csv"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_volume("t.mrc", np.random.default_rng(0).random((9, 9, 9), np.float32), 10.0)
    assert main(["average", "t.mrc", *arguments, "--output", "out"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_only_the_best_and_only_one_class(tmp_path):
    volume, centres = cell(6, noise=0.5)
    write_volume(tmp_path / "t.mrc", volume, VOXEL_A)
    columns = position_columns(centres, VOXEL_A)
    columns["score_sigmas"] = [str(n) for n in range(len(centres))]
    columns["class"] = ["1", "2"] * (len(centres) // 2)
    write_csv(tmp_path / "p.csv", columns)
    common = [str(tmp_path / "t.mrc"), "--picks", str(tmp_path / "p.csv"), "--box", "9"]
    common += ["--contrast", "dark", "--output", str(tmp_path / "out")]
    assert main(["average", *common, "--class", "2", "--number", "3"]) == 0
    told = json.loads((tmp_path / "out" / "average.json").read_text())
    best = [c for n, c in enumerate(centres) if n % 2 == 1][-3:]
    expected = averaged(volume, best, box=9)
    assert (told["particles"], told["left_out"]) == (expected.used, expected.left_out)
    with mrcfile.open(tmp_path / "out" / "average.mrc") as file:
        assert np.allclose(file.data, expected.volume, atol=1e-4)
