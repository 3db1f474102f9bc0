"""Properties of the tiling plan and of its streaming execution; no network needed but one."""

import itertools

import numpy as np
import pytest

from dual_core.tiles.plan import plan_axis, plan_for_side, plan_tiles
from dual_core.tiles.stream import (
    mirrored_indices,
    read_mirrored,
    read_with_zeros,
    run_tiled,
    stream_tiled,
)

SHAPES = [(19, 37, 23), (1, 30, 17), (1, 1, 1), (2, 3, 40), (16, 16, 16), (5, 7, 64)]


def reader(volume):
    """A `read` that refuses what a volume would refuse: regions that stick out."""

    def read(start, size):
        assert all(a >= 0 and n > 0 and a + n <= m for a, n, m in zip(start, size, volume.shape))
        return volume[tuple(slice(a, a + n) for a, n in zip(start, size))].copy()

    return read


def padded(volume, before, after):
    """numpy's own reflection, axis by axis, edge where an axis has length 1."""
    for axis in range(3):
        width = [(0, 0)] * 3
        width[axis] = (before[axis], after[axis])
        mode = "edge" if volume.shape[axis] == 1 else "reflect"
        volume = np.pad(volume, width, mode=mode)
    return volume


@pytest.mark.parametrize("length", [1, 2, 3, 5, 16, 23, 100])
@pytest.mark.parametrize("core", [1, 3, 8, 200])
@pytest.mark.parametrize("halo", [0, 1, 5, 16])
@pytest.mark.parametrize("multiple", [1, 4, 8])
def test_axis_plan(length, core, halo, multiple):
    tiles = plan_axis(length, core, halo, multiple)
    written = [i for t in tiles for i in range(t.core_start, t.core_start + t.core_size)]
    assert written == list(range(length))
    assert len({t.input_size for t in tiles}) == 1
    for t in tiles:
        assert t.input_start % multiple == 0 and t.input_size % multiple == 0
        assert t.core_offset >= halo
        assert t.input_size - t.core_offset - t.core_size >= halo


@pytest.mark.parametrize("length", [1, 5, 16, 23, 100])
@pytest.mark.parametrize("core", [1, 8, 200])
@pytest.mark.parametrize("halo", [0, 5, 16])
def test_axis_plan_that_stays_inside(length, core, halo):
    tiles = plan_axis(length, core, halo, 8, inside=True)
    written = [i for t in tiles for i in range(t.core_start, t.core_start + t.core_size)]
    assert written == list(range(length))
    assert len({t.input_size for t in tiles}) == 1
    for t in tiles:
        stop = t.input_start + t.input_size
        assert t.input_start % 8 == 0 and t.input_size % 8 == 0
        assert t.input_start >= 0 and stop < length + 8
        # The whole halo, or up to the face.
        assert t.core_offset >= min(halo, t.core_start)
        assert stop - t.core_start - t.core_size >= min(halo, length - t.core_start - t.core_size)


@pytest.mark.parametrize("arguments", [(0, 1, 0, 1), (5, 0, 0, 1), (5, 1, -1, 1), (5, 1, 1, 0)])
def test_axis_plan_refuses_nonsense(arguments):
    with pytest.raises(ValueError):
        plan_axis(*arguments)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("core, halo", [(1, 2), (4, 3), ((3, 8, 5), (1, 2, 9)), (64, 16)])
def test_plan_writes_every_voxel_once(shape, core, halo):
    if core == 1 and np.prod(shape) > 1000:
        shape = tuple(min(n, 9) for n in shape)
    plan = plan_tiles(shape, core, halo, 4)
    count = np.zeros(shape, dtype=int)
    tiles = list(plan)
    assert len(tiles) == len(plan)
    for tile in tiles:
        assert tile.input_size == plan.input_shape
        region = tuple(slice(a, a + n) for a, n in zip(tile.core_start, tile.core_size))
        count[region] += 1
        for axis in range(3):
            stop = tile.input_start[axis] + tile.input_size[axis]
            assert tile.outside_before[axis] == max(0, -tile.input_start[axis])
            assert tile.outside_after[axis] == max(0, stop - shape[axis])
    assert (count == 1).all()


