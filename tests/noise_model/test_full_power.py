"""Noise with the full power of tomograms: rays of single tilts, the wedge, and the level."""

from __future__ import annotations

from dataclasses import replace
from typing import List

import numpy as np
import pytest
import scipy.fft

from dual_core.errors import DualError
from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.full_power.coloured_noise import (
    MARGIN,
    ColouredNoise,
    SeenStructure,
    normal_scores,
)
from dual_core.noise_model.full_power.fitting import measure_noise_profile, rounding_power
from dual_core.noise_model.full_power.noise_profile import (
    NoiseProfile,
    profile_of,
    profile_to_arrays,
    symmetric,
)
from dual_core.noise_model.full_power.whole_blocks import (
    HEIGHT,
    block_of,
    field_power,
    grid_of,
    typical_power,
)
from dual_core.noise_model.linear_simulator import LinearSimulator
from dual_core.noise_model.noise_field import NoiseField
from dual_core.noise_model.tapered_power import on_grid
from dual_core.volumes.interface import Triple
from dual_core.volumes.patches import PatchSource, StandardisedVolume
from dual_core.volumes.reading import ArrayVolume

SHAPE = (40, 56, 80)
GRID = grid_of(SHAPE[0])
STEP_DEG = 15.0  # between the rays
WEDGE = 1e-2  # power in it
EVERYTHING = np.ones((16, 16, 9), np.float32)  # a transfer that changes nothing


def ray_amplitude(shape: Triple, strength: float = 1.0) -> np.ndarray:
    """sqrt(N) of noise with rays 15 degrees apart between -45 and 45 degrees."""
    kz = np.fft.fftfreq(shape[0])[:, None, None]
    ky = np.fft.fftfreq(shape[1])[None, :, None]
    kx = np.fft.rfftfreq(shape[2])[None, None, :]
    angle = np.degrees(np.arctan2(kz, kx)) + 0 * ky
    rays = 1.0 + 0.8 * np.cos(2 * np.pi * angle / STEP_DEG)
    return np.sqrt(strength * np.where(np.abs(angle) < 50, rays, WEDGE))


def ray_noise(seed: int, strength: float = 1.0) -> np.ndarray:
    """Part of a larger periodic field, as a tomogram is."""
    shape = (2 * SHAPE[0], SHAPE[1], SHAPE[2])
    white = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    field = np.fft.irfftn(np.fft.rfftn(white) * ray_amplitude(shape, strength), s=shape)
    return field[: SHAPE[0]].astype(np.float32)


def entries(arrays: List[np.ndarray]) -> List[StandardisedVolume]:
    return [StandardisedVolume(ArrayVolume(array, 10.0), 0.0, 1.0) for array in arrays]


def ray_profile() -> NoiseProfile:
    amplitude = ray_amplitude(GRID).astype(np.float32)
    return symmetric(NoiseProfile(amplitude, amplitude**2, EVERYTHING, (-4.0, 4.0)))


def contrast_of_rays(power: np.ndarray) -> float:
    """Mean power on the rays over that between them, far from the tilt axis."""
    kz = np.fft.fftfreq(power.shape[0])[:, None, None]
    kx = np.fft.rfftfreq(GRID[2])[None, None, :]
    angle = np.degrees(np.arctan2(kz, kx)) + np.zeros((1, power.shape[1], 1))
    far = (np.hypot(kz, kx) > 0.3) & (np.abs(angle) < 40)
    off = np.abs((angle + STEP_DEG / 2) % STEP_DEG - STEP_DEG / 2)
    return float(power[far & (off < 2)].mean() / power[far & (off > 5.5)].mean())


def wedge_of(power: np.ndarray) -> float:
    kz = np.fft.fftfreq(power.shape[0])[:, None, None]
    kx = np.fft.rfftfreq(GRID[2])[None, None, :]
    angle = np.degrees(np.arctan2(kz, kx)) + np.zeros((1, power.shape[1], 1))
    far = np.hypot(kz, kx) > 0.2
    return float(power[far & (angle > 65)].mean() / power[far & (np.abs(angle) < 40)].mean())


