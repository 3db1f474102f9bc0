"""The linear model of the noisy domain: found without pairs, and what it simulates."""

from __future__ import annotations

from typing import List

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dual_core.noise_model.calibration import LinearModel, fit_linear_model
from dual_core.noise_model.directions import measured_directions
from dual_core.noise_model.linear_simulator import LinearSimulator
from dual_core.volumes.arithmetic import DeviceArithmetic
from dual_core.volumes.geometry import frequency_radius, wedge_mask
from dual_core.volumes.patches import FLIPS_SYMMETRIC, PatchSource, StandardisedVolume
from dual_core.volumes.reading import ArrayVolume

SHAPE = (48, 80, 80)


def cell(seed: int) -> np.ndarray:
    """Sparse blobs of several sizes and a few dense beads, mean 0 and deviation 1."""
    random = np.random.default_rng(seed)
    volume = np.zeros(SHAPE, dtype=np.float32)
    for sigma, number in ((1.2, 500), (2.0, 200), (3.0, 60)):
        layer = np.zeros(SHAPE, dtype=np.float32)
        places = tuple(random.integers(0, side, number) for side in SHAPE)
        layer[places] = sigma**3 * random.uniform(0.5, 1.5, number)
        volume += gaussian_filter(layer, sigma, mode="wrap")
    return (volume - volume.mean()) / volume.std()


def transfer(gain: float) -> np.ndarray:
    """A smooth falling transfer without the wedge of -50 to 65 degrees."""
    falling = gain * np.exp(-((frequency_radius(SHAPE) / 0.2) ** 2))
    return falling * wedge_mask(SHAPE, (-50.0, 65.0), "y")


def tomogram(seed: int, gain: float, noise: float) -> np.ndarray:
    """``H v + n`` of another cell; noise white in the measured region, float32."""
    random = np.random.default_rng(100 + seed)
    white = random.standard_normal(SHAPE) * noise
    spectrum = np.fft.fftn(cell(seed)) * transfer(gain)
    spectrum += np.fft.fftn(white) * wedge_mask(SHAPE, (-50.0, 65.0), "y")
    return np.fft.ifftn(spectrum).real.astype(np.float32)


def entries(arrays: List[np.ndarray]) -> List[StandardisedVolume]:
    return [StandardisedVolume(ArrayVolume(array, 10.0), 0.0, 1.0) for array in arrays]


@pytest.mark.parametrize("gain", [0.4, 0.8])
def test_transfer_is_found_without_pairs(gain: float) -> None:
    noisy = entries([tomogram(seed, gain, 0.8) for seed in (1, 2)])
    clean = entries([cell(seed) for seed in (3, 4)])
    model = fit_linear_model(noisy, clean, np.random.default_rng(0))
    found = {round(frequency, 4): ratio for frequency, ratio, _ in model.bands}
    inside = wedge_mask(SHAPE, (-50.0, 65.0), "y").mean()
    for frequency in (0.0625, 0.0775, 0.11):
        expected = gain * np.exp(-((frequency / 0.2) ** 2)) * inside
        # Blobs fill every block of these cells alike, so that N is an upper bound and H a lower.
        assert 0.5 * expected < found[frequency] < 1.5 * expected


def test_contrast_that_is_wrong_gives_a_negative_transfer() -> None:
    noisy = entries([-tomogram(seed, 0.8, 0.1) for seed in (1, 2)])
    model = fit_linear_model(noisy, entries([cell(3)]), np.random.default_rng(0))
    assert min(transfer_of_band for _, transfer_of_band, _ in model.bands) < 0


def test_pure_noise_has_hardly_any_structure() -> None:
    random = np.random.default_rng(0)
    noisy = entries([random.standard_normal(SHAPE).astype(np.float32) for _ in range(2)])
    clean = entries([cell(3)])
    noise = fit_linear_model(noisy, clean, np.random.default_rng(0))
    noisy = entries([tomogram(seed, 0.8, 0.8) for seed in (1, 2)])
    structure = fit_linear_model(noisy, clean, np.random.default_rng(0))
    assert _signal(noise) < 0.25 * _signal(structure)
    assert max(ratio for _, _, ratio in noise.bands) < 1.0


def _signal(model: LinearModel) -> float:
    return sum(ratio for _, _, ratio in model.bands)


