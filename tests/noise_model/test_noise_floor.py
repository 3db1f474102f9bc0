"""The noise power measured on tomograms alone, and on halves."""

from __future__ import annotations

from typing import List, Tuple

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.noise_model.noise_floor import noise_from_blocks, noise_from_halves
from dual_core.noise_model.tapered_power import half_grid_frequency
from dual_core.volumes.geometry import frequency_axes
from dual_core.volumes.patches import StandardisedVolume
from dual_core.volumes.reading import ArrayVolume

SHAPE = (72, 96, 96)
BANDS = ((0.06, 0.1), (0.1, 0.15), (0.15, 0.25), (0.25, 0.4))


def ramp() -> np.ndarray:
    """Amplitude of noise that grows with the distance from the tilt axis, as a ramp filter's."""
    z, _, x = frequency_axes(SHAPE)
    return np.sqrt(0.1 + 4.0 * np.hypot(z, x)) * np.ones(SHAPE)


def noise(seed: int) -> np.ndarray:
    white = np.random.default_rng(seed).standard_normal(SHAPE)
    return np.fft.ifftn(np.fft.fftn(white) * ramp()).real


def structure(seed: int, crowding: int) -> np.ndarray:
    """Blobs in clusters, so that blocks hold different amounts of them."""
    random = np.random.default_rng(seed)
    volume = np.zeros(SHAPE)
    for _ in range(crowding):
        centre = random.uniform(0, 1, 3) * SHAPE
        places = (centre + random.normal(0, 9, (30, 3))).astype(int) % SHAPE
        np.add.at(volume, tuple(places.T), random.uniform(20, 60, 30))
    return gaussian_filter(volume, 1.5, mode="wrap")


def entry(array: np.ndarray) -> StandardisedVolume:
    return StandardisedVolume(ArrayVolume(array.astype(np.float32), 10.0), 0.0, 1.0)


def ratios(power: np.ndarray) -> List[float]:
    """Found over true noise power by band."""
    side = len(power)
    full, half = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    away = np.hypot(full[:, None, None], half[None, None, :]) * np.ones((1, side, 1))
    true = 0.1 + 4.0 * away
    frequency = half_grid_frequency(side)
    return [
        float(power[(frequency >= a) & (frequency < b)].mean()
              / true[(frequency >= a) & (frequency < b)].mean())
        for a, b in BANDS
    ]


def everywhere(side: int = 32) -> np.ndarray:
    return np.ones((side, side, side // 2 + 1))


@pytest.mark.parametrize("crowding", [0, 80])
def test_blocks_tell_the_noise_beside_structure(crowding: int) -> None:
    volumes = [entry(structure(seed, crowding) + noise(10 + seed)) for seed in (1, 2)]
    found = noise_from_blocks(volumes, everywhere(), np.random.default_rng(0))
    assert found.source == "blocks"
    assert ratios(found.power) == pytest.approx([1.0] * len(BANDS), rel=0.3)


def test_halves_tell_the_noise_of_their_mean_exactly() -> None:
    density = structure(1, 40)
    halves = [(entry(density + noise(1)), entry(density + noise(2)))]
    found = noise_from_halves(halves, np.random.default_rng(0))
    assert found.source == "halves"
    assert ratios(found.power) == pytest.approx([0.5] * len(BANDS), rel=0.1)


def test_noise_that_is_stronger_in_one_place_is_not_taken_for_structure() -> None:
    strength = np.linspace(0.6, 1.4, SHAPE[1])[None, :, None]
    found = noise_from_blocks([entry(noise(3) * strength)], everywhere(), np.random.default_rng(0))
    expected = float(np.mean(strength**2))
    assert ratios(found.power) == pytest.approx([expected] * len(BANDS), rel=0.3)


def test_it_is_the_same_for_the_same_seed_and_scales_with_the_volume() -> None:
    volume = structure(5, 12) + noise(5)
    one, again, twice = (
        noise_from_blocks([entry(array)], everywhere(), np.random.default_rng(7)).power
        for array in (volume, volume, 2 * volume)
    )
    np.testing.assert_array_equal(one, again)
    np.testing.assert_allclose(twice, 4 * one, rtol=1e-3)


def test_thin_volumes_are_measured_in_smaller_blocks() -> None:
    thin: Tuple[slice, ...] = (slice(0, 20),)
    found = noise_from_blocks([entry(noise(4)[thin])], everywhere(), np.random.default_rng(0))
    assert found.power.shape == (20, 20, 11)
    assert np.isfinite(found.power).all() and found.power.min() > 0
