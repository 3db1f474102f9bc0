"""``dual compensate``: tilt range, axis, units, both kinds of model, and the command line."""

from __future__ import annotations

import json
import shutil
import types

import numpy as np
import pytest
import scipy.fft
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch")

from dual_core.cli.main import main  # noqa: E402
from dual_core.errors import DualError  # noqa: E402
from dual_core.networks.card import ModelCard  # noqa: E402
from dual_core.networks.generators import NetworkConfig  # noqa: E402
from dual_core.networks.model import DualModel, plain_config  # noqa: E402
from dual_core.tasks.denoise import make_runner  # noqa: E402
from dual_core.tasks.missing_wedge import CompensateOptions, compensate_tomogram  # noqa: E402
from dual_core.tasks.wedge.tilt_range import resolve_tilt_range, suggest_tilt_range  # noqa: E402
from dual_core.volumes.geometry import wedge_mask  # noqa: E402
from dual_core.volumes.reading import ArrayVolume, open_volume, write_volume  # noqa: E402

SHAPE = (28, 36, 33)
TILTS = (-50.0, 70.0)


class Recall(torch.nn.Module):
    """A 'network' that gives a volume it knows, whatever it sees; tiles must be the whole."""

    def __init__(self, volume, gain=1.0):
        super().__init__()
        self.volume = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32)) * gain

    def forward(self, tile):
        result = torch.zeros_like(tile)
        z, y, x = self.volume.shape
        result[0, 0, :z, :y, :x] = self.volume
        return result


def fake(network, task="denoise+simulate", tilt_range_deg=None, contrast="bright"):
    model = types.SimpleNamespace(
        denoiser=network,
        multiple=1,
        receptive_radius=0,
        card=ModelCard(10.0, contrast, {}, task=task, tilt_range_deg=tilt_range_deg),
    )
    return model.card, make_runner(model, "cpu", "float32", tile=64, halo=0)


@pytest.fixture(scope="module")
def cell():
    """Density of deviation 1, and what a tilt series measures of it with noise."""
    random = np.random.default_rng(0)
    density = gaussian_filter(random.normal(size=SHAPE), 1.5).astype(np.float32)
    density /= density.std()
    noisy = density + random.normal(size=SHAPE)
    mask = wedge_mask(SHAPE, TILTS)
    tomogram = scipy.fft.ifftn(scipy.fft.fftn(noisy) * mask).real.astype(np.float32)
    return density, 7 * tomogram + 100


def changes(before, after, mask):
    """Largest change where measured, and share of the others that change, in typical units."""
    one, other = (scipy.fft.fftn(volume.astype(np.float64) - 100) for volume in (before, after))
    change = np.abs(other - one) / np.sqrt(np.mean(np.abs(one) ** 2))
    return change[mask].max(), np.mean(change[~mask] > 1e-3)


