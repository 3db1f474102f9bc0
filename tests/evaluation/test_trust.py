"""Properties of the trust report: random phases, residuals, inventions, flips, the command."""

from __future__ import annotations

import json
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch")

from dual_core.cli.main import main  # noqa: E402
from dual_core.errors import DualError  # noqa: E402
from dual_core.evaluation.bands import band_correlations, fit_in_bands  # noqa: E402
from dual_core.evaluation.trust.examine import (  # noqa: E402
    TrustOptions,
    count_picks,
    examine,
    flip_deviation,
    strengths,
    structure_share,
)
from dual_core.evaluation.trust.findings import (  # noqa: E402
    THRESHOLDS,
    Finding,
    TomogramTrust,
    TrustReport,
    judge,
    led_by_coherence,
    worst,
)
from dual_core.evaluation.trust.network_pass import (  # noqa: E402
    Networks,
    networks_of,
    open_tomogram,
)
from dual_core.evaluation.trust.phase_random import randomise_phases  # noqa: E402
from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.networks.generators import NetworkConfig  # noqa: E402
from dual_core.networks.model import DualModel, plain_config  # noqa: E402
from dual_core.noise_model.full_power.noise_profile import (  # noqa: E402
    NoiseProfile,
    profile_to_arrays,
)
from dual_core.noise_model.full_power.whole_blocks import grid_of  # noqa: E402
from dual_core.noise_model.tapered_power import on_grid  # noqa: E402
from dual_core.volumes.described.describe import describe  # noqa: E402
from dual_core.volumes.reading import ArrayVolume, write_volume  # noqa: E402

SHAPE = (40, 48, 44)
VOXEL_SIZE_A = 10.0


def cells(seed=0, shape=SHAPE, particles=40):
    """Bright balls, standardised."""
    rng = np.random.default_rng(seed)
    points = np.zeros(shape)
    for _ in range(particles):
        points[tuple(int(rng.integers(5, n - 5)) for n in shape)] = 1.0
    balls = gaussian_filter(points, 1.7)
    return ((balls - balls.mean()) / balls.std()).astype(np.float32)


def tomogram(seed=0, noise=1.5):
    """A cell in noise, and the cell, in units of one standard deviation of the tomogram."""
    truth = cells(seed)
    noisy = truth + noise * np.random.default_rng(seed + 100).normal(size=SHAPE)
    scale = noisy.std()
    return ((noisy - noisy.mean()) / scale).astype(np.float32), truth / np.float32(scale)


def values(examination):
    return {found.key: found.value for found in examination.findings}


def verdicts(examination):
    return {found.key: found.verdict for found in examination.findings}


OPTIONS = TrustOptions(diameter_A=80.0)


def look(denoise, t, restore=lambda v: v):
    return examine(t, VOXEL_SIZE_A, Networks(denoise, restore), OPTIONS)


# --- phase randomisation ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12, 15, 16), (13, 16, 17), (8, 9, 1)])
def test_random_phases_keep_the_spectrum_and_are_real(shape):
    volume = np.random.default_rng(1).normal(2.0, 3.0, shape).astype(np.float32)
    copy = randomise_phases(volume, np.random.default_rng(0))
    assert copy.dtype == np.float32 and copy.shape == volume.shape
    # An irfftn would hide a spectrum without the symmetry; a full transform shows it.
    before, after = (np.abs(np.fft.fftn(v.astype(np.float64))) for v in (volume, copy))
    assert np.abs(after - before).max() < 1e-5 * before.max()
    assert copy.mean() == pytest.approx(volume.mean(), abs=1e-4)


def test_random_phases_leave_no_structure():
    cell = cells()
    copy = randomise_phases(cell, np.random.default_rng(0))
    assert abs(np.corrcoef(copy.ravel(), cell.ravel())[0, 1]) < 0.1
    skew = [float(np.mean((v / v.std()) ** 3)) for v in (cell, copy)]
    assert skew[0] > 2 and abs(skew[1]) < 0.3


