"""The contrast transfer function: its zeros, its sign, and its rings in simulated images."""

import math

import numpy as np
import pytest
from simulated_phantom import small_config

from dual_core.physics import ctf
from dual_core.physics.config import SimulatorConfig
from dual_core.physics.projection import project
from dual_core.physics.simulate import simulate_tilt_series


@pytest.mark.parametrize(("voltage", "expected"), [(100, 0.03701), (200, 0.02508), (300, 0.01969)])
def test_electron_wavelength(voltage, expected):
    assert ctf.electron_wavelength_A(voltage) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("defocus", [1.0, 3.5, 6.0])
@pytest.mark.parametrize("amplitude", [0.0, 0.07, 0.3])
def test_ctf_is_zero_where_it_must_be(defocus, amplitude):
    wavelength, cs_A = ctf.electron_wavelength_A(300), 2.7e7
    for order in range(1, 6):
        # pi lambda k^2 df - pi/2 Cs lambda^3 k^4 + asin(A) = n pi, solved for k^2
        a, b = 0.5 * cs_A * wavelength**3, -wavelength * defocus * 1e4
        c = order - math.asin(amplitude) / math.pi
        zero = math.sqrt((-b - math.sqrt(b * b - 4 * a * c)) / (2 * a))
        around = ctf.contrast_transfer(
            np.array([zero * 0.99, zero, zero * 1.01]), defocus, 300, 2.7, amplitude
        )
        assert abs(around[1]) < 1e-9
        assert around[0] * around[2] < 0
    frequencies = np.linspace(0, 0.1, 500)
    assert np.abs(ctf.contrast_transfer(frequencies, defocus)).max() <= 1


def test_ctf_at_zero_is_the_amplitude_contrast_and_dark():
    assert ctf.contrast_transfer(np.zeros(1), 3.0)[0] == pytest.approx(-0.07)
    assert ctf.contrast_transfer(np.array([0.01]), 3.0)[0] < -0.07


def test_simulated_images_have_the_rings_of_the_ctf():
    shape, voxel = (8, 96, 96), 8.0
    config = SimulatorConfig(
        voxel_size_A=voxel, tilt_range=(-1, 1), tilt_step=1, snr=None, defocus_um=4.0,
        defocus_spread_um=0.0, total_dose=0.0,
    )  # fmt: skip
    white = np.random.default_rng(1).standard_normal(shape)
    image = simulate_tilt_series(white, config, np.random.default_rng(0)).full[1]
    power = np.abs(np.fft.rfft2(image)) ** 2
    frequency = ctf.image_frequencies(image.shape, voxel)
    zero = math.sqrt((1 - math.asin(0.07) / math.pi) / (ctf.electron_wavelength_A(300) * 4e4))
    ring = np.abs(frequency - zero) < 0.01 * zero
    peak = np.abs(frequency - zero / math.sqrt(2)) < 0.05 * zero
    assert power[ring].mean() < 0.01 * power[peak].mean()


def test_phase_flipping_makes_all_transfer_dark():
    volume = np.random.default_rng(0).standard_normal((8, 48, 48))
    config = small_config(snr=None, voxel_size_A=6.0, tilt_range=(-1, 1), tilt_step=1.0)
    flipped = SimulatorConfig(**{**vars(config), "phase_flip": True})
    images = simulate_tilt_series(volume, config, np.random.default_rng(0)).full
    corrected = simulate_tilt_series(volume, flipped, np.random.default_rng(0)).full
    cross = np.fft.rfft2(project(volume, config.angles)).conj()
    frequency = ctf.image_frequencies(images.shape[1:], 6.0)
    fine = frequency > 0.045  # past the first zero at 3.6 um
    assert (np.fft.rfft2(images) * cross).real[:, fine].max() > 0
    assert (np.fft.rfft2(corrected) * cross).real[:, frequency < 0.07].max() < 1e-2
