"""Tiles chosen from the memory: which limit counts, and the least is computed."""

import math

import numpy as np
import pytest

from dual_core.tiles import memory
from dual_core.tiles.memory import GIB, bytes_for_tiles, cgroup_memory, free_memory, unet_bytes
from dual_core.tiles.plan import plan_for_side, plan_for_voxels
from dual_core.tiles.runner import NetworkRunner

SHAPE = (256, 1024, 1024)


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_limit_of_a_group_of_version_2_and_of_those_above(tmp_path):
    own = put(tmp_path / "own", "0::/job/step\n")
    root = tmp_path / "fs"
    assert cgroup_memory(root, own) is None
    put(root / "job/step/memory.max", "max\n")
    put(root / "job/step/memory.current", "100\n")
    assert cgroup_memory(root, own) is None
    put(root / "job/memory.max", "3000\n")
    put(root / "job/memory.current", "1000\n")
    assert cgroup_memory(root, own) == 2000
    put(root / "job/memory.stat", "anon 400\ninactive_file 600\n")
    assert cgroup_memory(root, own) == 2600
    put(root / "job/step/memory.max", "500\n")
    assert cgroup_memory(root, own) == 400


def test_limit_of_a_group_of_version_1(tmp_path):
    own = put(tmp_path / "own", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n")
    root = tmp_path / "fs"
    # As in a container, where the own group is mounted as the root.
    put(root / "memory/memory.limit_in_bytes", "3000\n")
    put(root / "memory/memory.usage_in_bytes", "1500\n")
    put(root / "memory/memory.stat", "inactive_file 1\ntotal_inactive_file 500\n")
    assert cgroup_memory(root, own) == 2000
    put(root / "memory/memory.limit_in_bytes", f"{2**63 - 4096}\n")
    assert cgroup_memory(root, own) is None


def test_the_lower_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMINFO", put(tmp_path / "m", "MemAvailable:  7 kB\n"))
    monkeypatch.setattr(memory, "cgroup_memory", lambda: None)
    assert free_memory() == 7 * 1024
    monkeypatch.setattr(memory, "cgroup_memory", lambda: 5000)
    assert free_memory() == 5000
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "cgroup_memory", lambda: None)
    assert free_memory() is None


def test_given_memory_is_that_of_the_whole_process(monkeypatch):
    monkeypatch.setattr(memory, "resident_memory", lambda: GIB // 2)
    assert bytes_for_tiles(1.5) + GIB // 2 <= 1.5 * GIB
    assert bytes_for_tiles(0.25) == 0
    assert bytes_for_tiles(None, free=GIB) < GIB
    assert bytes_for_tiles(None, free=10 * GIB) == bytes_for_tiles(None, free=100 * GIB)


@pytest.mark.parametrize("bfloat16", [True, False])
def test_little_is_computed_twice_with_4_gib_free(bfloat16):
    most = bytes_for_tiles(None, free=4 * GIB) / unet_bytes((24, 48, 96), 2, bfloat16=bfloat16)
    plan = plan_for_voxels(SHAPE, most, 48, 8, inside=True)
    assert plan.input_shape[0] == 256
    assert plan.overhead <= 2.3


@pytest.mark.parametrize("shape", [(1, 1, 1), (19, 200, 77), (60, 61, 500), (300, 40, 300)])
@pytest.mark.parametrize("most", [0, 20_000, 300_000, 1e7])
@pytest.mark.parametrize("inside", [True, False])
def test_bound_is_kept_and_every_voxel_written_once(shape, most, inside):
    plan = plan_for_voxels(shape, most, 12, 4, inside)
    count = np.zeros(shape, np.uint8)
    for tile in plan:
        count[tuple(slice(a, a + n) for a, n in zip(tile.core_start, tile.core_size))] += 1
        if inside:
            continue
        for axis in range(3):
            assert tile.core_offset[axis] >= 12
    assert (count == 1).all()
    smallest = plan_for_voxels(shape, 0, 12, 4, inside)
    assert math.prod(plan.input_shape) <= max(most, math.prod(smallest.input_shape))
    if most == 1e7 and inside:
        assert len(plan) == 1 or math.prod(shape) > 0.9e7


@pytest.mark.parametrize("side", [64, 96, 160])
def test_no_cube_of_the_same_size_computes_less(side):
    cube = plan_for_side(SHAPE, side, 24, 8, inside=True)
    assert plan_for_voxels(SHAPE, side**3, 24, 8, inside=True).overhead <= cube.overhead


@pytest.mark.parametrize("wanted", [12, 30, 2**31])
def test_no_halo_is_wider_than_what_the_network_reaches(wanted):
    torch = pytest.importorskip("torch")
    runner = NetworkRunner(torch.nn.Identity(), 4, 12, "cpu", halo=wanted)
    assert runner.halo == 12
    assert math.prod(runner.plan((64, 64, 64)).input_shape) <= 96**3
