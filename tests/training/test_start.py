"""Beginning with another model's weights: the same answers at once, in this run's units."""

from __future__ import annotations

import dataclasses
from typing import Tuple

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dual_core.errors import DualError
from dual_core.networks.card import ModelCard
from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import DualModel, plain_config, save_denoiser
from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.linear_simulator import LinearSimulator
from dual_core.training.start import start_from
from dual_core.volumes.interface import ArrayVolume
from dual_core.volumes.patches import PatchSource, StandardisedVolume

CONFIG = NetworkConfig(channels=(3, 4), output_filter=True, noise_side=16)


def make(seed: int, contrast: str = "bright", **changes) -> DualModel:
    torch.manual_seed(seed)
    config = dataclasses.replace(CONFIG, **changes)
    return DualModel(config, ModelCard(10.0, contrast, plain_config(config))).eval()


def smooth(shape: Tuple[int, int, int], seed: int) -> np.ndarray:
    """Without detail finer than a dozen voxels, of deviation 1."""
    volume = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.0)
    return (volume / volume.std()).astype(np.float32)


def simulator(sign: float = 1.0) -> LinearSimulator:
    """Smooth densities, seen without any noise."""
    grid = np.ones((16, 16, 9), dtype=np.float32)
    linear = LinearModel(grid, 1e-3 * grid, (), "")
    density = np.float32(sign) * smooth((40, 40, 40), 300)
    entry = StandardisedVolume(ArrayVolume(density, 10.0), 0.0, 1.0)
    blocks = PatchSource([entry], 24, ((0,), (1,), (2,)))
    return LinearSimulator(linear, blocks, 16, ())


def seeing(model: DualModel) -> DualModel:
    """A denoiser that puts out about 7 times its input plus 2, of smooth volumes."""
    optimiser = torch.optim.Adam(model.denoiser.parameters(), 1e-2)
    for step in range(80):
        given = torch.from_numpy(smooth((24, 24, 24), step))[None, None]
        wanted = 7.0 * given + 2.0
        loss = (model.denoiser(given) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@pytest.fixture
def volume() -> torch.Tensor:
    return torch.randn(1, 1, 24, 24, 24, generator=torch.Generator().manual_seed(5))


def test_a_whole_model_is_taken_whole(tmp_path, volume) -> None:
    other, new = make(0), make(1)
    other.save(tmp_path / "m.safetensors")
    start_from(new, str(tmp_path / "m.safetensors"), None, 0)
    with torch.no_grad():
        for name in ("denoiser", "structural_generator", "noise_encoder"):
            assert torch.equal(getattr(new, name)(volume), getattr(other, name)(volume)), name


def test_other_sizes_of_the_denoiser_are_refused(tmp_path) -> None:
    make(0, channels=(3, 5)).save(tmp_path / "m.safetensors")
    with pytest.raises(DualError, match="has other layers"):
        start_from(make(1), str(tmp_path / "m.safetensors"), None, 0)


def test_of_other_noise_networks_the_denoiser_is_taken_alone(tmp_path, volume) -> None:
    other, new = make(0, code_size=7), make(1)
    before = new.structural_generator.state_dict()["stem.weight"].clone()
    other.save(tmp_path / "m.safetensors")
    start_from(new, str(tmp_path / "m.safetensors"), None, 0)
    with torch.no_grad():
        assert torch.equal(new.denoiser(volume), other.denoiser(volume))
    assert torch.equal(new.structural_generator.state_dict()["stem.weight"], before)


@pytest.mark.parametrize("contrast, sign", [("bright", 1.0), ("dark", -1.0)])
def test_output_is_brought_to_the_units_of_the_clean_domain(
    tmp_path, contrast: str, sign: float
) -> None:
    """A clean domain of the other contrast is the same one with its sign turned."""
    other = seeing(make(0))
    save_denoiser(
        other.denoiser, dataclasses.replace(other.card, task="denoise"), tmp_path / "m.safetensors"
    )
    pairs = [simulator(sign).simulate(np.random.default_rng(seed)) for seed in range(3)]
    new = make(1, contrast)
    start_from(new, str(tmp_path / "m.safetensors"), simulator(sign), 0)
    for pair in pairs:
        given = torch.from_numpy(pair.tomogram)[None, None]
        with torch.no_grad():
            plain = float(sign) * other.denoiser(sign * given)
            found = new.denoiser(given)
        one, two = found.ravel() - found.mean(), plain.ravel() - plain.mean()
        correlation = float(one @ two / (one.norm() * two.norm()))
        assert abs(correlation) > 0.999
        wanted = torch.from_numpy(pair.density).ravel()
        slope = float(one @ (wanted - wanted.mean()) / (one @ one))
        assert slope == pytest.approx(1.0, abs=0.25)
        assert abs(float(found.mean() - wanted.mean())) < 0.1


def test_what_the_simulator_draws_later_does_not_change(tmp_path) -> None:
    make(0).save(tmp_path / "m.safetensors")
    used, fresh = simulator(), simulator()
    start_from(make(1), str(tmp_path / "m.safetensors"), used, 0)
    draws = [one.draw(2, np.random.default_rng(1)).tomogram for one in (used, fresh)]
    assert np.array_equal(*draws)
