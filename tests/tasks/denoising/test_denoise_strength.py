"""The strength of denoising: from the input, bit by bit, to the output of the network."""

import numpy as np
import pytest
from local_mean import (
    Hungry,
    Smooth,
    correlation,
    denoise,
    fake_model,
    phantom,
    read,
    standardised,
    write,
)

torch = pytest.importorskip("torch")

from dual_core.errors import DualError  # noqa: E402
from dual_core.tasks.denoise import DenoiseOptions  # noqa: E402


def outputs_by_strength(tmp_path, strengths, sign=1, **options):
    volume = phantom((24, 40, 32), sign=sign)
    source = write(tmp_path / "t.mrc", volume)
    contrast = "bright" if sign > 0 else "dark"
    results = []
    for strength in strengths:
        denoise(source, tmp_path / "o.mrc",
                options=DenoiseOptions(strength=strength, contrast=contrast, **options))
        results.append(read(tmp_path / "o.mrc"))
    return volume, results


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int16])
def test_strength_0_is_the_input_bit_by_bit(tmp_path, dtype):
    volume = phantom(shift=0).astype(dtype)
    source = write(tmp_path / "t.mrc", volume, 13.3)
    report = denoise(source, tmp_path / "o.mrc", fake_model(Hungry()),
                     options=DenoiseOptions(strength=0.0, contrast="dark"))
    assert read(tmp_path / "o.mrc").tobytes() == volume.astype(np.float32).tobytes()
    assert report.tiles == 0
    denoise(source, tmp_path / "o.mrc", fake_model(Hungry()), options=DenoiseOptions(
        strength=0.0, contrast="dark", output_contrast="as-model"))
    np.testing.assert_array_equal(read(tmp_path / "o.mrc"), -volume.astype(np.float32))


def test_strength_1_is_the_output_of_the_network(tmp_path):
    for sign in (1, -1):
        volume, (full,) = outputs_by_strength(tmp_path, [1.0], sign)
        t = torch.from_numpy(sign * standardised(volume.astype(np.float64)))[None, None]
        d = Smooth()(t)[0, 0].numpy()
        # Zeros beyond the end are not what a whole pass sees there: compare inside.
        inside = (slice(2, -2),) * 3
        assert correlation(full[inside], sign * d[inside]) > 1 - 1e-6
        _, (units,) = outputs_by_strength(tmp_path, [1.0], sign, units="standardised")
        np.testing.assert_allclose(units[inside], sign * d[inside], rtol=0, atol=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_strength_scales_the_noise_and_keeps_the_structure(tmp_path, sign):
    strengths = [0.0, 1e-4, 0.25, 0.5, 0.9999, 1.0]
    volume, results = outputs_by_strength(tmp_path, strengths, sign)
    volume = volume.astype(np.float64)
    full = results[-1].astype(np.float64)
    residual = volume - full
    structure = full - full.mean()
    assert abs(np.mean(residual)) < 1e-4 * volume.std()
    for strength, result in zip(strengths, results):
        result = result.astype(np.float64)
        # One amplitude of the structure at every strength.
        amplitude = np.vdot(result - result.mean(), structure) / np.vdot(structure, structure)
        assert amplitude == pytest.approx(1, abs=1e-4)
        # Power of the residual falls as (1 - S)^2, and with it the variance splits.
        left = result - full
        assert left.var() == pytest.approx((1 - strength) ** 2 * residual.var(), rel=1e-3, abs=1e-7)
        power = full.var() + (1 - strength) ** 2 * residual.var()
        assert result.var() == pytest.approx(power, rel=1e-4)
    # Continuous at both ends.
    assert abs(results[1] - results[0]).max() < 1e-3 * volume.std()
    assert abs(results[4] - results[5]).max() < 1e-3 * volume.std()
    for units in ("input", "standardised"):
        _, near = outputs_by_strength(tmp_path, [0.0, 1e-5, 0.99999, 1.0], sign, units=units)
        assert abs(near[0] - near[1]).max() < 1e-3 * near[0].std()
        assert abs(near[2] - near[3]).max() < 1e-3 * near[0].std()


@pytest.mark.parametrize("options", [
    {"strength": 1.1}, {"strength": float("nan")}, {"contrast": "x"}, {"units": "x"},
    {"output_contrast": "x"},
])
def test_options_are_checked(options):
    with pytest.raises(DualError):
        DenoiseOptions(**options)