@pytest.mark.parametrize("axis", ["y", "x"])
@pytest.mark.parametrize("amplitude", ["shells", "single", "model"])
def test_only_the_wedge_is_filled_in_the_tomograms_own_units(tmp_path, cell, axis, amplitude):
    density, tomogram = cell
    turn = (lambda v: v.swapaxes(1, 2)) if axis == "x" else (lambda v: v)
    write_volume(tmp_path / "t.mrc", turn(tomogram), 10.0, (1.0, 2.0, 3.0))
    options = CompensateOptions(TILTS, axis, amplitude=amplitude, contrast="bright")
    report = compensate_tomogram(
        tmp_path / "t.mrc", tmp_path / "c.mrc", *fake(Recall(density)), options
    )
    result = open_volume(tmp_path / "c.mrc")
    assert result.facts.origin_A == (1.0, 2.0, 3.0) and result.voxel_size_A == 10.0
    filled = turn(result.load())
    mask = wedge_mask(SHAPE, TILTS)
    largest, share = changes(tomogram, filled, mask)
    assert largest < 1e-4 and share > 0.95
    assert report.tilt_range == TILTS and report.amplitude == amplitude
    missing = [scipy.fft.fftn(v)[~mask] for v in (filled, density)]
    correlation = np.vdot(*missing).real / np.prod([np.linalg.norm(v) for v in missing])
    assert correlation > 0.8
    if amplitude != "model":
        # 7 times the density was in the tomogram; the soft edge takes a little.
        scale = np.vdot(missing[1], missing[0]).real / np.linalg.norm(missing[1]) ** 2
        assert scale == pytest.approx(7, rel=0.3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.mrc", "t.mrc"]


def test_dark_tomograms_are_filled_with_dark_density(tmp_path, cell):
    density, tomogram = cell
    write_volume(tmp_path / "bright.mrc", tomogram, 10.0)
    write_volume(tmp_path / "dark.mrc", -tomogram, 10.0)
    results = {}
    for contrast in ("bright", "dark"):
        options = CompensateOptions(TILTS, contrast=contrast)
        target = tmp_path / f"{contrast}_c.mrc"
        compensate_tomogram(
            tmp_path / f"{contrast}.mrc", target, *fake(Recall(density)), options
        )
        results[contrast] = open_volume(target).load()
    assert np.allclose(results["dark"], -results["bright"], atol=1e-3)


def test_measured_region_of_a_denoising_model(tmp_path, cell):
    density, tomogram = cell
    write_volume(tmp_path / "t.mrc", tomogram, 10.0)
    target = tmp_path / "c.mrc"
    model = fake(Recall(density, 3.0))
    options = CompensateOptions(TILTS, contrast="bright", soft_edge_deg=0.0)
    compensate_tomogram(tmp_path / "t.mrc", target, *model, options, measured_from=model)
    result = open_volume(target).load()
    # The same model on both sides: the whole is its output, in the tomogram's units.
    assert np.corrcoef(result.ravel(), density.ravel())[0, 1] > 0.97
    wedge = fake(Recall(density), task="missing-wedge")
    with pytest.raises(DualError, match="measured-from"):
        compensate_tomogram(tmp_path / "t.mrc", target, *model, options, measured_from=wedge)


def test_a_missing_wedge_model_speaks_the_units_of_the_tomogram(tmp_path, cell):
    density, tomogram = cell
    write_volume(tmp_path / "t.mrc", tomogram, 10.0)
    card, runner = fake(Recall(density), task="missing-wedge")
    options = CompensateOptions(TILTS, contrast="bright", soft_edge_deg=0.0)
    report = compensate_tomogram(tmp_path / "t.mrc", tmp_path / "c.mrc", card, runner, options)
    assert report.amplitude == "model"
    mask = wedge_mask(SHAPE, TILTS)
    result = open_volume(tmp_path / "c.mrc").load()
    missing = [scipy.fft.fftn(v)[~mask] for v in (result, density)]
    scale = np.vdot(missing[1], missing[0]).real / np.linalg.norm(missing[1]) ** 2
    assert scale == pytest.approx(tomogram.std(), rel=0.25)


def test_another_voxel_size_and_many_small_tiles(tmp_path, cell):
    _, tomogram = cell
    write_volume(tmp_path / "t.mrc", tomogram, 12.0)
    card, runner = fake(torch.nn.Identity())
    runner.side = 16
    options = CompensateOptions(TILTS, contrast="bright")
    compensate_tomogram(tmp_path / "t.mrc", tmp_path / "c.mrc", card, runner, options)
    result = open_volume(tmp_path / "c.mrc")
    assert result.voxel_size_A == 12.0 and result.shape == SHAPE
    largest, _ = changes(tomogram, result.load(), wedge_mask(SHAPE, TILTS))
    assert largest < 1e-4


# --- tilt range ---------------------------------------------------------------------------------


def white(tilt_range, shape=(48, 48, 48)):
    noise = np.random.default_rng(1).normal(size=shape)
    mask = wedge_mask(shape, tilt_range)
    return ArrayVolume(scipy.fft.ifftn(scipy.fft.fftn(noise) * mask).real, 10.0, "tomo.mrc")


@pytest.mark.parametrize("tilt_range", [(-60, 60), (-50, 70), (-70, 45)])
def test_the_power_spectrum_suggests_the_range(tilt_range):
    found = suggest_tilt_range(white(tilt_range))
    assert found == pytest.approx(tilt_range, abs=6)


def test_no_wedge_no_suggestion():
    noise = np.random.default_rng(2).normal(size=(40, 40, 40))
    assert suggest_tilt_range(ArrayVolume(noise, 10.0)) is None
    assert suggest_tilt_range(ArrayVolume(noise[:16], 10.0)) is None


def test_an_unknown_range_is_an_error_with_a_hint_and_a_wrong_one_a_warning(caplog):
    volume = white((-60, 60))
    with pytest.raises(DualError, match=r"tomo.mrc.*pass --tilt-range -\d\d \d\d"):
        resolve_tilt_range(None, None, volume)
    assert resolve_tilt_range(None, (-57.0, 60.0), volume) == (-57, 60)
    assert not [entry for entry in caplog.records if entry.levelname == "WARNING"]
    assert resolve_tilt_range((-40.0, 40.0), (-60.0, 60.0), volume) == (-40, 40)
    warnings = [entry for entry in caplog.records if entry.levelname == "WARNING"]
    assert len(warnings) == 1 and "suggests" in warnings[0].getMessage()
    with pytest.raises(DualError, match="smallest"):
        resolve_tilt_range((60.0, -60.0), None, volume)


# --- command line -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory, cell):
    folder = tmp_path_factory.mktemp("compensate")
    config = NetworkConfig(channels=(2, 4), discriminator_channels=(2, 4), noise_channels=(2, 4))
    card = ModelCard(voxel_size_A=10.0, contrast="bright", network=plain_config(config))
    torch.manual_seed(0)
    DualModel(config, card).save(folder / "model.safetensors")
    write_volume(folder / "t.mrc", cell[1], 10.0)
    write_volume(folder / "truth.mrc", cell[0], 10.0)
    return folder


def compensate(files, output, *options):
    return main(
        ["compensate", "--model", str(files / "model.safetensors"), str(files / "t.mrc")]
        + ["--output", str(output), "--device", "cpu", "--contrast", "bright", *options]
    )


def test_command_writes_records_and_resumes(files, tmp_path, cell, capsys):
    assert compensate(files, tmp_path, "--tilt-range", "-50", "70") == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "t_compensated.mrc", "compensate.jsonl", "compensate.yaml", "compensate.status.json"
    }
    assert "predicted, not measured" in capsys.readouterr().err
    result = open_volume(tmp_path / "t_compensated.mrc").load()
    assert changes(cell[1], result, wedge_mask(SHAPE, TILTS))[0] < 1e-4
    record = json.loads((tmp_path / "compensate.jsonl").read_text())
    assert record["results"]["tilt_range"] == [-50, 70]
    assert compensate(files, tmp_path, "--tilt-range", "-50", "70", "--resume") == 0
    assert "finished before" in capsys.readouterr().err