def test_the_same_seed_gives_the_same_phases():
    cell = cells()
    one, again, other = (randomise_phases(cell, np.random.default_rng(s)) for s in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.allclose(one, other, atol=0.1)


# --- what was removed ---------------------------------------------------------------------------


def test_band_correlation_of_a_volume_with_itself_and_with_noise():
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=(48, 48, 48)).astype(np.float32) for _ in range(2))
    assert band_correlations(one, 3 * one) == pytest.approx(np.ones(4), abs=1e-5)
    assert np.abs(band_correlations(one, other)).max() < 0.3
    assert fit_in_bands(2 * one, one) == pytest.approx((2.0, 1.0), abs=1e-5)


def test_share_of_the_structure_never_adds_power_to_the_residual():
    t, truth = tomogram()
    s, factor, explained = structure_share(t, 4 * truth)
    assert factor == pytest.approx(0.25, abs=0.03)
    assert explained > 0.5
    texture = 30 * np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)
    s, factor, _ = structure_share(t, truth + texture)
    assert (t - s).var() <= t.var() * (1 + 1e-5)
    assert structure_share(t, -truth)[0].std() == 0


def test_an_ideal_denoiser_removes_noise_alone():
    t, truth = tomogram()
    found = look(lambda v: truth if v is t else np.zeros_like(v), t)
    assert values(found)["removed_correlation"] < 0.2
    assert values(found)["structure_left"] == 0
    assert values(found)["scale"] == pytest.approx(1.0, abs=0.05)
    assert verdicts(found)["removed_correlation"] == "green"


def test_structure_that_is_smoothed_away_is_found_in_the_residual():
    t, truth = tomogram(noise=0.5)
    smoothed = gaussian_filter(truth, 4.0)
    found = look(lambda v: smoothed if v is t else np.zeros_like(v), t)
    assert values(found)["removed_correlation"] > 0.6
    assert verdicts(found)["removed_correlation"] != "green"


