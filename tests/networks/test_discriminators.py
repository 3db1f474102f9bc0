"""Discriminators: their branches, in space and on the power spectrum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import exp1

from dual_core.networks.discriminators import Discriminator, log_power_spectrum

pytestmark = pytest.mark.usefixtures("_seed")


@pytest.mark.parametrize("normalised", (False, True))
@pytest.mark.parametrize("scales", (1, 2))
def test_discriminator_has_a_spectral_and_spatial_branches(scales, normalised):
    discriminator = Discriminator((2, 4), scales, normalised)
    logits = discriminator(torch.randn(3, 1, 16, 24, 16))
    assert len(logits) == 1 + scales
    for branch in logits:
        assert branch.shape[:2] == (3, 1)
        assert torch.isfinite(branch).all()
    # Each further resolution is half as fine.
    sides = [tuple(branch.shape[2:]) for branch in logits]
    assert sides[0] == sides[1] == (4, 6, 4)
    if scales == 2:
        assert sides[2] == (2, 3, 2)


def test_the_branches_look_at_space_and_at_the_spectrum():
    """A cyclic shift changes no power: the spectral branch must not see it, the spatial must."""
    discriminator = Discriminator((2, 4))
    volume = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        spectral, spatial = discriminator(volume)
        spectral_shifted, spatial_shifted = discriminator(volume.roll((3, 5, 2), (2, 3, 4)))
    torch.testing.assert_close(spectral, spectral_shifted, rtol=1e-3, atol=1e-4)
    assert (spatial - spatial_shifted).abs().max() > 0.01


def test_white_noise_has_the_expected_log_power():
    volume = torch.randn(4, 1, 24, 24, 24)
    power = log_power_spectrum(volume)
    assert power.shape == volume.shape
    assert power.dtype == torch.float32
    # Power is exponentially distributed with mean 1; the expectation of log(power + 0.01):
    expected = np.exp(0.01) * exp1(0.01) + np.log(0.01)
    assert float(power.mean()) == pytest.approx(expected, abs=0.03)
    # White: the same everywhere, here between the middle and the border.
    assert float(power[..., 8:16, 8:16, 8:16].mean()) == pytest.approx(expected, abs=0.1)


def test_log_power_spectrum_shows_a_wedge_and_the_zero_frequency_in_the_middle():
    side = 24
    middle = side // 2
    frequency = np.fft.fftfreq(side)
    missing = np.abs(frequency[:, None, None]) > 1.5 * np.abs(frequency[None, None, :])
    missing = np.broadcast_to(missing, (side, side, side))
    noise = np.random.default_rng(0).standard_normal((side, side, side))
    wedged = np.fft.ifftn(np.where(missing, 0.0, np.fft.fftn(noise))).real
    power = log_power_spectrum(torch.from_numpy(wedged)[None, None])[0, 0].numpy()
    missing = np.fft.fftshift(missing)
    assert power[missing].mean() < np.log(0.02) < -2.5 < power[~missing].mean()
    constant = log_power_spectrum(torch.ones(1, 1, side, side, side))[0, 0]
    assert np.unravel_index(int(constant.argmax()), constant.shape) == (middle, middle, middle)


def test_log_power_spectrum_of_an_empty_patch_has_finite_gradients():
    volume = torch.zeros(1, 1, 8, 8, 8, requires_grad=True)
    log_power_spectrum(volume).mean().backward()
    assert torch.isfinite(volume.grad).all()
