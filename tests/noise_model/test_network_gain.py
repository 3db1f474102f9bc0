"""The linear part of the structural generator, which is taken out when simulating."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dual_core.noise_model.full_power.coloured_noise import SeenStructure
from dual_core.noise_model.full_power.network_gain import network_gain
from dual_core.noise_model.full_power.noise_profile import (
    SHELLS,
    NoiseProfile,
    profile_of,
    profile_to_arrays,
)
from dual_core.noise_model.full_power.whole_blocks import HEIGHT
from dual_core.volumes.patches import StandardisedVolume
from dual_core.volumes.reading import ArrayVolume

EVERYTHING = np.ones((16, 16, 9), np.float32)  # a transfer that changes nothing


class Fainter(torch.nn.Module):
    """A network that is a filter for small values, and saturates large ones."""

    multiple = 16

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return (self.factor * volume).clamp(-20.0, 20.0)


def test_what_a_network_does_to_structure_as_a_filter_is_taken_out() -> None:
    random = np.random.default_rng(0)
    cells = []
    for _ in range(4):
        cell = gaussian_filter(random.standard_normal((64, 64, 64)), 1.5)
        cells.append((cell / cell.std()).astype(np.float32))
    cells[0][30:34, 30:34, 30:34] = 500.0  # gold
    amplitude = np.ones((32, HEIGHT, 17), np.float32)
    profile = NoiseProfile(amplitude, amplitude, EVERYTHING, (-9.0, 9.0))
    volumes = [StandardisedVolume(ArrayVolume(cell, 10.0), 0.0, 1.0) for cell in cells]
    gain = network_gain(Fainter(0.8), volumes, profile, seed=0)
    assert gain.shape == (SHELLS,)
    np.testing.assert_allclose(gain[:8], 0.8, atol=0.02)

    arrays = profile_to_arrays(replace(profile, gain=gain))
    known = profile_of(arrays)
    assert known is not None and known.gain is not None
    np.testing.assert_array_equal(known.gain, gain)
    seen = cells[1]
    made = np.float32(0.8) * seen
    made[:4] += 1.0  # what no filter of this kind does, stays
    changed = SeenStructure(known).corrected(made, seen) - seen
    assert changed[:4].mean() == pytest.approx(1.0, abs=0.05)
    assert changed[8:-8].std() < 0.05, "0.2 without it"
    # Gold, which the network saturates, is saturated still.
    seen, made = cells[0], np.clip(0.8 * cells[0], -20.0, 20.0).astype(np.float32)
    assert SeenStructure(known).corrected(made, seen)[31:33, 31:33, 31:33].max() < 200.0


def test_a_model_without_a_gain_has_none() -> None:
    amplitude = np.ones((32, HEIGHT, 17), np.float32)
    profile = NoiseProfile(amplitude, amplitude, EVERYTHING, (-9.0, 9.0))
    known = profile_of(profile_to_arrays(profile))
    assert known is not None and known.gain is None and known.gain_on((8, 8, 8)) is None
