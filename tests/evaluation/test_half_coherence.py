"""Half coherence: 1 for a filter, more for what knows more, less for what invents."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.errors import DualError
from dual_core.evaluation.half_coherence import half_coherence
from dual_core.volumes.geometry import frequency_radius, wedge_mask

SHAPE = (64, 80, 72)
RANGE = (-60.0, 60.0)


def volumes(seed: int = 0):
    """(structure, half, other half), measured within the tilt range only."""
    random = np.random.default_rng(seed)
    points = (random.random(SHAPE) < 2e-3) * random.uniform(50, 150, SHAPE)
    mask = wedge_mask(SHAPE, RANGE)
    structure = np.fft.ifftn(np.fft.fftn(gaussian_filter(points, 1.2)) * mask).real
    halves = [
        structure + np.fft.ifftn(np.fft.fftn(random.normal(0, 2.0, SHAPE)) * mask).real
        for _ in range(2)
    ]
    return structure, halves[0], halves[1]


def shell_filtered(volume: np.ndarray) -> np.ndarray:
    response = np.exp(-((frequency_radius(SHAPE) / 0.12) ** 2))
    return np.fft.ifftn(np.fft.fftn(volume) * response).real


def test_a_filter_has_ratio_1_and_the_structure_more_up_to_the_limit() -> None:
    structure, one, other = volumes()
    filtered = half_coherence(
        (one, other), (shell_filtered(one), shell_filtered(other)), 10.0, RANGE
    )
    # Not exactly: a filter is not constant over a shell.
    np.testing.assert_allclose(filtered.ratio, 1.0, atol=0.04)
    oracle = half_coherence((one, other), (structure, structure), 10.0, RANGE)
    np.testing.assert_allclose(oracle.ratio, oracle.limit, rtol=0.12)
    assert filtered.verdict is not None and oracle.verdict is not None
    assert oracle.verdict > filtered.verdict + 0.05


def test_what_invents_is_below_1_though_its_halves_agree() -> None:
    structure, one, other = volumes()
    invented = np.roll(structure, 20, axis=1)
    found = half_coherence(
        (one, other), (one * 0.2 + invented, other * 0.2 + invented), 10.0, RANGE
    )
    assert found.verdict is not None and found.verdict < 0.6


def test_only_measured_coefficients_count() -> None:
    structure, one, other = volumes()
    beyond = ~wedge_mask(SHAPE, RANGE)
    junk = np.fft.ifftn(
        np.fft.fftn(np.random.default_rng(9).normal(0, 3.0, SHAPE)) * beyond
    ).real
    clean = half_coherence((one, other), (structure, structure), 10.0, RANGE)
    dirty = half_coherence((one, other), (structure + junk, structure + junk), 10.0, RANGE)
    np.testing.assert_allclose(dirty.ratio, clean.ratio, rtol=0.07)
    assert dirty.ratio.mean() > half_coherence(
        (one, other), (structure + junk, structure + junk), 10.0
    ).ratio.mean() + 0.1


def test_tilt_axis_x_is_the_same_volume_turned() -> None:
    structure, one, other = volumes()
    along_y = half_coherence((one, other), (structure, structure), 10.0, RANGE)
    turned = [np.ascontiguousarray(volume.swapaxes(1, 2)) for volume in (structure, one, other)]
    along_x = half_coherence((turned[1], turned[2]), (turned[0], turned[0]), 10.0, RANGE, "x")
    np.testing.assert_allclose(along_x.ratio, along_y.ratio, rtol=1e-6)


def test_gain_and_offset_do_not_count_and_tomograms_add_up() -> None:
    structure, one, other = volumes()
    plain = half_coherence((one, other), (structure, structure), 10.0, RANGE)
    scaled = half_coherence((3 * one + 7, other - 5), (structure * 0.1, structure), 10.0, RANGE)
    np.testing.assert_allclose(scaled.ratio, plain.ratio, rtol=1e-6)
    np.testing.assert_allclose((plain + plain).ratio, plain.ratio, rtol=1e-12)


def test_unusable_volumes_are_refused_in_one_line() -> None:
    structure, one, other = volumes()
    with pytest.raises(DualError, match="shape"):
        half_coherence((one, other[1:]), (structure, structure), 10.0)
    with pytest.raises(DualError, match="constant"):
        half_coherence((one, other), (structure * 0, structure), 10.0)
