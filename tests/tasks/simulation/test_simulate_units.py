"""Contrast, units, voxel size and origin of a simulated tomogram."""

import mrcfile
import numpy as np
import pytest
from small_simulation import (
    SHAPE,
    VOXEL_SIZE_A,
    density,
    make_model,
    read,
    simulate,
    whole_pass,
    write,
)

torch = pytest.importorskip("torch")

from dual_core.errors import DualError  # noqa: E402
from dual_core.tasks.simulate import SimulateOptions, output_contrast, simulate_tomogram  # noqa: E402
from dual_core.tasks.simulation.noise_codes import draw_noise  # noqa: E402
from dual_core.tasks.simulation.noisy_tiles import SimulationRunner  # noqa: E402


def test_contrast_of_the_grand_model_and_of_the_result(tmp_path, model):
    volume = density()
    bright = write(tmp_path / "b.mrc", volume)
    dark = write(tmp_path / "d.mrc", -volume)
    noise = draw_noise(4, 0, 0, 1)
    runner = SimulationRunner(model, "cpu", "float32")

    def result(source, **options):
        simulate_tomogram(source, tmp_path / "s.mrc", model, runner, noise,
                          SimulateOptions(**options))
        return read(tmp_path / "s.mrc")

    expected = whole_pass(model, volume, noise)
    found = result(bright, contrast="bright", output_contrast="as-model")
    np.testing.assert_allclose(found, expected, atol=2e-3 * expected.std())
    np.testing.assert_array_equal(found, result(dark, contrast="dark", output_contrast="bright"))
    np.testing.assert_array_equal(-found, result(bright, contrast="auto"))
    assert output_contrast(make_model(noisy_contrast="bright").card) == "bright"
    assert output_contrast(make_model(noisy_contrast="dark").card) == "dark"
    assert output_contrast(model.card, "bright") == "bright"


def test_grand_models_are_standardised_alike_and_other_units_are_warned_of(
        tmp_path, model, caplog):
    volume = density()
    noise = draw_noise(4, 0, 0, 1)
    runner = SimulationRunner(model, "cpu", "float32")

    def result(array, **options):
        options = SimulateOptions(contrast="bright", output_contrast="bright", **options)
        simulate_tomogram(write(tmp_path / "g.mrc", array), tmp_path / "s.mrc", model, runner,
                          noise, options)
        return read(tmp_path / "s.mrc")

    plain = result(volume)
    fuller = result(1.5 * volume)
    assert "--standardise own" not in caplog.text
    assert abs(plain - fuller).max() > 0.1
    own = result(40 * volume + 1000, standardise="own")
    assert "--standardise own" not in caplog.text
    np.testing.assert_allclose(own, plain, atol=2e-3)
    result(40 * volume)
    assert caplog.text.count("--standardise own") == 1
    result(volume + 10)
    assert caplog.text.count("--standardise own") == 2


def test_voxel_size_origin_and_statistics(tmp_path, model, caplog):
    source = write(tmp_path / "g.mrc", density(), origin=(5, -6, 7))
    seen = []
    simulate(source, tmp_path / "s.mrc", model, progress=lambda *a: seen.append(a))
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)]
    with mrcfile.open(tmp_path / "s.mrc") as file:
        assert file.header.origin.tolist() == (5, -6, 7)
        np.testing.assert_allclose(float(file.voxel_size.x), VOXEL_SIZE_A, rtol=1e-5)
        assert file.data.dtype == np.float32 and file.data.shape == SHAPE
        np.testing.assert_allclose(file.header.rms, file.data.std(), rtol=1e-4)
    other = write(tmp_path / "o.mrc", density(), 10.8, origin=(5, -6, 7))
    with caplog.at_level("INFO"):
        report = simulate(other, tmp_path / "s.mrc", model)
    assert report.resampled and "resampled" in caplog.text
    with mrcfile.open(tmp_path / "s.mrc") as file:
        assert file.header.origin.tolist() == (5, -6, 7) and file.data.shape == SHAPE
        np.testing.assert_allclose(float(file.voxel_size.x), 10.8, rtol=1e-5)
    report = simulate(other, tmp_path / "s.mrc", model, options=SimulateOptions(
        contrast="bright", voxel_size_A=10.0))
    assert not report.resampled
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.mrc", "o.mrc", "s.mrc"]


@pytest.mark.parametrize("options", [
    {"contrast": "x"}, {"output_contrast": "x"}, {"standardise": "x"}, {"units": "x"},
])
def test_options_are_checked(options):
    with pytest.raises(DualError):
        SimulateOptions(**options)


def test_output_that_is_not_finite_leaves_nothing(tmp_path):
    model = make_model()
    with torch.no_grad():
        model.structural_generator.input_gain.fill_(float("nan"))
    source = write(tmp_path / "g.mrc", density())
    with pytest.raises(DualError, match="not finite"):
        simulate(source, tmp_path / "s.mrc", model)
    assert [p.name for p in tmp_path.iterdir()] == ["g.mrc"]


@pytest.mark.parametrize("voxel_size_A", [VOXEL_SIZE_A, 10.8])
def test_a_model_of_tomograms_with_the_tilt_axis_x_makes_such(tmp_path, small_tiles, voxel_size_A):
    """What it makes is what the networks make of the turned map, turned back."""
    noise = draw_noise(4, 0, 0, 1)
    found = {}
    for axis, volume in (("y", density().swapaxes(1, 2)), ("x", density())):
        model = make_model(tilt_axis=axis)
        source = write(tmp_path / f"{axis}.mrc", np.ascontiguousarray(volume), voxel_size_A)
        runner = SimulationRunner(model, "cpu", "float32")
        simulate_tomogram(source, tmp_path / f"{axis}_s.mrc", model, runner, noise,
                          SimulateOptions(contrast="bright", output_contrast="bright"))
        found[axis] = read(tmp_path / f"{axis}_s.mrc")
    assert found["x"].shape == SHAPE
    expected = found["y"].swapaxes(1, 2)
    np.testing.assert_allclose(found["x"], expected, atol=1e-4 * expected.std())
    assert abs(found["x"] - found["x"][:, ::-1]).max() > 0.1 * expected.std()
