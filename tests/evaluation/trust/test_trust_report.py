"""The trust report: verdicts, files, networks of a model, and the command."""

from __future__ import annotations

import json
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
from noisy_cells import SHAPE, VOXEL_SIZE_A, cells, look, thresholded, tomogram
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch")

from dual_core.cli.main import main  # noqa: E402
from dual_core.errors import DualError  # noqa: E402
from dual_core.evaluation.trust.findings import (  # noqa: E402
    THRESHOLDS,
    Finding,
    TomogramTrust,
    TrustReport,
    judge,
    worst,
)
from dual_core.evaluation.trust.network_pass import (  # noqa: E402
    Networks,
    networks_of,
    open_tomogram,
)
from dual_core.evaluation.trust.simulation import simulation_findings  # noqa: E402
from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.networks.generators import NetworkConfig  # noqa: E402
from dual_core.networks.model import DualModel, plain_config  # noqa: E402
from dual_core.noise_model.full_power.noise_profile import NoiseProfile, profile_to_arrays  # noqa: E402
from dual_core.noise_model.full_power.whole_blocks import grid_of  # noqa: E402
from dual_core.noise_model.tapered_power import on_grid  # noqa: E402
from dual_core.volumes.described.describe import describe  # noqa: E402
from dual_core.volumes.reading import ArrayVolume, write_volume  # noqa: E402

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
    assert bare.noisy is None
    noisy = networks_of(loaded, "cpu").noisy(np.zeros_like(v))
    assert noisy.std() > 0.1 and noisy.min() >= -9.0
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


def test_what_is_simulated_has_a_line_without_a_verdict():
    """Told where the simulated noise is another one, not told where it is the tomogram's own."""
    rng = np.random.default_rng(0)
    shape = (48, 96, 96)
    t = rng.standard_normal(shape).astype(np.float32)
    restored = np.zeros(shape, np.float32)

    def line(noise):
        networks = Networks(lambda v: v, lambda v: v, noisy=lambda v: v + noise)
        return simulation_findings(networks, t, restored)

    (alike,) = line(rng.standard_normal(shape).astype(np.float32))
    (smooth,) = line(gaussian_filter(rng.standard_normal(shape), 1.0).astype(np.float32))
    assert alike.value < 0.7 and smooth.value > 0.95
    assert alike.verdict == smooth.verdict == ""
    bad = Finding("flips", "", 0.4, "", "amber", "")
    report = TrustReport("m", [TomogramTrust("t", [bad, smooth])])
    assert report.verdict == "amber"
    assert simulation_findings(Networks(lambda v: v, lambda v: v), t, restored) == []
    small = np.zeros((8, 8, 8), np.float32)
    networks = Networks(lambda v: v, lambda v: v, noisy=lambda v: v)
    assert simulation_findings(networks, small, small) == []
