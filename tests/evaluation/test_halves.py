"""Properties of the comparison of half tomograms, and ``dual evaluate halves``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch")

from dual_core.cli.main import main  # noqa: E402
from dual_core.errors import DualError  # noqa: E402
from dual_core.evaluation.halves import compare_halves, crossing_text, half_fsc  # noqa: E402
from dual_core.evaluation.trust.run import findings_of_halves  # noqa: E402
from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.networks.generators import NetworkConfig  # noqa: E402
from dual_core.networks.model import DualModel, plain_config  # noqa: E402
from dual_core.volumes.reading import open_volume, write_volume  # noqa: E402

SHAPE = (24, 32, 28)
VOXEL_SIZE_A = 10.0


def halves(noise=1.0, seed=0):
    """One smooth cell with independent noise, twice."""
    rng = np.random.default_rng(seed)
    cell = gaussian_filter(rng.normal(size=SHAPE), 2.0)
    cell /= cell.std()
    return [(cell + noise * rng.normal(size=SHAPE)).astype(np.float32) for _ in range(2)]


def test_identical_halves_correlate_everywhere():
    half, _ = halves()
    curve = half_fsc(half, 5 - 2 * half, VOXEL_SIZE_A)
    assert curve.correlation == pytest.approx(-np.ones(len(curve.correlation)), abs=1e-4)
    assert half_fsc(half, half, VOXEL_SIZE_A).correlation.min() > 0.9999


def test_halves_correlate_as_their_signal_allows():
    """FSC of halves = SNR / (1 + SNR) in each shell."""
    a, b = halves()
    curve = half_fsc(a, b, VOXEL_SIZE_A)
    assert curve.correlation[1] > 0.9
    assert np.abs(curve.correlation[-4:]).max() < 0.15
    assert 20 < (curve.resolution_A(0.5) or 0) < 200


def test_a_curve_that_never_falls_is_not_given_a_resolution():
    a, b = halves()
    assert crossing_text(half_fsc(a, a, VOXEL_SIZE_A)) == "none up to 20 A"
    assert crossing_text(half_fsc(a, -a, VOXEL_SIZE_A)) == "no frequency"
    resolution = half_fsc(a, b, VOXEL_SIZE_A).resolution_A(0.5)
    assert crossing_text(half_fsc(a, b, VOXEL_SIZE_A)) == f"{resolution:.0f} A"


def test_a_mask_narrows_what_is_compared():
    a, b = halves()
    mask = np.zeros(SHAPE, np.float32)
    mask[4:-4, 4:14, 4:-4] = 1
    wrong = b.copy()
    wrong[:, 16:] = np.random.default_rng(9).normal(size=wrong[:, 16:].shape)
    inside = half_fsc(a, wrong, VOXEL_SIZE_A, gaussian_filter(mask, 1.0))
    assert inside.correlation[1] > half_fsc(a, wrong, VOXEL_SIZE_A).correlation[1]
    with pytest.raises(DualError, match="mask"):
        half_fsc(a, b, VOXEL_SIZE_A, np.zeros(SHAPE, np.float32))
    with pytest.raises(DualError, match="shape"):
        half_fsc(a, b[:-1], VOXEL_SIZE_A)


def test_denoising_each_half_consistently_raises_the_correlation():
    a, b = halves()

    def denoise(v):
        return np.clip(gaussian_filter(v, 2.0) - 0.3, 0, None)

    result, volumes = compare_halves(a, b, VOXEL_SIZE_A, denoise)
    assert result.gain is not None and result.gain > -0.02
    assert result.noise_energy is not None and result.noise_energy < 0.5
    assert {"half A", "A denoised", "A - B denoised"} <= set(volumes)
    assert [found.verdict for found in findings_of_halves(result)] == ["green", "green"]


def test_a_denoiser_that_invents_lowers_it_and_is_red():
    a, b = halves(noise=0.5)

    def invents(v):
        seed = int(1000 * abs(float(v[0, 0, 0])))
        return gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.0)

    result, _ = compare_halves(a, b, VOXEL_SIZE_A, invents)
    assert [found.verdict for found in findings_of_halves(result)] == ["red", "red"]


def test_without_a_model_there_is_one_curve():
    result, _ = compare_halves(*halves(), VOXEL_SIZE_A)
    assert list(result.curves) == ["raw"] and result.gain is None
    assert findings_of_halves(result) == []


@pytest.fixture
def simulated(tmp_path):
    """Halves that the simulator made."""
    cell = (gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2.0) > 0.1) * 1.0
    write_volume(tmp_path / "cell.mrc", cell.astype(np.float32), VOXEL_SIZE_A)
    assert main(
        ["project", str(tmp_path / "cell.mrc"), "--output", str(tmp_path), "--halves", "-q"]
        + ["--tilt-range", "-60", "60", "10", "--snr", "1"]
    ) == 0
    return [str(tmp_path / f"cell_tomogram_{name}.mrc") for name in ("odd", "even")]


def test_command_on_halves_of_the_simulator(tmp_path, simulated, capsys):
    torch.manual_seed(0)
    config = NetworkConfig(channels=(2, 3), noise_channels=(2, 2, 2), code_size=4)
    model = tmp_path / "model.safetensors"
    DualModel(config, ModelCard(VOXEL_SIZE_A, "bright", plain_config(config))).save(model)
    output = tmp_path / "fsc"
    arguments = ["evaluate", "halves", *simulated, "--contrast", "dark"]
    arguments += ["--model", str(model), "--output", str(output), "--device", "cpu"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "consistency, not truth" in printed
    with open(output / "halves.csv", newline="") as file:
        assert [row["halves"] for row in csv.DictReader(file)] == ["raw", "denoised"]
    with open(output / "fsc.csv", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["frequency_per_A", "raw", "denoised"]
    raw = [open_volume(path).load() for path in simulated]
    expected = half_fsc(*raw, VOXEL_SIZE_A).correlation
    assert [float(line[1]) for line in lines[1:]] == pytest.approx(expected, abs=1e-4)
    assert expected[1] > 0.3
    names = {path.name for path in output.iterdir()}
    assert names == {
        "halves.csv", "fsc.csv", "fsc.png", "slices.png", "evaluate.yaml",
        "half_coherence.csv", "half_coherence.png", "half_coherence.json",
    }
    (told,) = json.loads((output / "half_coherence.json").read_text())
    assert told["halves"] == Path(simulated[0]).name
    assert told["finding"]["verdict"] in ("green", "amber", "red")
    again = tmp_path / "again"
    both = [*arguments, "--pair", *simulated[::-1], "--output", str(again)]
    assert main(both) == 0
    config = ["evaluate", "halves", "--config", str(again / "evaluate.yaml")]
    before = (again / "half_coherence.json").read_text()
    assert main(config) == 0, "the options of several pairs can be given again"
    assert (again / "half_coherence.json").read_text() == before
    assert [one["halves"] for one in json.loads(before)][-1] == "all"
    with open(output / "half_coherence.csv", newline="") as file:
        ratios = [float(row["ratio"]) for row in csv.DictReader(file)]
    assert [shell["ratio"] for shell in told["shells"]] == pytest.approx(ratios)


def test_tilt_axis_x_is_the_same_of_the_turned_halves(tmp_path, simulated):
    config = NetworkConfig(channels=(2, 3), noise_channels=(2, 2, 2), code_size=4)
    torch.manual_seed(0)
    DualModel(config, ModelCard(VOXEL_SIZE_A, "bright", plain_config(config))).save(
        tmp_path / "model.safetensors"
    )
    turned = [str(tmp_path / f"turned_{name}.mrc") for name in ("odd", "even")]
    for path, source in zip(turned, simulated):
        write_volume(path, open_volume(source).load().swapaxes(1, 2), VOXEL_SIZE_A)
    found = []
    for pair, axis in ((simulated, "y"), (turned, "x")):
        call = ["evaluate", "halves", *pair, "--contrast", "dark", "--tilt-axis", axis]
        call += ["--tilt-range", "-60", "60", "--model", str(tmp_path / "model.safetensors")]
        assert main([*call, "--output", str(tmp_path / axis), "--device", "cpu"]) == 0
        (told,) = json.loads((tmp_path / axis / "half_coherence.json").read_text())
        found.append([shell["ratio"] for shell in told["shells"]])
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_command_without_model_and_its_mistakes(tmp_path, simulated, capsys):
    assert main(["evaluate", "halves", *simulated]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["evaluate", "halves", simulated[0], str(tmp_path / "none.mrc")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "no such file" in lines[0]
    write_volume(tmp_path / "other.mrc", halves()[0][:8], VOXEL_SIZE_A)
    assert main(["evaluate", "halves", simulated[0], str(tmp_path / "other.mrc"), "-q"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "shape" in lines[0]
