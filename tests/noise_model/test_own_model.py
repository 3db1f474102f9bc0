"""A tomogram's own linear model, from it and its density: transfer, noise, wedge."""

from __future__ import annotations

from typing import Tuple

import numpy as np
import pytest
import scipy.fft
from scipy.ndimage import gaussian_filter

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.own_model import own_linear_model
from dual_core.noise_model.tapered_power import half_grid_frequency
from dual_core.volumes.interface import ArrayVolume
from dual_core.volumes.patches import StandardisedVolume

SHAPE = (96, 112, 104)


def cell(seed: int = 0) -> np.ndarray:
    """Blobs here and there, with empty places between."""
    random = np.random.default_rng(seed)
    points = np.zeros(SHAPE, dtype=np.float32)
    points[tuple(random.integers(0, n, 250) for n in SHAPE)] = 1.0
    density = gaussian_filter(points, 1.6)
    return density / density.std()


def imaged(density: np.ndarray, transfer: np.ndarray, noise: float) -> np.ndarray:
    signal = scipy.fft.irfftn(scipy.fft.rfftn(density) * transfer, s=SHAPE)
    white = np.random.default_rng(9).standard_normal(SHAPE)
    return (signal + noise * white).astype(np.float32)


def found(tomogram: np.ndarray, density: np.ndarray) -> LinearModel:
    volume = StandardisedVolume(ArrayVolume(tomogram, 10.0), 0.0, 1.0)
    read = ArrayVolume(density.astype(np.float32), 10.0).read
    return own_linear_model(volume, read, np.random.default_rng(1))


def in_band(model: LinearModel, values: np.ndarray, band: Tuple[float, float]) -> float:
    frequency = half_grid_frequency(len(values))
    ring = (frequency > band[0]) & (frequency < band[1]) & (model.measured > 0.5)
    return float(values[ring].mean())


@pytest.mark.parametrize("scale", [1.0, 0.3, -0.5])
def test_transfer_is_that_of_the_density_with_its_sign(scale: float) -> None:
    frequency = half_grid_frequency(SHAPE)
    density = cell()
    model = found(imaged(density, scale * np.exp(-4.0 * frequency), 0.5), density)
    for band in ((0.05, 0.07), (0.1, 0.12)):
        middle = sum(band) / 2
        assert in_band(model, model.transfer, band) == pytest.approx(
            scale * np.exp(-4.0 * middle), rel=0.15
        )


def test_density_without_power_is_no_transfer() -> None:
    model = found(imaged(cell(), np.ones(1), 1.0), np.zeros(SHAPE))
    assert not model.transfer.any()


@pytest.mark.parametrize("noise", [1.0, 2.0])
def test_noise_is_that_of_the_tomogram(noise: float) -> None:
    density = cell()
    model = found(imaged(density, np.full(1, 0.2), noise), density)
    for band in ((0.15, 0.2), (0.2, 0.3), (0.3, 0.4)):
        assert in_band(model, model.noise_amplitude, band) == pytest.approx(noise, rel=0.15)


def test_what_was_not_measured_has_no_transfer() -> None:
    kz, kx = np.fft.fftfreq(SHAPE[0])[:, None, None], np.fft.rfftfreq(SHAPE[2])[None, None]
    wedge = np.abs(np.degrees(np.arctan2(kz, kx))) + 0 * half_grid_frequency(SHAPE) > 60
    density = cell()
    tomogram = imaged(density, np.ones(1), 1.0)
    tomogram = scipy.fft.irfftn(np.where(wedge, 0, scipy.fft.rfftn(tomogram)), s=SHAPE)
    model = found(tomogram.astype(np.float32), density)
    side = len(model.transfer)
    kz, kx = np.fft.fftfreq(side)[:, None, None], np.fft.rfftfreq(side)[None, None]
    angle = np.abs(np.degrees(np.arctan2(kz, kx))) + 0 * half_grid_frequency(side)
    ring = (half_grid_frequency(side) > 0.1) & (half_grid_frequency(side) < 0.3)
    assert model.measured is not None
    assert model.measured[ring & (angle > 70)].mean() < 0.15
    assert model.measured[ring & (angle < 50)].mean() > 0.9
