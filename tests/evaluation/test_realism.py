"""Realism: distances of spectra, wedge, intensities and local statistics; the classifier."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.evaluation.realism import two_sample
from dual_core.evaluation.realism.block_statistics import block_power, local_statistics
from dual_core.evaluation.realism.examine import (
    RealismConfig,
    angular_profile,
    choose_blocks,
    compare,
    kolmogorov,
    portrait,
    radial_power,
    wedge_contrast,
)
from dual_core.evaluation.realism.references import (
    guessed_simulator,
    projected_reference,
    white_reference,
)
from dual_core.evaluation.realism.statistics_judge import judge
from dual_core.evaluation.realism.two_sample import TwoSampleConfig, choose_patch, two_sample_test
from dual_core.evaluation.truth.metrics import standardise
from dual_core.volumes.geometry import wedge_mask
from dual_core.volumes.reading import write_volume

SMALL = RealismConfig(block=32, local_block=12)
QUICK = TwoSampleConfig(patch=16, iterations=25, batch=8, tested=60)


def white(seed, shape=(32, 64, 64)):
    return standardise(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def filtered(volume, response):
    """Multiply the spectrum by a response given on the full grid."""
    return np.fft.ifftn(np.fft.fftn(volume) * response).real.astype(np.float32)


def coloured(seed, shape=(32, 64, 64)):
    """White noise times ``1 + 2 cos``: moving average along every axis."""
    volume = white(seed, shape)
    for axis in range(3):
        volume = volume + np.roll(volume, 1, axis)
    return standardise(volume)


def with_wedge(volume, tilt_range=(-60.0, 60.0), left=0.1):
    """The volume with ``left`` of the amplitude in the missing wedge."""
    return standardise(filtered(volume, np.where(wedge_mask(volume.shape, tilt_range), 1.0, left)))


# Spectra ------------------------------------------------------------------------------------


def test_white_noise_has_unit_power_everywhere():
    power = block_power(white(0), 32)
    frequency, radial = radial_power(power)
    assert frequency[-1] == 0.5
    assert radial[1:] == pytest.approx(np.ones(15), abs=0.15)
    assert power.mean() == pytest.approx(1.0, abs=0.02)


def test_a_known_spectrum_is_found():
    """A moving average of two voxels along each axis: power ``prod cos^2(pi k)`` times 8."""
    z, y, x = np.meshgrid(*[np.cos(np.pi * np.fft.fftfreq(32)) ** 2] * 3, indexing="ij")
    known = radial_power(8 * z * y * x)[1]
    found = radial_power(block_power(coloured(1, (48, 96, 96)), 32))[1]
    assert found[1:] == pytest.approx(known[1:], rel=0.12, abs=0.02)


def test_radial_distance_of_white_and_coloured_noise_is_the_known_one():
    large = (64, 96, 96)
    real, synthetic = portrait([white(0, large)], SMALL), portrait([coloured(1, large)], SMALL)
    z, y, x = np.meshgrid(*[np.cos(np.pi * np.fft.fftfreq(32)) ** 2] * 3, indexing="ij")
    known = radial_power(8 * z * y * x)[1] - 1
    expected = np.sqrt(np.mean(known**2))
    assert compare(real, synthetic).radial_rms == pytest.approx(expected, rel=0.1)
    assert compare(real, real).radial_rms == 0


@pytest.mark.parametrize("left", [0.1, 0.3])
def test_wedge_contrast_is_the_attenuation_that_was_put_in(left):
    log_power = np.log10(np.where(wedge_mask((32, 32, 32)), 1.0, left**2))
    assert wedge_contrast(log_power, (-60, 60)) == pytest.approx(2 * np.log10(left))
    turned = log_power.swapaxes(1, 2)
    assert wedge_contrast(turned, (-60, 60), "x") == pytest.approx(2 * np.log10(left))


def test_a_missing_wedge_is_seen():
    real, same = (portrait([with_wedge(white(seed))], SMALL) for seed in (0, 1))
    without = compare(real, portrait([white(2)], SMALL))
    alike = compare(real, same)
    assert real.wedge_contrast < -1
    assert abs(alike.wedge_error) < 0.05
    assert without.wedge_error > 0.9
    assert alike.angular_rms < 0.1 < without.angular_rms


def test_the_profile_shows_on_which_side_an_asymmetric_wedge_is():
    log_power = np.log10(np.where(wedge_mask((32, 32, 32), (-40, 70)), 1.0, 0.01))
    angles, profile = angular_profile(log_power, "y")
    assert profile[np.abs(angles + 57.5) < 1] == pytest.approx(-2, abs=0.1)
    assert profile[np.abs(angles - 57.5) < 1] == pytest.approx(0, abs=0.1)


def test_a_full_tilt_range_has_no_wedge():
    full = RealismConfig((-90, 90), "y", 32, 12)
    scores = compare(portrait([white(0)], full), portrait([white(1)], full))
    assert np.isnan(scores.wedge_error)
    assert scores.as_dict()["wedge_error"] is None


# Intensities and local statistics -------------------------------------------------------------


def test_the_same_distribution_is_at_no_distance():
    scores = compare(*(portrait([coloured(seed)], SMALL) for seed in (0, 1)))
    assert scores.radial_rms < 0.15
    assert scores.wasserstein < 0.02
    assert scores.total_variation < 0.02
    assert scores.local_mean < 0.35  # of 50 blocks: the fluctuation of the sample


def test_another_distribution_of_intensities_is_seen():
    uniform = standardise(np.random.default_rng(3).random((32, 64, 64)).astype(np.float32))
    scores = compare(portrait([white(0)], SMALL), portrait([uniform], SMALL))
    # Quantiles of the normal distribution against those of the uniform one.
    share = (np.arange(20000) + 0.5) / 20000
    normal = np.quantile(white(5), share)
    assert scores.wasserstein == pytest.approx(
        np.mean(np.abs(normal - np.sqrt(12) * (share - 0.5))), rel=0.05
    )
    assert scores.total_variation > 0.1


def test_local_statistics_of_known_noise():
    found = local_statistics(coloured(0), 12)
    assert found["autocorrelation"].mean() == pytest.approx(0.5, abs=0.05)
    assert found["skewness"].mean() == pytest.approx(0, abs=0.1)
    patchy = white(1) * np.where(np.arange(64) < 32, 0.2, 1.4).astype(np.float32)
    even, uneven = local_statistics(white(0), 12), local_statistics(standardise(patchy), 12)
    # Two of the five columns of blocks are quiet.
    assert kolmogorov(even["deviation"], uneven["deviation"]) >= 0.4


def test_kolmogorov_is_that_of_scipy():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    first, second = rng.normal(size=50), rng.normal(0.5, size=70)
    assert kolmogorov(first, second) == pytest.approx(ks_2samp(first, second).statistic)


def test_blocks_fit_and_thin_volumes_are_refused():
    assert choose_blocks([(36, 90, 94), (100, 192, 192)]).block == 36
    with pytest.raises(DualError, match="12 voxels thin"):
        choose_blocks([(12, 90, 94)])


# The classifier -------------------------------------------------------------------------------


def test_the_classifier_cannot_tell_noise_from_the_same_noise():
    result = two_sample_test([coloured(0)], [coloured(1)], QUICK)
    assert len(result.folds) == 4
    assert result.accuracy == pytest.approx(0.5, abs=0.1)
    assert result.standard_error < 0.1


def test_the_classifier_tells_white_from_coloured_noise_and_a_seed_decides():
    result = two_sample_test([white(0)], [coloured(1)], QUICK)
    assert result.accuracy > 0.95
    short = TwoSampleConfig(patch=16, iterations=3, batch=4, tested=30, seed=4)
    once, again = (two_sample_test([coloured(0)], [coloured(1)], short) for _ in range(2))
    assert once == again


def test_the_place_of_a_patch_tells_nothing():
    """Both volumes have the same empty border; only the noise could differ, and does not."""
    border = np.zeros((32, 64, 64), np.float32)
    border[8:-8] = 1
    result = two_sample_test([white(0) * border], [white(1) * border], QUICK)
    assert result.accuracy == pytest.approx(0.5, abs=0.12)


def test_patches_of_small_volumes():
    assert choose_patch([(100, 192, 192)], 32) == 32
    assert choose_patch([(30, 64, 64)], 32) == 24
    with pytest.raises(DualError, match="too small for the classifier"):
        choose_patch([(32, 36, 36)], 32)


# References and the command ---------------------------------------------------------------------


def test_references_have_the_noise_and_the_wedge_that_were_asked_for():
    grand_model = np.zeros((32, 48, 48), np.float32)
    grand_model[12:20, 10:30, 16:40] = 1
    noisy = white_reference(grand_model, 0.25)
    correlation = np.mean(standardise(grand_model) * noisy)
    assert correlation**2 / (1 - correlation**2) == pytest.approx(0.25, rel=0.05)
    projected = projected_reference(grand_model, guessed_simulator(10.0, (-60, 60)))
    log_power = np.log10(block_power(projected, 32))
    assert wedge_contrast(log_power, (-60, 60)) < -1
    assert np.array_equal(projected, projected_reference(grand_model, guessed_simulator(10.0)))


@pytest.fixture
def files(tmp_path):
    shape = (32, 48, 48)
    arrays = {
        "real": -20 * with_wedge(coloured(0, shape)),
        "alike": -3 * with_wedge(coloured(1, shape)),
        "white": -white(2, shape),
    }
    found = {}
    for name, array in arrays.items():
        found[name] = str(tmp_path / f"{name}.mrc")
        stored = np.rint(array).astype(np.int8) if name == "real" else array
        write_volume(tmp_path / f"{name}.mrc", stored, 10.0)
    return found


def test_the_command_writes_tables_and_figures(files, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["evaluate", "realism", "--real", files["real"], "--contrast", "dark"]
    arguments += ["--synthetic", f"alike={files['alike']}", f"white={files['white']}"]
    arguments += ["--no-classifier", "--output", str(output)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    with open(output / "realism.csv", newline="") as file:
        alike, other = csv.DictReader(file)
    assert (alike["name"], other["name"]) == ("alike", "white")
    assert float(alike["radial_rms"]) < 0.3 < float(other["radial_rms"])
    assert abs(float(alike["wedge_error"])) < 0.1
    content = json.loads((output / "realism.json").read_text())
    assert set(content["curves"]) == {"real", "alike", "white"}
    names = {path.name for path in output.iterdir()}
    assert names == {"realism.csv", "realism.json", "slices.png", "curves.png", "evaluate.yaml"}

    (output / "realism.csv").unlink()
    again = output / "evaluate.yaml"
    again.write_text(again.read_text().replace("what: realism\n", ""))
    assert main(["evaluate", "realism", "--config", str(again)]) == 0
    assert capsys.readouterr().out == printed
    assert (output / "realism.csv").exists()


def test_the_command_with_classifier_and_references(files, monkeypatch, capsys):
    monkeypatch.setattr(two_sample, "USUAL", TwoSampleConfig(16, 2, 4, 8))
    arguments = ["evaluate", "realism", "--real", files["real"], files["real"], "-q"]
    arguments += ["--contrast", "dark", "--reference", files["alike"]]
    values = []
    for large in (16, 64):  # the volumes hold two of the one and not of the other
        monkeypatch.setattr(two_sample, "LARGE", TwoSampleConfig(large, 2, 4, 8))
        assert main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "accuracy" in lines[0] and "64^3" in lines[0]
        assert lines[1].startswith("white noise")
        assert lines[2].startswith("conventional, guessed")
        values.append(lines[1].split())
    assert [sum(value == "-" for value in row) for row in values] == [0, 2], values


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --synthetic"),
        (["--synthetic", "{white}", "--margin", "16"], "--margin 16 leaves nothing"),
        (["--synthetic", "real={white}"], "rename it"),
        (["--synthetic", "={white}"], "give NAME=S.mrc"),
        (["--synthetic", "none.mrc"], "none.mrc: no such file"),
        (["--synthetic", "{other}"], "has voxels of 12 A"),
        (["--synthetic", "{white}", "--tilt-range", "60", "-60"], "the smaller angle first"),
        (["--synthetic", "{white}", "--margin", "5"], "too small for the classifier"),
    ],
)
def test_mistakes_get_one_line(files, tmp_path, arguments, message, capsys):
    write_volume(tmp_path / "other.mrc", white(0, (32, 40, 40)), 12.0)
    known = {**files, "other": str(tmp_path / "other.mrc")}
    given = [argument.format(**known) for argument in arguments]
    common = ["--contrast", "dark", "-q", "--output", str(tmp_path / "out")]
    assert main(["evaluate", "realism", "--real", files["real"], *given, *common]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_judge_of_statistics_tells_what_differs_and_where():
    real, other = white(1, (32, 96, 96)), white(2, (32, 96, 96))
    alike = judge([real], [other])
    assert abs(alike.accuracy - 0.5) < 0.15
    far = judge([with_wedge(real)], [other])
    assert far.accuracy > 0.95
    inside, outside = np.abs(far.angle_deg) > 70, np.abs(far.angle_deg) < 50
    # What the wedge has lost the rest has more, since volumes are standardised.
    assert np.nanmin(far.apart[3:, inside]) > 2 and np.nanmax(far.apart[3:, outside]) < 0
    turned = judge([with_wedge(real).swapaxes(1, 2)], [other], "x")
    assert turned.accuracy > 0.95 and np.nanmin(turned.apart[3:, inside]) > 2
    with pytest.raises(DualError, match="too small"):
        judge([white(1, (12, 40, 40))], [white(2, (12, 40, 40))])