def test_wedge_is_found_from_the_power_alone() -> None:
    side = 64
    mask = wedge_mask((side,) * 3, (-50.0, 65.0), "y")[:, :, : side // 2 + 1]
    power = np.where(mask, 1.0, 1e-3)
    found = measured_directions(power, side)
    kz = np.fft.fftfreq(side)[:, None, None]
    kx = np.fft.rfftfreq(side)[None, None, :]
    clear = np.broadcast_to(np.hypot(kz, kx) > 0.1, found.shape)
    angle = np.broadcast_to(np.degrees(np.arctan2(kz, kx)), found.shape)
    assert found[clear & (angle > -44) & (angle < 59)].min() == 1.0
    assert found[clear & ((angle < -57) | (angle > 72))].max() == 0.0


def test_a_volume_without_wedge_is_measured_everywhere() -> None:
    side = 32
    random = np.random.default_rng(0)
    power = random.uniform(0.9, 1.1, (side, side, side // 2 + 1))
    assert measured_directions(power, side).min() == 1.0


@pytest.fixture(scope="module", params=["host", "device"])
def simulator(request: pytest.FixtureRequest) -> LinearSimulator:
    """With numpy, and with torch as on a GPU."""
    noisy = entries([tomogram(seed, 0.8, 0.8) for seed in (1, 2)])
    clean = entries([cell(seed) for seed in (3, 4)])
    model = fit_linear_model(noisy, clean, np.random.default_rng(0))
    made = LinearSimulator(model, PatchSource(clean, 48, turns=True), 16, FLIPS_SYMMETRIC)
    if request.param == "device":
        made.compute_on(DeviceArithmetic(torch.device("cpu")))
    return made


def test_simulated_tomograms_have_the_power_of_the_real_ones(simulator: LinearSimulator) -> None:
    real = tomogram(1, 0.8, 0.8)
    random = np.random.default_rng(1)
    simulated = np.stack([np.asarray(simulator.simulate(random).tomogram) for _ in range(8)])
    assert simulated.std() == pytest.approx(real.std(), rel=0.15)


def test_simulated_tomograms_show_their_density(simulator: LinearSimulator) -> None:
    block = simulator.simulate(np.random.default_rng(2))
    tomogram, density = np.asarray(block.tomogram), np.asarray(block.density)
    right = np.corrcoef(tomogram.ravel(), density.ravel())[0, 1]
    wrong = np.corrcoef(tomogram.ravel(), np.flip(density, 0).ravel())[0, 1]
    assert right > 0.2
    assert abs(wrong) < 0.5 * right


def test_draws_are_reproducible_and_restored_exactly(simulator: LinearSimulator) -> None:
    one, two = np.random.default_rng(5), np.random.default_rng(5)
    first = simulator.draw(3, one)
    tensors, state = simulator.tensors(), simulator.state()
    saved = one.bit_generator.state
    following = simulator.draw(3, one)
    stored = {name: np.array(part) for name, part in tensors.items()}
    # As an earlier version wrote it, with more of each block.
    stored.update({name.replace("density", "structure"): part for name, part in stored.items()})
    simulator.restore(stored, state)
    two.bit_generator.state = saved
    again = simulator.draw(3, two)
    for expected, found in zip(following.made, again.made):
        np.testing.assert_array_equal(expected, found)
    assert first.tomogram.shape == (3, 1, 16, 16, 16)
    assert not np.array_equal(first.tomogram, following.tomogram)


def test_the_denoiser_gets_its_parts_of_the_same_patches(simulator: LinearSimulator) -> None:
    whole, parts = np.random.default_rng(8), np.random.default_rng(8)
    tensors, state = simulator.tensors(), simulator.state()
    expected = simulator.draw(4, whole)
    simulator.restore({name: np.array(part) for name, part in tensors.items()}, state)
    tomogram, density = simulator.draw_to_denoise(4, parts)
    np.testing.assert_array_equal(tomogram, expected.to_denoise)
    np.testing.assert_array_equal(density, expected.density)


def test_simulated_tomograms_saturate_where_the_real_ones_do() -> None:
    grid = np.ones((16, 16, 9), dtype=np.float32)
    blocks = PatchSource(entries([cell(0)]), 16)
    simulator = LinearSimulator(
        LinearModel(grid, grid, ()), blocks, 16, FLIPS_SYMMETRIC, (-1.0, 1.5)
    )
    tomogram = simulator.draw_block(np.random.default_rng(0)).tomogram
    assert tomogram.min() == -1.0 and tomogram.max() == 1.5
    assert 0.3 < np.mean((tomogram > -1.0) & (tomogram < 1.5)) < 0.9