def test_noise_has_the_rays_and_the_wedge_of_the_tomograms() -> None:
    real = entries([ray_noise(seed) for seed in range(3)])
    typical = typical_power(real, GRID, np.random.default_rng(0))
    found = field_power(typical, GRID)
    profile = NoiseProfile(np.sqrt(found), typical, EVERYTHING, (-9.0, 9.0))
    field = NoiseField(np.random.default_rng(1).standard_normal(4096), 5)
    made = entries([ColouredNoise(field, profile).read((at, 0, 0), SHAPE) for at in (0, 500, 900)])
    again = typical_power(made, GRID, np.random.default_rng(0))
    assert contrast_of_rays(typical) > 1.8
    assert contrast_of_rays(again) == pytest.approx(contrast_of_rays(typical), rel=0.15)
    assert wedge_of(again) == pytest.approx(wedge_of(typical), rel=0.5)
    assert np.std([entry.volume.load() for entry in made]) == pytest.approx(
        np.std([entry.volume.load() for entry in real]), rel=0.05
    )


def test_gold_in_some_blocks_does_not_count() -> None:
    volume = ray_noise(0)
    plain = typical_power(entries([volume]), GRID, np.random.default_rng(0))
    volume[18:22, 5:9, 5:9] = 60.0
    with_gold = typical_power(entries([volume]), GRID, np.random.default_rng(0))
    assert np.median(np.abs(np.log(with_gold / plain))) < 0.4


def test_regions_fit_together_whatever_is_read() -> None:
    noise = ColouredNoise(NoiseField(np.arange(-50.0, 51.0), 3), ray_profile())
    whole = noise.read((-5, 0, 0), (30, 20, 210))
    part = noise.read((5, 8, 30), (12, 7, 41))
    np.testing.assert_allclose(part, whole[10:22, 8:15, 30:71], atol=2e-5)
    np.testing.assert_array_equal(part, noise.read((5, 8, 30), (12, 7, 41)))


def test_strength_is_measured_and_not_the_masks() -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    size = (20, 20, 20)
    plain = ColouredNoise(NoiseField(values, 3), ray_profile()).read((0, 0, 0), size)
    louder = ColouredNoise(NoiseField(7 * values + 3, 3), ray_profile()).read((0, 0, 0), size)
    np.testing.assert_allclose(plain, louder, atol=1e-4)
    assert plain.std() == pytest.approx(ray_profile().variance**0.5, rel=0.1)


def test_structure_and_noise_saturate_together() -> None:
    noise = ColouredNoise(NoiseField(np.array([-1.0, 1.0]), 3), ray_profile())
    structure = np.zeros((8, 8, 8), np.float32)
    structure[:4] = 50.0
    added = noise.added_to(structure, (0, 0, 0))
    assert (added[:4] == 4.0).all() and added[4:].std() > 0.3


def test_a_profile_survives_the_file() -> None:
    profile = ray_profile()
    arrays = profile_to_arrays(profile)
    assert sum(array.nbytes for array in arrays.values()) < 150e3
    again = profile_of(arrays)
    assert again is not None and again.grid == profile.grid
    np.testing.assert_array_equal(again.amplitude, profile.amplitude)
    assert again.limits == (-4.0, 4.0)
    assert profile_of({"transfer": arrays["profile_power"]}) is None


def test_structure_is_what_the_linear_model_shows() -> None:
    falling = np.exp(-10 * np.fft.rfftfreq(32)) * np.ones((32, 32, 1))
    profile = NoiseProfile(
        ray_profile().amplitude, ray_profile().power, np.float32(falling), (-4.0, 4.0)
    )
    noise = ColouredNoise(NoiseField(np.array([-1.0, 1.0]), 3), profile)
    wave = np.cos(2 * np.pi * np.arange(96) / 8) * np.ones((80, 80, 1))
    shown = noise.structure_of(np.float32(wave))
    assert shown.shape == (16, 16, 32)
    np.testing.assert_allclose(shown, np.exp(-10 / 8) * wave[32:48, 32:48, 32:64], atol=0.01)


