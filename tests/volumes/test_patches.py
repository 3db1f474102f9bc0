"""Training patches: where they come from, how they are turned, what is held in memory."""

from __future__ import annotations

import itertools
import json
import weakref
from typing import List, Set, Tuple

import numpy as np
import pytest

from dual_core.errors import DualError
from dual_core.volumes import patches
from dual_core.volumes.interface import ArrayVolume, Triple, check_region
from dual_core.volumes.patches import (
    EMPTY_DEVIATION,
    EMPTY_SHARE,
    FLIPS_ASYMMETRIC,
    FLIPS_SYMMETRIC,
    PatchSource,
    StandardisedVolume,
    generator_state,
    restored_generator,
)


class CodedVolume:
    """A volume of any size whose voxels say where they are; it counts what is read and held."""

    voxel_size_A = 10.0

    def __init__(self, shape: Triple, name: str = "coded") -> None:
        self.shape = shape
        self.name = name
        self.starts: List[Triple] = []
        self.voxels_read = 0
        self.held = 0
        self.most_held = 0

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        check_region(start, size, self.shape)
        z, y, x = (np.arange(first, first + n) for first, n in zip(start, size))
        _, rows, columns = self.shape
        block = (z[:, None, None] * rows + y[:, None]) * columns + x
        block = block.astype(np.float32)
        self.starts.append(start)
        self.voxels_read += block.size
        self.held += block.size
        self.most_held = max(self.most_held, self.held)
        weakref.finalize(block, self._forget, block.size)
        return block

    def _forget(self, voxels: int) -> None:
        self.held -= voxels

    def load(self) -> np.ndarray:
        return self.read((0, 0, 0), self.shape)

    def place(self, value: float) -> Tuple[int, ...]:
        return tuple(int(n) for n in np.unravel_index(round(float(value)), self.shape))


def source_of(*volumes, side: int = 4, flips=(), **options) -> PatchSource:
    """A source on volumes that are left as they are; without augmentation by default."""
    entries = [
        StandardisedVolume(
            ArrayVolume(volume, 10.0) if isinstance(volume, np.ndarray) else volume, 0.0, 1.0
        )
        for volume in volumes
    ]
    return PatchSource(entries, side, flips=flips, **options)


@pytest.fixture
def small_pool(monkeypatch) -> None:
    monkeypatch.setattr(patches, "POOL_BLOCKS", 4)
    monkeypatch.setattr(patches, "BLOCK_SIDE", 12)


def places_of(source: PatchSource, volume: CodedVolume, count: int, seed: int = 0) -> np.ndarray:
    drawn = source.draw(count, np.random.default_rng(seed))
    return np.array([volume.place(patch[0, 0, 0, 0]) for patch in drawn])


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


# Augmentation -------------------------------------------------------------------------------


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


# Memory -------------------------------------------------------------------------------------


def test_what_fits_into_the_budget_is_read_once():
    volumes = [CodedVolume((20, 20, 20)), CodedVolume((10, 20, 20))]
    source = source_of(*volumes, memory_budget=4 * (8000 + 4000))
    assert source.in_memory
    for seed in range(3):
        source.draw(50, np.random.default_rng(seed))
    assert [volume.starts for volume in volumes] == [[(0, 0, 0)], [(0, 0, 0)]]


def test_a_larger_domain_is_read_block_by_block(small_pool):
    volume = CodedVolume((120, 120, 120))
    source = source_of(volume, memory_budget=4 * 120**3 - 1)
    assert not source.in_memory
    assert volume.starts == [], "nothing is read before it is needed"
    generator = np.random.default_rng(0)
    patches_drawn = 0
    for _ in range(50):
        patches_drawn += len(source.draw(16, generator))
    block = 12**3
    # The pool, and the block that is read to take another's place.
    assert volume.most_held <= 5 * block < volume.shape[0] ** 3 / 100
    reads = len(volume.starts)
    assert volume.voxels_read == reads * block
    # Each block gives as many patches as tile it, so little more is read than is drawn.
    uses = (12 // 4) ** 3
    assert patches_drawn / uses <= reads <= patches_drawn / uses + 4
    assert len(set(volume.starts)) > 0.9 * reads, "blocks come from everywhere"


def test_blocks_fit_into_thin_volumes(small_pool):
    volume = CodedVolume((5, 40, 11))
    source = source_of(volume, memory_budget=0)
    assert source.draw(200, np.random.default_rng(0)).shape == (200, 1, 4, 4, 4)
    assert volume.voxels_read == len(volume.starts) * 5 * 12 * 11


def test_default_pool_of_large_patches_keeps_to_the_default_budget():
    for side in (32, 64, 96, 128):
        block_side = max(patches.BLOCK_SIDE, 2 * side)
        assert 4 * patches.POOL_BLOCKS * block_side**3 <= patches.MEMORY_BUDGET


def test_patches_of_another_size_share_what_is_in_memory(small_pool):
    volume = CodedVolume((20, 20, 20))
    source = source_of(volume)
    other = source.with_side(10)
    assert other.draw(2, np.random.default_rng(0)).shape == (2, 1, 10, 10, 10)
    assert source.draw(2, np.random.default_rng(0)).shape == (2, 1, 4, 4, 4)
    assert len(volume.starts) == 1
    large = CodedVolume((40, 40, 40))
    source = source_of(large, memory_budget=0)
    source.draw(30, np.random.default_rng(0))
    before = source.state()
    assert source.with_side(10).draw(3, np.random.default_rng(0)).shape == (3, 1, 10, 10, 10)
    assert source.state() == before, "each has its own pool"


# Going on -----------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", (1 << 30, 0), ids=("in memory", "by blocks"))
def test_state_and_restore_go_on_exactly(budget, small_pool):
    shapes = ((20, 24, 28), (30, 16, 16))

    def fresh() -> PatchSource:
        volumes = [CodedVolume(shape) for shape in shapes]
        return source_of(*volumes, flips=FLIPS_SYMMETRIC, turns=True, memory_budget=budget)

    source, generator = fresh(), np.random.default_rng(4)
    source.draw(70, generator)
    # Through JSON, as in a checkpoint.
    saved = json.loads(json.dumps([source.state(), generator_state(generator)]))
    expected = [source.draw(20, generator) for _ in range(8)]

    again = fresh()
    again.draw(9, np.random.default_rng(99))
    again.restore(saved[0])
    generator = restored_generator(saved[1])
    for draws in expected:
        assert np.array_equal(again.draw(20, generator), draws)


def test_a_state_is_a_snapshot(small_pool):
    source = source_of(CodedVolume((40, 40, 40)), memory_budget=0)
    generator = np.random.default_rng(0)
    source.draw(10, generator)
    saved = source.state()
    kept = json.dumps(saved)
    source.draw(200, generator)
    assert json.dumps(saved) == kept
    assert source.state() != saved


def test_restored_generators_go_on_exactly():
    generator = np.random.default_rng(11)
    generator.integers(10, size=7)  # leaves half a number in the buffer
    again = restored_generator(json.loads(json.dumps(generator_state(generator))))
    assert np.array_equal(generator.integers(1 << 20, size=9), again.integers(1 << 20, size=9))
    assert np.array_equal(generator.standard_normal(9), again.standard_normal(9))


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
