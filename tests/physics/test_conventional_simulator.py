"""The conventional simulator as a whole: seeds, contrast, and what is refused."""

import math

import numpy as np
import pytest
from simulated_phantom import SLAB, correlation, phantom, small_config

from dual_core.errors import DualError
from dual_core.physics.simulate import simulate_tomogram


def test_same_seed_same_tomogram():
    volume, config = phantom(SLAB, 1.0), small_config()
    one, two, other = (
        simulate_tomogram(volume, config, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one.shape == SLAB
    assert one.dtype == np.float32
    assert one.tobytes() == two.tobytes()
    assert abs(correlation(one, other)) < 0.9


def test_density_is_dark_unless_bright_is_asked_for():
    volume = phantom((32, 32, 32), 1.0).astype(np.int16) * 100
    dark = simulate_tomogram(volume, small_config(snr=5.0), np.random.default_rng(0))
    bright = simulate_tomogram(
        volume, small_config(snr=5.0, contrast="bright"), np.random.default_rng(0)
    )
    assert correlation(dark, volume) < -0.2
    np.testing.assert_array_equal(bright, -dark)


def test_scale_of_the_grand_model_only_scales_the_tomogram():
    volume = phantom(SLAB, 1.0)
    one = simulate_tomogram(volume, small_config(), np.random.default_rng(0))
    thousand = simulate_tomogram(volume * 1000, small_config(), np.random.default_rng(0))
    np.testing.assert_allclose(thousand, one * 1000, rtol=1e-3, atol=one.std())


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.zeros((4, 5, 6)), "constant"),
        (np.full((4, 5, 6), np.nan), "NaN"),
        (np.zeros((5, 6)), "three axes"),
    ],
)
def test_unusable_grand_models_are_refused(volume, message):
    with pytest.raises(DualError, match=message):
        simulate_tomogram(volume, small_config(), np.random.default_rng(0))


@pytest.mark.parametrize(
    "changes",
    [
        {"voxel_size_A": 0.0},
        {"tilt_range": (60.0, -60.0)},
        {"tilt_range": (-100.0, 60.0)},
        {"tilt_step": 0.0},
        {"tilt_step": 500.0},
        {"snr": 0.0},
        {"snr": math.nan},
        {"defocus_um": math.nan},
        {"cs_mm": -1.0},
        {"amplitude_contrast": 1.5},
        {"solvent_share": -0.1},
        {"mtf_nyquist": 0.0},
        {"weighting": "boxcar"},
        {"contrast": "inverted"},
        {"dose_order": "random"},
    ],
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(DualError, match="give"):
        small_config(**changes)
