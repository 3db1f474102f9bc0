"""Reading MRC volumes: every mode, byte order, axis order, region and statistic."""

from __future__ import annotations

import os

import mrcfile
import numpy as np
import pytest
from crafted_mrc import MODES, SHAPE, craft, one_line, values

from dual_core.errors import DualError
from dual_core.volumes.reading import (
    ArrayVolume,
    iterate_slabs,
    open_volume,
    volume_statistics,
    write_volume,
)


def imod_flags(byte_order, stamp=1146047817, flags=0):
    return b"\0" * 40 + np.array([stamp, flags], byte_order + "i4").tobytes() + b"\0" * 36


@pytest.mark.parametrize("suffix", [".mrc", ".rec", ".map", ".st", ".mrcs", ""])
@pytest.mark.parametrize("extended", [b"", b"x" * 1000, b"y" * 4096])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("dtype", list(MODES))
def test_every_mode_order_and_name_is_read(tmp_path, dtype, byte_order, extended, suffix):
    data = values(dtype)
    volume = open_volume(craft(tmp_path / f"v{suffix}", data, byte_order, extended))
    loaded = volume.load()
    assert loaded.dtype == np.float32
    assert volume.shape == volume.facts.shape == SHAPE
    assert volume.facts.dtype.newbyteorder("=") == np.dtype(dtype)
    np.testing.assert_array_equal(loaded, data.astype(np.float32))


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_signed_and_unsigned_bytes(tmp_path, byte_order):
    data = values("u1")
    assert data.max() > 127
    for name, fields, unsigned in [
        ("standard", {}, False),
        ("imod_unsigned", {"extra2": imod_flags(byte_order, flags=0)}, True),
        ("imod_signed", {"extra2": imod_flags(byte_order, flags=1)}, False),
        ("imod_signed_and_more", {"extra2": imod_flags(byte_order, flags=1 + 8)}, False),
        ("other_stamp", {"extra2": imod_flags(byte_order, stamp=5)}, False),
        ("statistics", {"dmin": 0, "dmax": 255, "dmean": 100}, True),
        ("small_statistics", {"dmin": 0, "dmax": 127, "dmean": 100}, False),
    ]:
        volume = open_volume(craft(tmp_path / name, data, byte_order, **fields))
        expected = data if unsigned else data.view(np.int8)
        np.testing.assert_array_equal(volume.load(), expected.astype(np.float32), err_msg=name)


def test_agrees_with_mrcfile(tmp_path):
    path = tmp_path / "a.mrc"
    data = values("f4")
    with mrcfile.new(path, data) as mrc:
        mrc.voxel_size = 13.48
        mrc.header.origin = (1.5, -2, 3)
        mrc.set_extended_header(np.zeros(100, "V1"))
    facts = open_volume(path).facts
    assert facts.voxel_size_A == 13.48
    assert facts.origin_A == (1.5, -2.0, 3.0)
    assert facts.header_voxel_size_A == (13.48, 13.48, 13.48)
    np.testing.assert_array_equal(open_volume(str(path)).load(), data)


@pytest.mark.parametrize(
    "order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2), (2, 1, 3), (1, 3, 2)]
)
def test_axis_order_of_the_map_is_honoured(tmp_path, order):
    data = values("f4")
    volume = open_volume(
        craft(tmp_path / "a.map", data, mapc=order[0], mapr=order[1], maps=order[2])
    )
    # Spatial axis x, y, z (1, 2, 3) is found at this axis of the file's array.
    source = {number: 2 - position for position, number in enumerate(order)}
    expected = data.transpose(source[3], source[2], source[1])
    assert volume.shape == expected.shape
    np.testing.assert_array_equal(volume.load(), expected)
    np.testing.assert_array_equal(volume.read((1, 0, 2), (2, 3, 3)), expected[1:3, 0:3, 2:5])


