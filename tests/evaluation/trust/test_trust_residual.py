"""What denoising removed: noise alone, or structure with it."""

from __future__ import annotations

import numpy as np
import pytest
from noisy_cells import OPTIONS, SHAPE, VOXEL_SIZE_A, look, tomogram, values, verdicts
from scipy.ndimage import gaussian_filter

pytest.importorskip("torch")

from dual_core.evaluation.bands import band_correlations, fit_in_bands  # noqa: E402
from dual_core.evaluation.trust.examine import TrustOptions, examine, structure_share  # noqa: E402
from dual_core.evaluation.trust.network_pass import Networks  # noqa: E402


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
