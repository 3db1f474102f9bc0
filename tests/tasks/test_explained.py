"""The part of a tomogram that the result explains: what is left is what was removed."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.linear_file import linear_to_arrays
from dual_core.noise_model.tapered_power import on_grid
from dual_core.tasks import explained_part
from dual_core.volumes.reading import ArrayVolume, open_volume, write_volume

SHAPE = (48, 60, 52)
VOXEL_A = 10.0


def oscillating() -> LinearModel:
    """A transfer with a zero and a change of sign, as that of a microscope at some defocus."""
    axes = [np.fft.fftfreq(32), np.fft.fftfreq(32), np.fft.rfftfreq(32)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    frequency = np.sqrt(z**2 + y**2 + x**2)
    transfer = np.cos(2 * np.pi * frequency / 0.32).astype(np.float32)
    ones = np.ones_like(transfer)
    return LinearModel(transfer, ones, (), "file", ones)


def density(seed: int = 0) -> np.ndarray:
    points = np.zeros(SHAPE, np.float32)
    generator = np.random.default_rng(seed)
    for _ in range(25):
        points[tuple(generator.integers(4, np.array(SHAPE) - 4))] = 1.0
    smooth = gaussian_filter(points, 1.5)
    return (smooth / smooth.std()).astype(np.float32)


def seen(volume: np.ndarray, linear: LinearModel) -> np.ndarray:
    filtered = np.fft.rfftn(volume) * on_grid(linear.transfer, volume.shape)
    return np.fft.irfftn(filtered, s=volume.shape).astype(np.float32)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def written(tmp_path, tomogram, result, linear, axis="y", blank=None):
    source, target = tmp_path / "t.mrc", tmp_path / "t_explained.mrc"
    write_volume(source, tomogram, VOXEL_A)
    explained_part.write_explained(
        ArrayVolume(result, VOXEL_A), open_volume(source), linear, VOXEL_A, axis, target, blank
    )
    with mrcfile.open(target) as file:
        assert file.voxel_size.x == pytest.approx(VOXEL_A)
        return np.array(file.data)


def test_what_is_left_has_no_structure_though_the_tomogram_less_the_density_has(tmp_path):
    linear, truth = oscillating(), density()
    structure = seen(truth, linear)
    noise = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    tomogram = -40.0 * (structure / structure.std() + noise) + 300.0
    explained = written(tmp_path, tomogram, truth, linear)
    left = tomogram - explained
    assert abs(correlation(left, structure)) < 0.03
    assert abs(correlation(left, truth)) < 0.03
    assert correlation(left, -noise) > 0.99
    slope = np.polyfit(truth.ravel(), tomogram.ravel(), 1)[0]
    assert abs(correlation(tomogram - slope * truth, structure)) > 0.3, "the old picture"


@pytest.mark.parametrize("axis", ["y", "x"])
def test_blocks_do_not_show(tmp_path, monkeypatch, axis):
    linear, truth = oscillating(), density(2)
    tomogram = (seen(truth, linear) + 10.0).astype(np.float32)
    whole = written(tmp_path, tomogram, truth, linear, axis)
    monkeypatch.setattr(explained_part, "BLOCK", (20, 33, 25))
    pieces = written(tmp_path, tomogram, truth, linear, axis)
    assert (pieces - whole).std() < 0.01 * whole.std()
    assert np.abs(pieces - whole).max() < 0.15 * whole.std()  # the tail of a sharp transfer


def test_nothing_is_removed_where_it_is_blank(tmp_path):
    linear, truth = oscillating(), density(3)
    tomogram = seen(truth, linear) + np.float32(7)
    where = np.zeros(SHAPE, bool)
    where[:, :9] = True

    class Blank:
        def read(self, start, size):
            return where[tuple(slice(a, a + n) for a, n in zip(start, size))]

    explained = written(tmp_path, tomogram, 0 * truth + density(4), linear, blank=Blank())
    assert (explained[where] == tomogram[where]).all()
    assert (explained[~where] != tomogram[~where]).mean() > 0.99


# The command --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two model files, the second without a linear model."""
    torch = pytest.importorskip("torch")
    from dual_core.networks.card import ModelCard
    from dual_core.networks.generators import NetworkConfig
    from dual_core.networks.model import DualModel, plain_config

    torch.manual_seed(3)
    config = NetworkConfig(
        channels=(2, 3), noise_channels=(2, 2), code_size=4, noise_side=8,
        discriminator_channels=(2, 2),
    )
    card = ModelCard(voxel_size_A=VOXEL_A, contrast="bright", network=plain_config(config))
    folder = tmp_path_factory.mktemp("models")
    paths = []
    for name, tensors in (("new", linear_to_arrays(oscillating())), ("old", {})):
        model = DualModel(config, card)
        model.linear = {key: torch.from_numpy(value) for key, value in tensors.items()}
        paths.append(folder / f"{name}.safetensors")
        model.save(paths[-1])
    return paths


def test_command_writes_it_beside_and_resumes(tmp_path, models, capsys):
    from dual_core.cli.main import main

    new, old = models
    source = tmp_path / "one.mrc"
    write_volume(source, density(5) + 1, VOXEL_A)
    output = tmp_path / "out"
    arguments = ["denoise", "--model", str(new), str(source), "--output", str(output)]
    arguments += ["--device", "cpu", "--contrast", "bright", "--explained"]
    assert main(arguments) == 0
    explained, denoised = (output / f"one_{kind}.mrc" for kind in ("explained", "denoised"))
    assert open_volume(explained).shape == SHAPE
    stamps = [path.stat().st_mtime_ns for path in (explained, denoised)]
    assert main([*arguments, "--resume"]) == 0
    assert [path.stat().st_mtime_ns for path in (explained, denoised)] == stamps
    explained.unlink()
    assert main([*arguments, "--resume"]) == 0
    assert explained.is_file(), "made again where it is missing"
    assert len((output / "denoise.jsonl").read_text().splitlines()) == 2

    # Whatever is shown of the result, this is about the tomogram itself.
    before = open_volume(explained).load()
    extra = ["--strength", "0", "--output-contrast", "as-model"]
    assert main([*arguments, *extra]) == 0
    np.testing.assert_array_equal(open_volume(explained).load(), before)

    # Of a model that knows no transfer that of the tomogram itself is found.
    arguments[2], arguments[5] = str(old), str(tmp_path / "without")
    assert main([*arguments, "--resume"]) == 0
    assert {path.name for path in (tmp_path / "without").iterdir()} == {
        "one_denoised.mrc", "one_explained.mrc", "denoise.jsonl", "denoise.yaml",
        "denoise.status.json",
    }