def test_regions_equal_the_same_part_of_the_whole(tmp_path, monkeypatch):
    data = values("i2", (9, 11, 13))
    volume = open_volume(craft(tmp_path / "a.mrc", data))
    monkeypatch.setattr("dual_core.volumes.reading._CHUNK_BYTES", 60)
    random = np.random.default_rng(1)
    for _ in range(50):
        start = tuple(int(random.integers(0, length)) for length in data.shape)
        size = tuple(
            int(random.integers(0, length - first + 1)) for first, length in zip(start, data.shape)
        )
        part = data[tuple(slice(first, first + length) for first, length in zip(start, size))]
        np.testing.assert_array_equal(volume.read(start, size), part.astype(np.float32))


@pytest.mark.parametrize(
    ("start", "size"), [((-1, 0, 0), (2, 2, 2)), ((0, 0, 4), (1, 1, 3)), ((0, 0, 0), (1, -1, 1))]
)
def test_regions_outside_are_refused(tmp_path, start, size):
    data = values("f4")
    for volume in (open_volume(craft(tmp_path / "a.mrc", data)), ArrayVolume(data, 10)):
        with pytest.raises(ValueError, match="not inside"):
            volume.read(start, size)


def test_array_volume_reads_like_a_file(tmp_path):
    data = values("i2")
    on_disk, in_memory = open_volume(craft(tmp_path / "a.mrc", data)), ArrayVolume(data, 10)
    assert on_disk.shape == in_memory.shape
    assert on_disk.voxel_size_A == in_memory.voxel_size_A
    for volume in (on_disk, in_memory):
        part = volume.read((1, 2, 3), (2, 2, 2))
        assert part.dtype == np.float32
        np.testing.assert_array_equal(part, data[1:3, 2:4, 3:5])
    in_memory.load()[:] = 0
    np.testing.assert_array_equal(in_memory.load(), data)


def test_volume_in_a_folder_without_write_permission(tmp_path):
    folder = tmp_path / "frozen"
    folder.mkdir()
    path = craft(folder / "a.mrc", values("f4"))
    path.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert open_volume(path).load().shape == SHAPE
        assert os.listdir(folder) == ["a.mrc"]
    finally:
        folder.chmod(0o755)


def test_the_file_is_closed_with_the_volume(tmp_path):
    path = craft(tmp_path / "a.mrc", values("f4"))
    before = len(os.listdir("/proc/self/fd"))
    volume = open_volume(path)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del volume
    assert len(os.listdir("/proc/self/fd")) == before


def test_open_volume_survives_replacement_of_the_file(tmp_path):
    path, data = tmp_path / "a.mrc", values("f4")
    write_volume(path, data, 10)
    volume = open_volume(path)
    write_volume(path, data + 1, 10)
    np.testing.assert_array_equal(volume.load(), data)
    np.testing.assert_array_equal(open_volume(path).load(), data + 1)


def test_statistics_are_exact_at_a_large_offset(monkeypatch):
    data = (values("f4", (20, 31, 17)) + 1e6).astype(np.float32)
    monkeypatch.setattr("dual_core.volumes.interface._SLAB_VOXELS", 1000)
    statistics = volume_statistics(ArrayVolume(data, 10))
    exact = data.astype(np.float64)
    assert statistics.mean == pytest.approx(exact.mean(), rel=1e-12)
    assert statistics.std == pytest.approx(exact.std(), rel=1e-9)
    assert (statistics.minimum, statistics.maximum) == (data.min(), data.max())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_located(bad):
    data = values("f4", (4, 5, 6))
    data[2, 3, 1] = bad
    with pytest.raises(DualError, match="2, 3, 1") as error:
        volume_statistics(ArrayVolume(data, 10, name="some.mrc"))
    assert one_line(error).startswith("some.mrc")


def test_constant_volume():
    with pytest.raises(DualError, match="every voxel is 4"):
        volume_statistics(ArrayVolume(np.full((3, 4, 5), 4), 10))


@pytest.mark.parametrize("maximum", [1, 10, 100, 10**6])
def test_slabs_cover_each_voxel_once_within_their_limit(maximum):
    shape = (5, 7, 6)
    count = np.zeros(shape, int)
    for start, size in iterate_slabs(shape, maximum):
        count[tuple(slice(first, first + length) for first, length in zip(start, size))] += 1
        assert np.prod(size) <= max(maximum, shape[2])
    assert (count == 1).all()