def test_simulated_tomograms_have_the_level_of_the_real_ones() -> None:
    random = np.random.default_rng(77)
    cells = [random.standard_normal(SHAPE, dtype=np.float32) ** 3 / 4 for _ in range(2)]
    real = entries([ray_noise(seed) + 0.5 * cells[seed] for seed in range(2)])
    flat = np.full((32, 32, 17), 0.5, np.float32)
    # Noise that is thought too weak by two is found on the tomograms.
    linear = LinearModel(flat, np.full_like(flat, 0.5), ())
    profile = measure_noise_profile(
        real, entries(cells), linear, (-9.0, 9.0), np.random.default_rng(1)
    )
    made = ColouredNoise(NoiseField(random.standard_normal(4096), 2), profile)
    simulated = made.added_to(0.5 * cells[0], (0, 0, 0))
    assert simulated.std() == pytest.approx(real[0].volume.load().std(), rel=0.05)
    assert profile.variance == pytest.approx(np.var(ray_noise(5)), rel=0.15)


def test_the_noise_of_one_tomogram_is_its_own() -> None:
    levels = (0.5, 0.8)
    tomograms = entries([ray_noise(seed, levels[seed % 2]) for seed in range(4)])
    typical = typical_power(tomograms, GRID, np.random.default_rng(0))
    profile = NoiseProfile(np.sqrt(0.9 * typical), typical, EVERYTHING, (-9.0, 9.0))
    for seed, entry in enumerate(tomograms):
        own = profile.of_tomogram(entry)
        assert own.variance / np.var(ray_noise(9)) == pytest.approx(
            0.9 * levels[seed % 2], rel=0.12
        )


def test_blank_tomograms_are_refused() -> None:
    blank = ArrayVolume(np.ones(SHAPE, bool), 10.0)
    entry = StandardisedVolume(ArrayVolume(ray_noise(0), 10.0), 0.0, 1.0, blank)
    with pytest.raises(DualError, match="blank"):
        typical_power([entry], GRID, np.random.default_rng(0))
    assert block_of(GRID)[0] == SHAPE[0]


def test_the_denoiser_learns_from_the_noise_of_the_linear_model_and_gs_from_the_measured() -> None:
    amplitude = np.full((32, HEIGHT, 17), 2.0, np.float32)
    profile = NoiseProfile(amplitude, amplitude**2, EVERYTHING, (-99.0, 99.0))
    random = np.random.default_rng(0)
    cell = random.standard_normal((48, 48, 48), dtype=np.float32)
    linear = LinearModel(EVERYTHING, 0.5 * EVERYTHING, ())
    blocks = PatchSource(entries([cell]), 32)
    simulator = LinearSimulator(linear, blocks, 16, (), (-99.0, 99.0), profile)
    block = simulator.simulate(random)
    np.testing.assert_allclose(block.tomogram, block.structure + block.own_noise, atol=1e-4)
    np.testing.assert_allclose(block.to_denoise, block.structure + 0.5 * block.noise, atol=1e-4)
    assert block.own_noise.std() == pytest.approx(2.0, rel=0.05)

    kept = simulator.draw_block(np.random.default_rng(3))
    before = {name: part for name, part in simulator.tensors().items() if "plain" not in name}
    simulator.restore(before, simulator.state())  # as an earlier version saved it
    again = simulator.draw_block(np.random.default_rng(3))
    assert again.tomogram.shape == kept.tomogram.shape


def test_without_measured_noise_there_is_one_tomogram() -> None:
    cell = np.random.default_rng(0).standard_normal((48, 48, 48), dtype=np.float32)
    linear = LinearModel(EVERYTHING, EVERYTHING, ())
    simulator = LinearSimulator(linear, PatchSource(entries([cell]), 32), 16, ())
    block = simulator.simulate(np.random.default_rng(0))
    assert block.to_denoise is block.tomogram and len(block.made) == 3