def test_command_without_a_range_fails_with_a_hint(files, tmp_path, capsys):
    assert compensate(files, tmp_path) == 2
    assert "pass --tilt-range" in capsys.readouterr().err
    assert not (tmp_path / "t_compensated.mrc").exists()


def test_help_says_that_the_filling_is_predicted(capsys):
    with pytest.raises(SystemExit):
        main(["compensate", "--help"])
    assert "predicted by a network, not measured" in capsys.readouterr().out


def test_evaluate_with_truth_and_double(files, tmp_path, capsys):
    t, truth = str(files / "t.mrc"), str(files / "truth.mrc")
    copy = str(tmp_path / "copy.mrc")
    shutil.copy(t, copy)
    tilts = ["--tilt-range", "-60", "60"]
    scored = ["evaluate", "wedge", "--truth", truth, "--raw", t, copy, *tilts]
    assert main([*scored, "--output", str(tmp_path / "a")]) == 0
    assert "measured kept" in capsys.readouterr().out
    row = json.loads((tmp_path / "a" / "scores.json").read_text())["scores"][1]
    assert row["kept"] == pytest.approx(1)
    model = str(files / "model.safetensors")
    double = ["evaluate", "wedge", "--model", model, "--double", t, *tilts, "--device", "cpu"]
    assert main([*double, "--output", str(tmp_path / "b")]) == 0
    names = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == ["no compensation", "noise of the right power", "compensated"]
    files_written = {path.name for path in (tmp_path / "b").iterdir()}
    assert files_written == {
        "scores.csv", "scores.json", "slices.png", "spectra.png", "evaluate.yaml"
    }
    assert main(["evaluate", "wedge", *tilts]) == 2
    assert "--double" in capsys.readouterr().err
