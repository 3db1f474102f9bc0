"""Where training patches are drawn from, how often, and from what they cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from coded_volume import CodedVolume, places_of, source_of

from dual_core.errors import DualError
from dual_core.volumes.interface import ArrayVolume
from dual_core.volumes.patches import (
    EMPTY_DEVIATION,
    EMPTY_SHARE,
    FLIPS_SYMMETRIC,
    PatchSource,
    StandardisedVolume,
)

# What is drawn ------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", (1 << 30, 0), ids=("in memory", "by blocks"))
def test_draws_are_reproducible_from_the_generator(budget, small_pool):
    volume = np.random.default_rng(5).standard_normal((20, 24, 28)).astype(np.float32)

    def draws(seed: int) -> np.ndarray:
        source = source_of(volume, flips=FLIPS_SYMMETRIC, turns=True, memory_budget=budget)
        generator = np.random.default_rng(seed)
        return np.concatenate([source.draw(5, generator), source.draw(3, generator)])

    assert np.array_equal(draws(1), draws(1))
    assert not np.array_equal(draws(1), draws(2))


def test_draws_have_the_shape_that_training_takes():
    volume = np.zeros((9, 10, 11), np.float32)
    drawn = source_of(volume, side=5).draw(3, np.random.default_rng(0))
    assert drawn.shape == (3, 1, 5, 5, 5)
    assert drawn.dtype == np.float32
    assert drawn.flags.c_contiguous


@pytest.mark.parametrize("budget", (1 << 30, 0), ids=("in memory", "by blocks"))
def test_patches_are_true_pieces_of_the_volume(budget, small_pool):
    volume = CodedVolume((17, 19, 23))
    source = source_of(volume, memory_budget=budget)
    whole = volume.load()
    for patch in source.draw(40, np.random.default_rng(0))[:, 0]:
        z, y, x = volume.place(patch[0, 0, 0])
        assert np.array_equal(patch, whole[z : z + 4, y : y + 4, x : x + 4])


def test_values_are_standardised_and_the_volume_is_left_alone():
    values = np.random.default_rng(0).normal(7.0, 3.0, (8, 8, 8)).astype(np.float32)
    kept = values.copy()
    # A negative deviation turns the contrast.
    source = PatchSource([StandardisedVolume(ArrayVolume(values, 1.0), 7.0, -3.0)], 8, flips=())
    (drawn,) = source.draw(1, np.random.default_rng(0))
    np.testing.assert_allclose(drawn[0], (kept - 7.0) / -3.0, rtol=1e-5, atol=1e-6)
    assert np.array_equal(values, kept)


def test_a_changed_patch_does_not_change_the_domain():
    source = source_of(np.ones((4, 4, 4), np.float32))
    source.draw(1, np.random.default_rng(0))[:] = 5.0
    assert (source.draw(1, np.random.default_rng(0)) == 1.0).all()


def test_every_position_is_drawn_equally_often():
    volume = CodedVolume((5, 6, 9))
    places = places_of(source_of(volume), volume, 3000)
    for axis, length in enumerate(volume.shape):
        counts = np.bincount(places[:, axis], minlength=length - 3)
        assert len(counts) == length - 3, "from the first to the last position"
        expected = len(places) / len(counts)
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_by_blocks_the_borders_of_a_volume_are_drawn_too(small_pool):
    volume = CodedVolume((20, 28, 36))
    places = places_of(source_of(volume, memory_budget=0), volume, 6000)
    for axis, length in enumerate(volume.shape):
        counts, _ = np.histogram(places[:, axis], bins=6, range=(0, length - 3))
        assert counts.min() > 0.4 * counts.mean(), counts
        assert counts.max() < 2.0 * counts.mean(), counts


@pytest.mark.parametrize("budget", (1 << 30, 0), ids=("in memory", "by blocks"))
def test_larger_volumes_are_drawn_from_more_often(budget, small_pool):
    small, large = np.zeros((12, 12, 12), np.float32), np.ones((12, 12, 36), np.float32)
    drawn = source_of(small, large, memory_budget=budget).draw(3000, np.random.default_rng(0))
    assert float(drawn.mean()) == pytest.approx(0.75, abs=0.12)


# Empty patches ------------------------------------------------------------------------------


def mostly_empty() -> np.ndarray:
    volume = np.zeros((32, 32, 32), np.float32)
    volume[2:14, 4:16, 18:30] = np.random.default_rng(0).standard_normal((12, 12, 12))
    return volume


def empty_share(**options) -> float:
    drawn = source_of(mostly_empty(), **options).draw(500, np.random.default_rng(0))
    return float((drawn.std(axis=(1, 2, 3, 4)) < EMPTY_DEVIATION).mean())


def test_empty_patches_are_mostly_drawn_again():
    plain = empty_share()
    assert plain > 0.8
    # A few stay: a cell has empty places too, and tries run out.
    assert 0.3 * EMPTY_SHARE < empty_share(skip_empty=True) < 2 * EMPTY_SHARE


def test_a_domain_without_any_structure_still_gives_patches():
    source = source_of(np.zeros((8, 8, 8), np.float32), skip_empty=True)
    assert not source.draw(3, np.random.default_rng(0)).any()


# Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ((7, 20, 20), (20, 7, 20), (20, 20, 7)))
def test_a_volume_smaller_than_a_patch_is_named(shape):
    good = CodedVolume((20, 20, 20))
    with pytest.raises(DualError) as caught:
        source_of(good, CodedVolume(shape, "thin.mrc"), side=8)
    message = str(caught.value)
    assert "thin.mrc" in message
    assert " x ".join(map(str, shape)) in message
    assert "8" in message
    assert "--patch" in message
    assert "\n" not in message


def test_a_volume_of_just_a_patch_will_do():
    volume = CodedVolume((8, 8, 8))
    assert source_of(volume, side=8).draw(2, np.random.default_rng(0)).shape[0] == 2


def test_a_domain_needs_a_volume():
    with pytest.raises(ValueError, match="at least one"):
        PatchSource([], 8)
