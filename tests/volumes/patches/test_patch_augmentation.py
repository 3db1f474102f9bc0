"""Training patches are turned and flipped where that keeps the missing wedge, and only there."""

from __future__ import annotations

import itertools
from typing import Set, Tuple

import numpy as np
from coded_volume import source_of

from dual_core.volumes.patches import FLIPS_ASYMMETRIC, FLIPS_SYMMETRIC, PatchSource


def outcomes(source: PatchSource, count: int) -> Set[bytes]:
    return {patch.tobytes() for patch in source.draw(count, np.random.default_rng(0))}


def flipped(volume: np.ndarray, axes: Tuple[int, ...]) -> bytes:
    return np.flip(volume, axes).tobytes()


CUBE = np.random.default_rng(3).standard_normal((4, 4, 4)).astype(np.float32)
EVERY_FLIP = [axes for n in range(4) for axes in itertools.combinations(range(3), n)]


def test_tomograms_are_flipped_along_every_axis_and_nothing_else():
    found = outcomes(source_of(CUBE, flips=FLIPS_SYMMETRIC), 200)
    assert found == {flipped(CUBE, axes) for axes in EVERY_FLIP}


def test_asymmetric_tilt_ranges_allow_only_the_flips_that_keep_the_wedge():
    found = outcomes(source_of(CUBE, flips=FLIPS_ASYMMETRIC), 100)
    assert found == {flipped(CUBE, axes) for axes in ((), (1,), (0, 2), (0, 1, 2))}


def test_grand_models_turn_and_flip_in_every_way():
    found = outcomes(source_of(CUBE, flips=FLIPS_SYMMETRIC, turns=True), 1000)
    ways = itertools.product(itertools.permutations(range(3)), EVERY_FLIP)
    assert found == {flipped(CUBE.transpose(order), axes) for order, axes in ways}
    assert len(found) == 48


def test_every_flip_is_as_likely():
    drawn = source_of(CUBE, flips=FLIPS_SYMMETRIC).draw(1600, np.random.default_rng(0))
    _, counts = np.unique(drawn.reshape(len(drawn), -1)[:, :8], axis=0, return_counts=True)
    assert len(counts) == 8
    assert np.abs(counts - 200).max() < 5 * np.sqrt(200)


def wedged_volume(side: int, lowest_deg: float, highest_deg: float) -> Tuple[np.ndarray, ...]:
    """Noise with the wedge of a tilt range about y, and where in frequency space it is missing."""
    frequency = np.rint(np.fft.fftfreq(side) * side)
    z, x = frequency[:, None, None], frequency[None, None, :]
    # Plane angles; a tilt series is seen from both sides.
    angle = np.rad2deg(np.arctan2(z, x))
    angle = (angle + 90) % 180 - 90
    missing = ((angle < lowest_deg) | (angle > highest_deg)) & (np.abs(z) + np.abs(x) > 0)
    missing = np.broadcast_to(missing, (side, side, side))
    noise = np.random.default_rng(0).standard_normal((side, side, side))
    volume = np.fft.ifftn(np.where(missing, 0.0, np.fft.fftn(noise))).real
    # The highest frequency is its own mirror image, and belongs to both sides.
    inner = np.abs(frequency) < side // 2
    missing = missing & inner[:, None, None] & inner[:, None] & inner
    return volume.astype(np.float32), missing


def power_in_the_wedge(
    flips, tilt_range_deg: Tuple[float, float] = (-60.0, 60.0), turns: bool = False
) -> float:
    """Largest share of a patch's power where the tomogram has none."""
    volume, missing = wedged_volume(16, *tilt_range_deg)
    source = source_of(volume, side=16, flips=flips, turns=turns)
    drawn = source.draw(60, np.random.default_rng(1))[:, 0]
    power = np.abs(np.fft.fftn(drawn, axes=(1, 2, 3))) ** 2
    return float((power[:, missing].sum(axis=1) / power.sum(axis=(1, 2, 3))).max())


def test_flips_keep_a_wedge_where_it_is():
    assert power_in_the_wedge(FLIPS_SYMMETRIC) < 1e-6
    assert power_in_the_wedge(FLIPS_ASYMMETRIC) < 1e-6


def test_asymmetric_flips_keep_an_asymmetric_wedge():
    assert power_in_the_wedge(FLIPS_ASYMMETRIC, (-35.0, 60.0)) < 1e-6


def test_the_wedge_would_be_seen_to_move():
    assert power_in_the_wedge(FLIPS_SYMMETRIC, (-35.0, 60.0)) > 0.01
    assert power_in_the_wedge(FLIPS_SYMMETRIC, turns=True) > 0.01
