"""What both halves have in common beside density is not taken for density."""

from __future__ import annotations

import numpy as np
import pytest

from dual_core.noise_model.structure_power import LEAST_DENSITY, _share_of_density

BLOCKS, COEFFICIENTS, NOISE = 300, 1000, 1.0
FULL = 0.8  # of the blocks


def powers(strength: float, background: float, seed: int = 0) -> tuple:
    """Of blocks of two unpaired domains: some are empty, the rest full to different degrees."""
    random = np.random.default_rng(seed)

    def structure() -> np.ndarray:
        full = random.gamma(2.0, 0.5, BLOCKS) * (random.random(BLOCKS) < FULL)
        return full[:, None] * random.exponential(1.0, (BLOCKS, COEFFICIENTS))

    noise = random.exponential(1.0, (BLOCKS, COEFFICIENTS))
    return strength * structure() + (NOISE + background) * noise, structure()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("strength", "background"), [(0.5, 0.0), (0.3, 0.1), (0.4, 0.3)])
def test_the_share_is_that_of_density(seed: int, strength: float, background: float) -> None:
    share = _share_of_density(*powers(strength, background, seed), NOISE)
    density = FULL * strength
    assert share == pytest.approx(density / (density + background), abs=0.15)


def test_some_of_it_is_density_in_any_case() -> None:
    assert _share_of_density(*powers(0.01, 0.5), NOISE) == LEAST_DENSITY


def test_where_structure_is_above_the_noise_all_of_it_is_density() -> None:
    noisy, clean = powers(0.9, 0.9)
    assert _share_of_density(noisy, clean, NOISE) == 1.0
    assert _share_of_density(noisy - 2 * NOISE, clean, NOISE) == 1.0  # nothing beyond the noise


def test_blocks_of_a_clean_domain_that_are_all_alike_tell_nothing() -> None:
    noisy, clean = powers(0.3, 0.2)
    assert _share_of_density(noisy, np.ones_like(clean), NOISE) == 1.0
