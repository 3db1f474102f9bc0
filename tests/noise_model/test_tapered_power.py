"""Power from tapered blocks: what the taper does to it, and how that is undone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from dual_core.noise_model.tapered_power import (
    as_tapered,
    half_grid_frequency,
    on_grid,
    smoothed,
    taper,
    unsmeared,
)
from dual_core.volumes.geometry import wedge_mask

SIDE, FIELD = 24, 36


def missing_wedge(deep: float) -> np.ndarray:
    """Power of 1 where a tilt range of +-60 degrees measures, else ``deep``, on the half grid."""
    measured = wedge_mask((SIDE,) * 3, (-60.0, 60.0))[..., : SIDE // 2 + 1]
    return np.where(measured, 1.0, deep)


def measured_share() -> np.ndarray:
    """1 where a tilt range of +-60 degrees measures, else 0, on the half grid."""
    return missing_wedge(0.0)


def mean_power_of_blocks(power: np.ndarray, number: int) -> np.ndarray:
    """Of tapered blocks from the middle of periodic fields that were made with ``power``."""
    random = np.random.default_rng(0)
    amplitude = on_grid(np.sqrt(power), (FIELD,) * 3)
    start = (FIELD - SIDE) // 2
    middle = (slice(start, start + SIDE),) * 3
    total = np.zeros(power.shape)
    for _ in range(number):
        noise = np.fft.rfftn(random.standard_normal((FIELD,) * 3))
        field = np.fft.irfftn(noise * amplitude, s=(FIELD,) * 3)
        total += np.abs(np.fft.rfftn(field[middle] * taper(SIDE), norm="ortho")) ** 2
    return total / number


def test_taper_keeps_the_power_of_white_noise():
    white = np.ones((SIDE, SIDE, SIDE // 2 + 1))
    np.testing.assert_allclose(as_tapered(white, FIELD), 1.0, atol=1e-5)


def test_as_tapered_is_what_tapered_blocks_have():
    power = missing_wedge(0.01) * np.exp(-4 * half_grid_frequency(SIDE))
    expected = smoothed(as_tapered(power, FIELD))
    found = smoothed(mean_power_of_blocks(power, 400))
    assert np.abs(np.log(found / expected)).max() < 0.25
    assert np.abs(np.log(found / expected)).mean() < 0.02
    # The taper matters: without it the wedge would be several times as deep.
    inside = (missing_wedge(0.0) == 0) & (half_grid_frequency(SIDE) < 0.4)
    assert np.log(found[inside]).mean() - np.log(power[inside]).mean() > 0.7


def test_unsmeared_finds_the_power_of_the_field_again():
    power = missing_wedge(0.01) * np.exp(-4 * half_grid_frequency(SIDE))
    smeared = smoothed(as_tapered(power, FIELD))
    found = unsmeared(smeared, measured_share(), FIELD)
    # What comes out again is what was measured, and the depth of the wedge is mostly back.
    again = smoothed(as_tapered(found, FIELD))
    assert np.abs(np.log(again / smeared)).mean() < 0.05
    band = (half_grid_frequency(SIDE) > 0.2) & (half_grid_frequency(SIDE) < 0.45)
    wedge = missing_wedge(0.0) == 0

    def depth(values: np.ndarray) -> float:
        return np.log(values[band & wedge]).mean() - np.log(values[band & ~wedge]).mean()

    assert depth(found) < 0.8 * depth(power) < 0.8 * depth(smeared) < 0
    assert depth(smeared) > 0.75 * depth(power)


def test_unsmeared_does_not_follow_the_noise():
    """From few blocks of white noise comes a spectrum that is not much rougher than measured."""
    white = np.ones((SIDE, SIDE, SIDE // 2 + 1))
    measured = smoothed(mean_power_of_blocks(white, 40))
    found = unsmeared(measured, np.ones_like(measured), FIELD)
    assert np.log(found).std() < 2.2 * np.log(measured).std()
    assert abs(found.mean() - 1) < 0.05


@pytest.mark.parametrize("shape", [(24, 24, 24), (20, 36, 30), (41, 24, 17)])
def test_on_grid_interpolates_linearly(shape):
    """Against scipy's interpolation, with the frequencies in rising order and closed."""
    values = np.random.default_rng(0).random((SIDE, SIDE, SIDE // 2 + 1))
    axis = np.append(np.sort(np.fft.fftfreq(SIDE)), 0.5)
    closed = np.pad(np.fft.fftshift(values, axes=(0, 1)), ((0, 1), (0, 1), (0, 0)), mode="wrap")
    expected = RegularGridInterpolator((axis, axis, np.fft.rfftfreq(SIDE)), closed)(
        np.stack(
            np.meshgrid(
                np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2]),
                indexing="ij",
            ),
            axis=-1,
        )
    )
    np.testing.assert_allclose(on_grid(values, shape), expected, atol=1e-5)
