"""Noise, dose and detector of simulated tilt series."""

import math

import numpy as np
import pytest
from simulated_phantom import SLAB, correlation, phantom, small_config

from dual_core.errors import DualError
from dual_core.physics import ctf, noise
from dual_core.physics.simulate import simulate_halves, simulate_tilt_series, simulate_tomogram


def _generator():
    return np.random.default_rng(0)


@pytest.mark.parametrize("snr", [0.05, 0.7])
@pytest.mark.parametrize("solvent_share", [0.0, 0.4, 1.0])
def test_snr_is_as_wanted(snr, solvent_share):
    volume = phantom(SLAB, 1.0)
    config = small_config(snr=snr, solvent_share=solvent_share)
    noisy = simulate_tilt_series(volume, config, np.random.default_rng(0)).full
    clean = simulate_tilt_series(
        volume, small_config(snr=None), np.random.default_rng(0)
    ).full  # the defocus is drawn first, so it is the same
    start = (noisy.shape[2] - SLAB[2]) // 2
    centre = (slice(None), slice(None), slice(start, start + SLAB[2]))
    signal = np.var(clean[centre], axis=(1, 2)).mean()
    rest = np.var((noisy - clean)[centre], axis=(1, 2)).mean()
    # Solvent and shot noise correlate by chance in so small a volume.
    assert signal / rest == pytest.approx(snr, rel=0.15)


def test_shot_noise_grows_with_the_tilt_and_has_its_own_detector_response():
    volume = phantom((10, 24, 32), 1.0)
    changes = {"solvent_share": 0.0, "free_path_A": 100.0, "noise_mtf_nyquist": 0.3}
    noisy = simulate_tilt_series(volume, small_config(snr=1e-4, **changes), _generator()).full
    clean = simulate_tilt_series(volume, small_config(snr=None, **changes), _generator()).full
    shot = noisy - clean
    # Ten voxels of 10 A are one free path, two at 60 degrees: exp(1) times the noise power.
    assert shot[0].var() / shot[10].var() == pytest.approx(math.e, rel=0.2)
    power = (np.abs(np.fft.rfft2(shot)) ** 2 / shot.var(axis=(1, 2))[:, None, None]).mean(axis=0)
    expected = noise.detector_response(shot.shape[1:], 0.3) ** 2
    ratio = power / expected
    frequency = ctf.image_frequencies(shot.shape[1:], 1.0)
    assert ratio[frequency > 0.4].mean() == pytest.approx(ratio[frequency < 0.25].mean(), rel=0.1)


def test_halves_share_the_specimen_but_not_the_shot_noise():
    volume = phantom(SLAB, 1.0)
    clean = simulate_tomogram(volume, small_config(snr=None), np.random.default_rng(4))
    config = small_config(snr=0.5, solvent_share=0.0)
    tomograms = simulate_halves(volume, config, np.random.default_rng(4))
    np.testing.assert_allclose(
        (tomograms.odd + tomograms.even) / 2, tomograms.full, atol=1e-4 * tomograms.full.std()
    )
    assert abs(correlation(tomograms.odd - clean, tomograms.even - clean)) < 0.1
    assert correlation(tomograms.odd, tomograms.even) > 0.1
    noise_of_half = (tomograms.odd - clean).var()
    assert noise_of_half == pytest.approx(2 * (tomograms.full - clean).var(), rel=0.15)
    one = simulate_tomogram(volume, config, np.random.default_rng(4))
    assert one.tobytes() == tomograms.full.tobytes()


def test_solvent_is_the_same_in_both_halves():
    config = small_config(snr=0.1, solvent_share=1.0)
    tomograms = simulate_halves(phantom(SLAB, 1.0), config, np.random.default_rng(4))
    assert correlation(tomograms.odd, tomograms.even) > 0.999


def test_critical_exposure_is_that_of_the_paper():
    # Grant & Grigorieff's formula by hand: 0.24499 * 0.1**-1.6649 + 2.8141
    assert noise.critical_exposure(np.array([0.1]))[0] == pytest.approx(14.14, abs=0.01)
    assert noise.critical_exposure(np.array([0.1]), 200.0)[0] == pytest.approx(11.31, abs=0.01)
    attenuation = noise.dose_attenuation(np.array([0.0, 0.02, 0.1]), 14.14)
    assert attenuation[0] == 1.0
    assert attenuation[2] == pytest.approx(math.exp(-0.5), abs=1e-3)
    assert np.all(np.diff(attenuation) < 0)


def test_doses_accumulate_in_the_order_of_the_scheme():
    angles = [-60, -30, 0, 30, 60]
    symmetric = noise.accumulated_doses(angles, 100.0)
    assert symmetric[2] == 10.0
    assert max(symmetric[1], symmetric[3]) < min(symmetric[0], symmetric[4])
    np.testing.assert_allclose(
        noise.accumulated_doses(angles, 100.0, "sequential"), [10, 30, 50, 70, 90]
    )
    with pytest.raises(DualError, match="dose order"):
        noise.accumulated_doses(angles, 100.0, "random")


def test_dose_and_its_weighting_dim_fine_detail():
    volume = np.random.default_rng(0).standard_normal((8, 24, 24))

    def fine_power(**changes):
        config = small_config(snr=None, defocus_spread_um=0.0, **changes)
        images = simulate_tilt_series(volume, config, np.random.default_rng(0)).full
        power = np.abs(np.fft.rfft2(images)) ** 2
        return power[:, ctf.image_frequencies(images.shape[1:], 10.0) > 0.025].mean(axis=1)

    fresh, damaged = fine_power(total_dose=0.0), fine_power(total_dose=120.0)
    weighted = fine_power(total_dose=120.0, dose_weighting=True)
    ratio = damaged / fresh
    assert np.all(ratio < 1)
    assert ratio[0] < ratio[len(ratio) // 2]  # the last tilts have lost most
    np.testing.assert_array_less(weighted, damaged)


def test_transmission_falls_with_the_tilt():
    passed = noise.transmission([-60.0, 0.0, 60.0, 90.0], 1000.0, 2000.0)
    np.testing.assert_allclose(passed[:3], [math.exp(-0.5), 1.0, math.exp(-0.5)])
    assert passed[3] > 0
    np.testing.assert_array_equal(noise.transmission([0.0, 70.0], 1000.0, math.inf), 1.0)


def test_detector_response_has_its_value_at_nyquist():
    response = noise.detector_response((8, 8), 0.4)
    assert response[0, 0] == 1.0
    assert response[0, 4] == pytest.approx(0.4)
    assert response[4, 0] == pytest.approx(0.4)
