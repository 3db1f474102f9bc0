"""What of a domain is held in memory, and how its draws go on after a break."""

from __future__ import annotations

import json

import numpy as np
import pytest
from coded_volume import CodedVolume, source_of

from dual_core.volumes import patches
from dual_core.volumes.patches import (
    FLIPS_SYMMETRIC,
    PatchSource,
    generator_state,
    restored_generator,
)

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
