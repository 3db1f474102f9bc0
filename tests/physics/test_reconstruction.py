"""Reconstruction from a tilt series: the phantom comes back, but for the missing wedge."""

import math

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from simulated_phantom import SLAB, correlation, phantom

from dual_core.errors import DualError
from dual_core.physics.config import SimulatorConfig, tilt_angles
from dual_core.physics.projection import detector_width, project
from dual_core.physics.reconstruction import angular_shares, exact_filter, ramp_filter, reconstruct
from dual_core.physics.simulate import simulate_tomogram
from dual_core.volumes.geometry import wedge_mask

# --- reconstruction


@pytest.mark.parametrize("shape", [(32, 8, 40), (20, 8, 64), (40, 8, 23)])
@pytest.mark.parametrize("weighting", ["ramp", "exact"])
def test_full_tilt_range_gives_the_phantom_back(shape, weighting):
    angles = tilt_angles(-90, 90, 2)
    sharp, smooth = phantom(shape, 0), phantom(shape, 1.0)
    assert correlation(reconstruct(project(sharp, angles), angles, shape, weighting), sharp) > 0.98
    tomogram = reconstruct(project(smooth, angles), angles, shape, weighting)
    assert correlation(tomogram, smooth) > 0.99
    tolerance = {"ramp": 0.02, "exact": 0.08}[weighting]
    assert np.abs(tomogram - smooth).max() < tolerance * smooth.max()  # scale and mean are kept


def test_uneven_tilts_keep_the_density():
    angles = np.concatenate((np.arange(-90, 0, 4.0), np.arange(0, 90.1, 2.0)))
    volume = phantom((24, 8, 30), 1.0)
    tomogram = reconstruct(project(volume, angles), angles, volume.shape)
    assert np.abs(tomogram - volume).max() < 0.05 * volume.max()


def test_order_of_the_tilts_is_free():
    angles = np.array(tilt_angles(-60, 60, 10))
    turn = np.random.default_rng(0).permutation(angles.size)
    images = project(phantom(SLAB, 1.0), angles)
    for weighting in ("ramp", "exact"):
        expected = reconstruct(images, angles, SLAB, weighting)
        shuffled = reconstruct(images[turn], angles[turn], SLAB, weighting)
        np.testing.assert_allclose(shuffled, expected, atol=1e-4)


def test_angular_shares():
    np.testing.assert_allclose(angular_shares(tilt_angles(-60, 60, 3)), math.radians(3))
    full = angular_shares(tilt_angles(-90, 90, 10))
    assert full.sum() == pytest.approx(math.pi)
    assert full[0] == pytest.approx(full[5] / 2)
    np.testing.assert_allclose(angular_shares([0, 45, 90, 135]), math.pi / 4)
    assert angular_shares([30, 0, 10])[2] == pytest.approx(math.radians(15))


def test_ramp_is_the_frequency_but_not_zero_at_zero():
    response = ramp_filter(256)
    np.testing.assert_allclose(response, np.fft.rfftfreq(256), atol=2e-3)
    assert 0 < response[0] < 1 / 256


def test_exact_weighting_is_the_ramp_and_then_flat():
    step, diameter = 2.0, 20.0
    response = exact_filter(512, tilt_angles(-90, 90 - step, step), diameter)[30]
    frequency = np.fft.rfftfreq(512)
    ramp = frequency * math.radians(step)
    crowther = 1 / (diameter * math.radians(step))
    overlapping = (frequency > 3 / diameter) & (frequency < 0.3 * crowther)
    np.testing.assert_allclose(response[overlapping], ramp[overlapping], rtol=0.08)
    narrow = exact_filter(512, [-60.0, 0.0, 60.0], diameter)[1]
    np.testing.assert_allclose(narrow[frequency > 0.06], 1 / diameter)


def test_unknown_weighting_is_refused():
    with pytest.raises(DualError, match="ramp, exact"):
        reconstruct(np.zeros((1, 4, 10)), [0.0], (4, 4, 6), "boxcar")


# --- the missing wedge


def spectrum(volume):
    """Power in the (z, x) plane, mean over y, windowed against leakage, not shifted."""
    window = np.hanning(volume.shape[0])[:, None, None] * np.hanning(volume.shape[2])
    return np.mean(np.abs(np.fft.fftn((volume - volume.mean()) * window)) ** 2, axis=1)


@pytest.mark.parametrize("tilt_range", [(-60.0, 60.0), (-50.0, 70.0), (-20.0, 65.0)])
@pytest.mark.parametrize("source", ["noise", "simulation"])
def test_spectrum_is_empty_in_the_wedge_and_only_there(tilt_range, source):
    shape = (64, 6, 64)
    rng = np.random.default_rng(5)
    if source == "noise":
        angles = tilt_angles(tilt_range[0], tilt_range[1], 2.0)
        images = rng.standard_normal((len(angles), shape[1], detector_width(shape)))
        tomogram = reconstruct(images, angles, shape)
    else:
        config = SimulatorConfig(voxel_size_A=14.0, tilt_range=tilt_range, tilt_step=2.0, snr=0.05)
        tomogram = simulate_tomogram(phantom(shape, 1.0), config, rng)
    power = np.fft.fftshift(spectrum(tomogram))
    measured = np.fft.fftshift(wedge_mask(shape, tilt_range)[:, 0, :])
    z, x = (np.fft.fftshift(np.fft.fftfreq(n)) for n in (shape[0], shape[2]))
    radius = np.hypot(z[:, None], x[None, :])
    # A window spreads every coefficient over its neighbours: keep three away from the border.
    inside = (distance_transform_edt(measured) >= 3) & (radius > 0.1) & (radius < 0.4)
    outside = (distance_transform_edt(~measured) >= 3) & (radius > 0.1) & (radius < 0.4)
    assert inside.sum() > 100
    assert outside.sum() > 100
    assert power[outside].max() < 2e-2 * power[inside].mean()
    assert power[outside].mean() < 2e-3 * power[inside].mean()
    assert power[inside].min() > 10 * power[outside].mean()
    mirrored = np.fft.fftshift(wedge_mask(shape, (-tilt_range[1], -tilt_range[0]))[:, 0, :])
    if tilt_range[0] != -tilt_range[1]:  # the sign of the angles matters, and is this one
        assert power[inside & ~mirrored].mean() > 100 * power[outside & mirrored].mean()
