"""What several tests of simulation use: models, small tiles, grand models, the command."""


import numpy as np
import pytest
import torch
from small_simulation import density, make_model, write

from dual_core.noise_model.full_power.noise_profile import NoiseProfile, profile_to_arrays
from dual_core.noise_model.full_power.whole_blocks import grid_of
from dual_core.tasks.simulation import noisy_tiles


@pytest.fixture(scope="session")
def model():
    return make_model()


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles as small as the halo allows, so that a small volume has several."""
    monkeypatch.setattr(noisy_tiles, "TILE_BYTES", 40**3 * 28.8)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory, model):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model.save(path)
    return path


@pytest.fixture
def cells(tmp_path):
    """Two grand models as of 'dual pack', the second without labels."""
    folder = tmp_path / "cells"
    folder.mkdir()
    write(folder / "grand_model_1.mrc", density(seed=1))
    write(folder / "class_mask_1.mrc", (density(seed=1) > 1).astype(np.int8))
    write(folder / "instance_mask_1.mrc", (density(seed=1) > 1).astype(np.uint16))
    (folder / "particles_1.csv").write_text("instance,class\n1,1\n")
    (folder / "particles_1.star").write_text("data_particles\n")
    write(folder / "grand_model_2.mrc", density(seed=2))
    return folder


@pytest.fixture
def measured():
    """A model whose noise was measured: white of deviation 0.5 below half of Nyquist along x."""
    model = make_model()
    grid = grid_of(20)
    amplitude = np.zeros((grid[0], grid[1], grid[2] // 2 + 1), np.float32)
    amplitude[..., : grid[2] // 4] = 0.5
    everything = np.ones((16, 16, 9), np.float32)
    profile = NoiseProfile(amplitude, np.full_like(amplitude, 0.5), everything, (-1.5, 1.5))
    arrays = profile_to_arrays(profile)
    model.linear = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return model