def test_even_cores_and_bounded_inputs():
    for length, side, halo in itertools.product((1, 36, 100, 256, 1000), (48, 64, 97), (0, 6, 16)):
        plan = plan_for_side((length, 8, 8), side, halo, 4)
        assert max(plan.input_shape) <= side
        cores = [t.core_size for t in plan.axes[0]]
        assert max(cores) - min(cores) <= 4 * len(cores)
    assert plan_for_side((100, 100, 100), 96, 16, 4).input_shape == (84, 84, 84)
    # Too short a side still gives a plan, with the smallest core.
    assert plan_for_side((9, 9, 9), 4, 16, 4).axes[0][0].core_size == 4


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_mirrored_indices_are_those_of_numpy(length):
    values = np.arange(length)
    mode = "edge" if length == 1 else "reflect"
    expected = np.pad(values, 20, mode=mode)
    np.testing.assert_array_equal(values[mirrored_indices(-20, length + 20, length)], expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_reading_outside_mirrors(shape):
    volume = np.random.default_rng(0).normal(size=shape)
    block = read_mirrored(reader(volume), shape, (-9, -4, -11), tuple(n + 20 for n in shape))
    np.testing.assert_array_equal(block, padded(volume, (9, 4, 11), (11, 16, 9)))
    # A region wholly outside is mirrored too.
    far = read_mirrored(reader(volume), shape, (-9, -4, -11), (2, 2, 2))
    np.testing.assert_array_equal(far, block[:2, :2, :2])


@pytest.mark.parametrize("shape", SHAPES)
def test_reading_outside_can_give_zeros(shape):
    volume = np.random.default_rng(0).normal(size=shape)
    block = read_with_zeros(reader(volume), shape, (-9, -4, -11), tuple(n + 20 for n in shape))
    np.testing.assert_array_equal(block, np.pad(volume, ((9, 11), (4, 16), (11, 9))))
    part = read_with_zeros(reader(volume), shape, (0, 0, 0), (1, 1, 1))
    np.testing.assert_array_equal(part, volume[:1, :1, :1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("core", [1, 4, (3, 8, 5), 64])
@pytest.mark.parametrize("row_voxels", [1, 2000, 2**24])
def test_streaming_writes_every_voxel_once(shape, core, row_voxels):
    if core == 1:
        shape = tuple(min(n, 7) for n in shape)
    volume = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    plan = plan_tiles(shape, core, 3, 4)
    output = np.zeros(shape, dtype=np.float32)
    count = np.zeros(shape, dtype=int)
    progress = []

    def write(start, array):
        region = tuple(slice(a, a + n) for a, n in zip(start, array.shape))
        output[region] = array
        count[region] += 1

    def double(tile):
        assert tile.shape == plan.input_shape
        return 2 * tile

    run_tiled(
        reader(volume),
        write,
        plan,
        double,
        progress=lambda done, total: progress.append((done, total)),
        row_voxels=row_voxels,
    )
    np.testing.assert_array_equal(output, 2 * volume)
    assert (count == 1).all()
    assert progress[-1] == (len(plan), len(plan))
    for start, source, _, _ in stream_tiled(reader(volume), plan, double, row_voxels):
        region = tuple(slice(a, a + n) for a, n in zip(start, source.shape))
        np.testing.assert_array_equal(source, volume[region])


def pyramid(volume):
    """A little U-Net in numpy: its grid of 4 shows wherever a tile is not aligned."""
    z, y, x = volume.shape
    blocks = volume.reshape(z // 4, 4, y // 4, 4, x // 4, 4).mean(axis=(1, 3, 5))
    smooth = sum(np.roll(blocks, s, axis=a) for a in range(3) for s in (-1, 1))
    return volume + smooth.repeat(4, 0).repeat(4, 1).repeat(4, 2)


@pytest.mark.parametrize("shape", [(19, 37, 23), (1, 30, 17), (3, 5, 2), (24, 24, 24)])
@pytest.mark.parametrize("core", [1, 5, 8, 64])
def test_tiles_equal_the_whole_volume(shape, core):
    if core == 1:
        shape = tuple(min(n, 11) for n in shape)
    volume = np.random.default_rng(2).normal(size=shape)
    before = (8, 8, 8)
    after = tuple(-(-n // 4) * 4 - n + 8 for n in shape)
    inside = tuple(slice(8, 8 + n) for n in shape)
    whole = pyramid(padded(volume, before, after))[inside]
    output = np.zeros(shape)

    def write(start, array):
        output[tuple(slice(a, a + n) for a, n in zip(start, array.shape))] = array

    run_tiled(reader(volume), write, plan_tiles(shape, core, 8, 4), pyramid)
    np.testing.assert_allclose(output, whole, rtol=0, atol=1e-5)


def test_working_memory_is_bounded():
    """Blocks asked for stay within the bound, whatever the length of the volume."""
    shape = (16, 32, 5000)
    asked = []

    def read(start, size):
        asked.append(np.prod(size))
        return np.zeros(size, dtype=np.float32)

    plan = plan_tiles(shape, 16, 8, 4)
    run_tiled(read, lambda start, array: None, plan, lambda tile: tile, row_voxels=100_000)
    assert max(asked) <= 100_000