def test_structure_that_is_left_out_is_seen_at_the_second_look():
    t, truth = tomogram(noise=0.5)
    half = truth.copy()
    half[:, : SHAPE[1] // 2] = truth.min()

    def forgets(v):
        # Finds half of the particles at first and all that is left when it looks again.
        if v is t:
            return half
        return np.clip(gaussian_filter(v, 1.7) - 0.3, 0, None)

    assert values(look(forgets, t))["structure_left"] > 0.15


def test_without_gs_the_tomogram_s_own_transfer_takes_its_place():
    # Structure at half strength under white noise: what the transfer makes of the truth is that,
    # and the fit itself is not judged.
    t, truth = tomogram()
    networks = Networks(lambda v: 2 * truth if v is t else np.zeros_like(v), None)
    found = examine(t, VOXEL_SIZE_A, networks, OPTIONS)
    assert found.findings and not {"scale", "removed_correlation"} & set(values(found))
    assert values(found)["explained"] > 0.2
    structure = found.volumes["structure"]
    assert np.corrcoef(structure.ravel(), truth.ravel())[0, 1] > 0.95
    assert structure.std() == pytest.approx(truth.std(), rel=0.25)


def test_without_gs_noise_of_the_same_spectrum_is_judged_alike_for_all_seeds():
    t, _ = tomogram()
    networks = Networks(lambda v: gaussian_filter(v, 1.7), None)
    found = [
        values(examine(t, VOXEL_SIZE_A, networks, TrustOptions(diameter_A=80.0, seed=seed)))
        for seed in range(4)
    ]
    shares = [one["same_spectrum"] for one in found]
    assert min(shares) > 0.5 and max(shares) - min(shares) < 0.2


@pytest.mark.parametrize("tilt_axis", ["y", "x"])
def test_the_own_transfer_has_the_wedge_of_the_tilt_axis(tilt_axis):
    # Half of the directions about the tilt axis are empty: so they are in the structure's share.
    axis = {"y": 2, "x": 1}[tilt_axis]
    t, truth = tomogram(noise=0.5)
    kz = np.abs(np.fft.fftfreq(SHAPE[0]))[:, None, None]
    across = np.abs(np.fft.fftfreq(SHAPE[axis])).reshape([-1 if k == axis else 1 for k in range(3)])
    wedge = np.broadcast_to(kz > across, SHAPE)
    t = np.fft.ifftn(np.fft.fftn(t) * ~wedge).real.astype(np.float32)
    networks = Networks(lambda v: truth, None, tilt_axis=tilt_axis).fitted_to(t, truth)
    for volume, least, most in ((truth, 0.7, 1.4), (networks.restore(truth), 0.0, 0.2)):
        power = np.abs(np.fft.fftn(volume)) ** 2
        assert least <= power[wedge].sum() / power[~wedge].sum() < most


# --- inventions ---------------------------------------------------------------------------------


def thresholded(v):
    """A denoiser that shows what stands out of noise and nothing else."""
    return np.clip(gaussian_filter(v, 1.7) - 0.4, 0, None)


def test_a_sober_denoiser_is_green_on_hallucination():
    t, _ = tomogram()
    found = look(thresholded, t)
    assert values(found)["noise_picks"] < 0.1
    assert values(found)["noise_energy"] < 0.3
    assert {verdicts(found)[key] for key in ("noise_picks", "noise_energy")} == {"green"}


def test_a_denoiser_that_invents_is_red():
    t, _ = tomogram()

    def invents(v):
        # The same blobs as the true cell has, at places that the input's noise decides.
        return cells(seed=int(1000 * abs(float(v[0, 0, 0]))))

    found = look(invents, t)
    assert values(found)["noise_picks"] > 0.5
    assert values(found)["noise_energy"] > 0.8
    assert values(found)["explained"] < 0.05
    assert {verdicts(found)[key] for key in ("noise_picks", "noise_energy", "flips")} == {"red"}


def test_a_denoiser_that_does_nothing_is_red():
    t, _ = tomogram(noise=4.0)
    found = look(lambda v: v[:, ::-1] * 1.0, t)
    assert values(found)["noise_energy"] > 0.8
    assert values(found)["structure_left"] is None and verdicts(found)["structure_left"] == "amber"


def test_noise_explained_better_than_the_tomogram_is_red():
    t, _ = tomogram()
    copy = look(thresholded, t).volumes["same spectrum"]

    def loves_noise(v):
        return v if np.array_equal(v, copy) else v + np.random.default_rng(2).normal(
            0, 1.5, SHAPE
        ).astype(np.float32)

    assert verdicts(look(loves_noise, t))["same_spectrum"] == "red"


@pytest.mark.parametrize("coherence", ["green", "amber", "red", None])
def test_half_coherence_decides_whether_noise_was_learnt_only_where_it_is_green(coherence):
    same = Finding("same_spectrum", "", 1.0, "", "red", "Near 1.")
    other = Finding("noise_energy", "", 0.9, "", "red", "")
    first = [Finding("half_coherence", "", 1.1, "", coherence, "")] if coherence else []
    found = {one.key: one for one in led_by_coherence([*first, same, other])}
    assert found["noise_energy"] is other
    assert found["same_spectrum"].value == 1.0
    if coherence == "green":
        assert found["same_spectrum"].verdict == "green"
        assert found["same_spectrum"].sentence.startswith("Near 1. It decides nothing here")
    else:
        assert found["same_spectrum"] is same


def test_gold_does_not_hide_what_is_made_of_noise():
    """One bead a hundred times as strong as a protein must not make the rest look quiet."""
    rng = np.random.default_rng(0)
    real, noise = (rng.normal(size=SHAPE).astype(np.float32) for _ in range(2))
    real[5:9, 5:9, 5:9] = 300.0
    first, second = strengths([real, noise])
    assert second / first == pytest.approx(1.0, abs=0.1)
    blobs = cells()
    blobs[2:5, 2:5, 2:5] = 300.0
    counts = count_picks([blobs, cells(seed=1)], VOXEL_SIZE_A, 80.0)
    assert counts[0] >= 10 and counts[1] >= 10


def test_contrast_of_the_clean_domain_is_obeyed():
    dark = count_picks([-cells()], VOXEL_SIZE_A, 80.0, "dark")
    assert dark == count_picks([cells()], VOXEL_SIZE_A, 80.0)
    assert dark[0] > 10


# --- flips --------------------------------------------------------------------------------------


def test_flips_do_not_change_what_an_equivariant_denoiser_gives():
    t, _ = tomogram()
    for flips in (OPTIONS.flips, TrustOptions(tilt_range_deg=(-40.0, 60.0)).flips):
        deviation = flip_deviation(t, thresholded(t), thresholded, flips)
        assert deviation.max() < 1e-4


def test_flip_deviation_is_the_deviation_and_lies_in_place():
    volume = np.zeros((4, 5, 6), np.float32)
    volume[0, 1, 2] = 1.0
    weight = np.linspace(0, 1, 6, dtype=np.float32)
    denoise = lambda v: v * weight  # noqa: E731
    deviation = flip_deviation(volume, denoise(volume), denoise, ((0,), (2,)))
    expected = np.std([weight[2], weight[2], weight[3]])
    assert deviation[0, 1, 2] == pytest.approx(expected, abs=1e-6)
    assert np.count_nonzero(deviation) == 1


# --- verdicts and report ------------------------------------------------------------------------


def test_verdicts_follow_the_thresholds():
    assert [judge("noise_picks", v) for v in (0.0, 0.15, 0.2, 0.41)] == [
        "green", "green", "amber", "red",
    ]
    assert [judge("scale", v) for v in (1.0, 0.6, 0.3, 0.1)] == ["green", "green", "amber", "red"]
    assert judge("noise_picks", None) == "amber"
    assert worst(["green", "red", "amber"]) == "red" and worst([]) == "green"


def test_thresholds_stand_in_the_docs(repository):
    text = (repository / "docs" / "trust.md").read_text(encoding="utf-8")
    for key, (title, _, green, amber) in THRESHOLDS.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| `{key}`"))
        assert title in line and f"{green:.2f}" in line and f"{amber:.2f}" in line


def test_report_is_as_bad_as_its_worst_finding(tmp_path):
    good = Finding("flips", "t", 0.1, "", "green", "s")
    bad = Finding("noise_picks", "t", None, "", "red", "s")
    report = TrustReport("m", [TomogramTrust("a", [good]), TomogramTrust("b", [good, bad])])
    content = json.loads(report.write(tmp_path).read_text())
    assert content["verdict"] == "red"
    assert [one["verdict"] for one in content["tomograms"]] == ["green", "red"]
    assert content["tomograms"][1]["findings"][1]["value"] is None


def test_constant_results_and_small_volumes_are_refused():
    t, _ = tomogram()
    with pytest.raises(DualError, match="constant"):
        look(np.zeros_like, t)
    with pytest.raises(DualError, match="too small"):
        look(thresholded, t[:8])


# --- files and the command ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    config = NetworkConfig(channels=(2, 3), noise_channels=(2, 2, 2), code_size=4)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    DualModel(config, ModelCard(VOXEL_SIZE_A, "bright", plain_config(config))).save(path)
    return str(path)


@pytest.mark.parametrize("tilt_axis", ["y", "x"])
def test_with_measured_noise_gs_is_given_the_density_as_a_tomogram_shows_it(model, tilt_axis):
    """h v, h without coarse detail along x (y for the tilt axis x) and without the weighting A."""
    loaded = DualModel.load(model)
    loaded.card = replace(loaded.card, tilt_axis=tilt_axis)
    side, height, half = *grid_of(20)[:2], grid_of(20)[0] // 2 + 1
    ones = np.ones((side, height, half), np.float32)
    transfer = np.ones((16, 16, 9), np.float32)
    transfer[..., :3] = 0.0
    profile = NoiseProfile(ones, ones, transfer, (-9.0, 9.0), weighting=3 * np.ones_like(transfer))
    loaded.linear = {n: torch.from_numpy(a) for n, a in profile_to_arrays(profile).items()}
    v = cells()
    along_y = v if tilt_axis == "y" else v.swapaxes(1, 2)
    spectrum = np.fft.rfftn(np.pad(along_y, 32, mode="symmetric"))
    seen = np.fft.irfftn(
        spectrum * on_grid(transfer, tuple(n + 64 for n in along_y.shape)),
        s=tuple(n + 64 for n in along_y.shape),
    )[(slice(32, -32),) * 3].astype(np.float32)
    bare = networks_of(DualModel.load(model), "cpu", "float32", tile=96)
    expected = bare.restore(seen)  # along y, as the networks were trained
    expected = expected if tilt_axis == "y" else expected.swapaxes(1, 2)
    found = networks_of(loaded, "cpu", "float32", tile=96).restore(v)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    assert np.abs(bare.restore(v) - found).max() > 0.05 * np.abs(found).max()


def test_the_middle_of_a_large_tomogram_keeps_its_place(tmp_path):
    t, _ = tomogram()
    path = tmp_path / "t.mrc"
    write_volume(path, -t, VOXEL_SIZE_A, (100.0, 200.0, 300.0))
    card = ModelCard(VOXEL_SIZE_A, "bright", {})
    whole = open_tomogram(path, card, "dark")
    part = open_tomogram(path, card, "dark", largest_side=20)
    assert not whole.is_cropped and part.is_cropped
    np.testing.assert_allclose(part.voxels, whole.voxels[10:30, 14:34, 12:32], atol=1e-6)
    found = describe(ArrayVolume(t, VOXEL_SIZE_A)).statistics
    np.testing.assert_allclose(whole.voxels, (t - found.mean) / found.std, atol=1e-4)
    assert part.origin_A == (100 + 120, 200 + 140, 300 + 100)


def test_command_writes_the_report_of_an_untrained_model(tmp_path, model, capsys):
    t, _ = tomogram()
    path, output = tmp_path / "tomo.mrc", tmp_path / "out"
    write_volume(path, -t, VOXEL_SIZE_A)
    arguments = ["evaluate", "trust", "--model", model, str(path), "--output", str(output)]
    arguments += ["--contrast", "dark", "--device", "cpu", "--precision", "float32"]
    assert main([*arguments, "--halves", str(path), str(path)]) == 0
    printed = capsys.readouterr().out
    content = json.loads((output / "trust.json").read_text())
    assert content["verdict"] == "red" and "verdict: red" in printed
    (judged,) = content["tomograms"]
    assert [found["key"] for found in judged["findings"]] == list(THRESHOLDS)
    for found in judged["findings"]:
        assert set(found) == {"key", "title", "value", "unit", "verdict", "sentence"}
    assert len(judged["figures"]) == 6
    for name in judged["figures"].values():
        assert (output / name).read_bytes().startswith(b"\x89PNG")
    with mrcfile.open(output / "tomo_deviation.mrc") as file:
        assert file.data.shape == SHAPE and file.voxel_size.x == pytest.approx(VOXEL_SIZE_A)


def test_command_judges_a_model_that_denoises_only(tmp_path, capsys):
    path, output = tmp_path / "tomo.mrc", tmp_path / "out"
    write_volume(path, -tomogram()[0], VOXEL_SIZE_A)
    arguments = ["evaluate", "trust", "--model", "general", str(path), "--output", str(output)]
    arguments += ["--contrast", "dark", "--device", "cpu", "--tilt-axis", "x"]
    assert main(arguments) == 0
    (judged,) = json.loads((output / "trust.json").read_text())["tomograms"]
    left_out = {"scale", "removed_correlation", "halves_fsc", "halves_noise"}
    assert [found["key"] for found in judged["findings"]] == [
        key for key in THRESHOLDS if key not in left_out
    ]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"tomograms": ["missing.mrc"]}, "no such file"),
        ({"model": "missing.safetensors"}, "missing.safetensors"),
        ({"diameter": "3"}, "diameter"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, model, capsys, change, said):
    path = tmp_path / "tomo.mrc"
    write_volume(path, tomogram()[0], VOXEL_SIZE_A)
    tomograms = change.get("tomograms", [str(path)])
    arguments = ["evaluate", "trust", *tomograms, "--model", change.get("model", model)]
    arguments += ["--diameter", change.get("diameter", "120"), "--contrast", "bright", "-q"]
    output = tmp_path / "out"
    assert main([*arguments, "--output", str(output), "--device", "cpu"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and said in lines[0]
    assert not (output / "trust.json").exists()