def test_what_a_network_puts_into_the_missing_wedge_is_left_out() -> None:
    shape = (32, 32, 32)
    kz = np.fft.fftfreq(16)[:, None, None]
    measured = np.broadcast_to((np.abs(kz) < 0.3).astype(np.float32), (16, 16, 9))
    amplitude = np.ones((32, HEIGHT, 17), np.float32)
    profile = NoiseProfile(amplitude, amplitude, EVERYTHING, (-9.0, 9.0), measured=measured)
    noise = ColouredNoise(NoiseField(np.array([-1.0, 1.0]), 3), profile)
    random = np.random.default_rng(0)
    seen = random.standard_normal(shape, dtype=np.float32)
    made = seen + random.standard_normal(shape, dtype=np.float32)
    found = np.fft.rfftn(noise.corrected(made, seen))
    outside, inside = np.abs(np.fft.fftfreq(32)) > 0.37, np.abs(np.fft.fftfreq(32)) < 0.24
    np.testing.assert_allclose(found[outside], np.fft.rfftn(seen)[outside], atol=1e-3)
    np.testing.assert_allclose(found[inside], np.fft.rfftn(made)[inside], atol=1e-3)
    everything = ColouredNoise(NoiseField(np.array([-1.0, 1.0]), 3), ray_profile())
    assert everything.corrected(made, seen) is made
    assert profile_of({**profile_to_arrays(profile), "measured": measured}).measured is not None


def test_noise_is_normal_whatever_gn_has_learned() -> None:
    random = np.random.default_rng(0)
    heavy = random.standard_t(3, 4096)  # kurtosis far above 3
    white = np.ones((32, HEIGHT, 17), np.float32)
    profile = NoiseProfile(white, white, EVERYTHING, (-99.0, 99.0))
    noise = ColouredNoise(NoiseField(heavy, 3), profile).read((0, 0, 0), (48, 48, 48))
    assert noise.std() == pytest.approx(1.0, rel=0.02) and abs(noise.mean()) < 0.02
    assert float(np.mean((noise / noise.std()) ** 4)) == pytest.approx(3.0, abs=0.1)
    scores = normal_scores(heavy)
    assert (np.argsort(scores) == np.argsort(heavy)).all(), "the order is Gn's"


def test_what_was_rounded_away_is_not_noise() -> None:
    random = np.random.default_rng(0)
    values = (7.0 + 5.0 * random.standard_normal((40, 40, 40))).astype(np.float32)
    rounded = np.rint(values)
    away = float(np.var(rounded - values)) / 5.0**2
    whole = [StandardisedVolume(ArrayVolume(rounded, 10.0), 7.0, -5.0)]
    assert rounding_power(whole) == pytest.approx(away, rel=0.05)
    assert rounding_power([StandardisedVolume(ArrayVolume(values, 10.0), 7.0, 5.0)]) == 0.0


def test_gold_saturates_outside_of_the_missing_wedge() -> None:
    shape = (32, 32, 32)
    kz = np.fft.fftfreq(16)[:, None, None]
    measured = np.broadcast_to((np.abs(kz) < 0.3).astype(np.float32), (16, 16, 9))
    amplitude = np.ones((32, HEIGHT, 17), np.float32)
    profile = NoiseProfile(amplitude, amplitude, EVERYTHING, (-9.0, 9.0), measured=measured)
    seen = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    seen[14:18, 14:18, 14:18] = 60.0  # gold
    found = SeenStructure(profile).corrected(seen.copy(), seen)
    outside = np.abs(np.fft.fftfreq(32)) > 0.37
    np.testing.assert_allclose(np.fft.rfftn(found)[outside], np.fft.rfftn(seen)[outside], atol=2e-2)
    assert found.max() < 40.0, "what is left is cut when the noise is added"
    far = found[:4] - seen[:4]
    assert np.abs(far).max() < 3.0


def test_a_grand_model_is_seen_weighted_and_a_denoised_tomogram_is_weighted_already() -> None:
    transfer = np.full((16, 16, 9), 0.5, np.float32)
    weighting = np.ones_like(transfer)
    weighting[:, :, 5:] = 2.0
    profile = symmetric(replace(ray_profile(), transfer=transfer, weighting=weighting))
    density = np.random.default_rng(0).standard_normal((72, 72, 72)).astype(np.float32)
    of_denoised = SeenStructure(profile, denoised=True).structure_of(density)
    of_grand_model = SeenStructure(profile).structure_of(density)
    inside = (slice(MARGIN, -MARGIN),) * 3
    np.testing.assert_allclose(of_denoised, 0.5 * density[inside], atol=1e-4)
    weighted = scipy.fft.rfftn(density) * on_grid(weighting, density.shape)
    expected = 0.5 * scipy.fft.irfftn(weighted, s=density.shape)[inside]
    np.testing.assert_allclose(of_grand_model, expected, atol=1e-4)
    assert np.abs(of_grand_model - of_denoised).max() > 0.1
