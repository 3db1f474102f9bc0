"""MRC volumes in and out: every mode, every known oddity, bounded memory, nothing lost."""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from mrcfile.dtypes import HEADER_DTYPE

from dual_core import __version__
from dual_core.errors import DualError
from dual_core.volumes.reading import (
    ArrayVolume,
    VolumeWriter,
    iterate_slabs,
    open_volume,
    volume_statistics,
    write_volume,
)

SHAPE = (5, 7, 6)
MODES = {"i1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}


def values(dtype, shape=SHAPE, seed=0):
    """Data of a type, using the part of its range that the signed/unsigned twin lacks."""
    random = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return random.normal(3, 5, shape).astype(kind)
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


def craft(path, data, byte_order="<", extended=b"", **fields):
    """Write an MRC file byte by byte, so that any field can be wrong."""
    header = np.zeros((), dtype=HEADER_DTYPE.newbyteorder(byte_order))
    sections, rows, columns = data.shape
    header["nx"], header["ny"], header["nz"] = columns, rows, sections
    header["mx"], header["my"], header["mz"] = columns, rows, sections
    header["cella"] = (columns * 10.0, rows * 10.0, sections * 10.0)
    header["mode"] = MODES.get(data.dtype.str[1:], 0)
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["map"] = b"MAP "
    header["machst"] = (0x11, 0x11, 0, 0) if byte_order == ">" else (0x44, 0x44, 0, 0)
    header["nsymbt"] = len(extended)
    header["dmin"], header["dmax"], header["dmean"] = 0, -1, -2
    for name, value in fields.items():
        header[name] = value
    raw = data.astype(data.dtype.newbyteorder(byte_order)).tobytes()
    path.write_bytes(header.tobytes() + extended + raw)
    return path


def imod_flags(byte_order, stamp=1146047817, flags=0):
    return b"\0" * 40 + np.array([stamp, flags], byte_order + "i4").tobytes() + b"\0" * 36


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


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


# --- voxel size -------------------------------------------------------------------------------


def test_anisotropic_voxel_size_is_an_error_with_a_hint(tmp_path):
    path = craft(tmp_path / "a.mrc", values("f4"), cella=(60, 70, 51))
    with pytest.raises(DualError, match="--voxel-size") as error:
        open_volume(path)
    assert "10.2" in one_line(error)
    assert open_volume(path, voxel_size_A=10).voxel_size_A == 10
    assert open_volume(path, require_voxel_size=False).voxel_size_A == 10


def test_one_per_cent_of_anisotropy_is_rounding(tmp_path):
    path = craft(tmp_path / "a.mrc", values("f4"), cella=(60, 70, 50.4))
    assert open_volume(path).voxel_size_A == 10


@pytest.mark.parametrize(
    "fields",
    [
        {"cella": (0, 0, 0)},
        {"cella": (60, 70, 0)},
        {"cella": (-60, -70, -50)},
        {"cella": (np.nan, np.nan, np.nan)},
        {"mx": 0, "my": 0, "mz": 0},
    ],
)
def test_missing_voxel_size(tmp_path, fields):
    path = craft(tmp_path / "a.mrc", values("f4"), **fields)
    with pytest.raises(DualError, match="give --voxel-size"):
        open_volume(path)
    assert open_volume(path, voxel_size_A=7.5).voxel_size_A == 7.5
    assert open_volume(path, require_voxel_size=False).facts.header_voxel_size_A[2] == 0


def test_one_angstrom_is_a_warning(tmp_path, caplog):
    path = craft(tmp_path / "a.mrc", values("f4"), cella=(6, 7, 5))
    with caplog.at_level(logging.WARNING):
        assert open_volume(path).voxel_size_A == 1
    assert "1.0 A" in caplog.text
    caplog.clear()
    open_volume(path, voxel_size_A=10)
    assert not caplog.records


def test_volume_saved_as_image_stack(tmp_path):
    for name, cell in [("per section", 10.0), ("over all", 50.0)]:
        path = craft(tmp_path / name, values("f4"), mz=1, ispg=0, cella=(60, 70, cell))
        assert open_volume(path).voxel_size_A == 10


@pytest.mark.parametrize("size", [0, -1, np.nan, np.inf])
def test_nonsense_voxel_size_is_refused(tmp_path, size):
    with pytest.raises(DualError, match="voxel size"):
        open_volume(craft(tmp_path / "a.mrc", values("f4")), voxel_size_A=size)


# --- bad input --------------------------------------------------------------------------------


def bad_files(folder):
    data = values("f4")
    whole = craft(folder / "whole", data).read_bytes()
    (folder / "gzip").write_bytes(gzip.compress(whole))
    (folder / "bzip2").write_bytes(bz2.compress(whole))
    (folder / "empty").write_bytes(b"")
    (folder / "truncated").write_bytes(whole[:-1])
    (folder / "truncated_in_extended_header").write_bytes(
        craft(folder / "x", data, extended=b"z" * 5000).read_bytes()[:2000]
    )
    (folder / "short").write_bytes(whole[:500])
    (folder / "text").write_bytes(b"this is not a volume, it is some text \n" * 100)
    (folder / "random").write_bytes(np.random.default_rng(3).bytes(9000))
    (folder / "zeros").write_bytes(bytes(9000))
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to(folder / "nothing")
    craft(folder / "image", values("f4", (1, 7, 6)))
    craft(folder / "stack", data, ispg=401, mz=1)
    for mode in (3, 4, 16, 101, 77):
        craft(folder / f"mode{mode}", data, mode=mode)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing", "no such file"),
        ("dangling", "no such file"),
        ("folder", "is a folder"),
        ("pipe", "not a regular file"),
        ("empty", "empty"),
        ("gzip", "gunzip"),
        ("bzip2", "bunzip2"),
        ("truncated", "truncated"),
        ("truncated_in_extended_header", "truncated"),
        ("short", "not an MRC"),
        ("text", "not an MRC"),
        ("random", "not an MRC"),
        ("zeros", "not an MRC"),
        ("image", "2D image"),
        ("stack", "several volumes"),
        ("mode3", "complex"),
        ("mode4", "complex"),
        ("mode16", "RGB"),
        ("mode101", "4-bit"),
        ("mode77", "mode 77"),
    ],
)
def test_bad_files_give_one_clear_line(tmp_path, name, says):
    bad_files(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(DualError, match=says) as error:
        open_volume(tmp_path / name)
    assert name in one_line(error)
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_permission(tmp_path, monkeypatch):
    path = craft(tmp_path / "a.mrc", values("f4"))

    def refuse(*_arguments):
        raise PermissionError(13, "Permission denied")

    # The rights of the file itself mean nothing to an administrator, who may run the tests.
    monkeypatch.setattr("dual_core.volumes.reading.os.open", refuse)
    with pytest.raises(DualError, match="no permission"):
        open_volume(path)


def test_file_that_shrinks_while_open(tmp_path):
    path = craft(tmp_path / "a.mrc", values("f4"))
    volume = open_volume(path)
    os.truncate(path, 1100)
    with pytest.raises(DualError, match="shorter"):
        volume.load()


@pytest.mark.parametrize(
    "fields",
    [
        {"map": b"\0\0\0\0", "machst": (0, 0, 0, 0)},
        {"machst": (0x11, 0x11, 0, 0)},
        {"mapc": 0, "mapr": 0, "maps": 0},
        {"origin": (np.nan, np.inf, 0)},
        {"nsymbt": -5},
    ],
)
def test_harmless_defects_of_the_header_are_forgiven(tmp_path, fields):
    data = values("i2")
    volume = open_volume(craft(tmp_path / "a.mrc", data, **fields))
    np.testing.assert_array_equal(volume.load(), data.astype(np.float32))
    assert volume.facts.origin_A == (0, 0, 0)


# --- statistics -------------------------------------------------------------------------------


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


# --- writing ----------------------------------------------------------------------------------


def write_in_tiles(path, data, voxel_size_A=10.0, tile=(2, 3, 4), **options):
    with VolumeWriter(path, data.shape, voxel_size_A, **options) as writer:
        for z in range(0, data.shape[0], tile[0]):
            for y in range(0, data.shape[1], tile[1]):
                for x in range(0, data.shape[2], tile[2]):
                    part = data[z : z + tile[0], y : y + tile[1], x : x + tile[2]]
                    writer.write((z, y, x), part)


@pytest.mark.parametrize("tile", [(9, 9, 9), (1, 1, 1), (2, 3, 4), (3, 9, 9), (2, 3, 9)])
@pytest.mark.parametrize("dtype", list(MODES))
def test_written_volume_is_valid_and_true(tmp_path, dtype, tile):
    path, data = tmp_path / "out.mrc", values(dtype)
    write_in_tiles(path, data, 13.48, tile, origin_A=(1.0, -2.5, 3.0), dtype=dtype)
    messages = io.StringIO()
    assert mrcfile.validate(path, print_file=messages), messages.getvalue()
    with mrcfile.open(path) as mrc:
        header = mrc.header
        np.testing.assert_array_equal(mrc.data, data)
        assert mrc.data.dtype == np.dtype(dtype)
        assert mrc.is_volume()
        assert not mrc.is_volume_stack()
        for axis in "xyz":
            assert mrc.voxel_size[axis] == pytest.approx(13.48, rel=1e-6)
        assert header.origin.tolist() == (1.0, -2.5, 3.0)
        assert (header.mapc, header.mapr, header.maps) == (1, 2, 3)
        assert (header.nxstart, header.nystart, header.nzstart) == (0, 0, 0)
        assert (header.ispg, header.nsymbt, header.mz) == (1, 0, SHAPE[0])
        assert header.label[0].decode().strip() == f"DUAL {__version__}"
        exact = data.astype(np.float64)
        assert (header.dmin, header.dmax) == (data.min(), data.max())
        assert header.dmean == pytest.approx(exact.mean(), rel=1e-6)
        assert header.rms == pytest.approx(exact.std(), rel=1e-6)
    facts = open_volume(path).facts
    assert (facts.voxel_size_A, facts.origin_A) == (13.48, (1.0, -2.5, 3.0))
    assert os.listdir(tmp_path) == ["out.mrc"]


def test_statistics_stay_true_when_regions_overlap(tmp_path):
    path, data = tmp_path / "out.mrc", values("f4")
    with VolumeWriter(path, SHAPE, 10) as writer:
        writer.write((0, 0, 0), np.full(SHAPE, 1e9, np.float32))
        writer.write((0, 0, 0), data)
    with mrcfile.open(path) as mrc:
        assert mrc.header.dmax == data.max()
    assert mrcfile.validate(path, print_file=io.StringIO())


def test_integers_are_rounded_and_their_range_is_checked(tmp_path):
    write_volume(tmp_path / "a.mrc", np.full(SHAPE, 2.6), 10, dtype="i1")
    assert (open_volume(tmp_path / "a.mrc").load() == 3).all()
    with pytest.raises(ValueError, match="do not fit"):
        write_volume(tmp_path / "b.mrc", np.full(SHAPE, 128.0), 10, dtype="i1")
    with pytest.raises(ValueError, match="do not fit"):
        write_volume(tmp_path / "b.mrc", np.full(SHAPE, np.nan), 10, dtype="i2")
    with pytest.raises(ValueError, match="cannot hold"):
        write_volume(tmp_path / "b.mrc", np.zeros(SHAPE), 10, dtype="f8")
    assert os.listdir(tmp_path) == ["a.mrc"]


class Interruption(BaseException):
    """Something that is not even an Exception, as KeyboardInterrupt."""


def broken_block(writer):
    writer.write((0, 0, 0), np.ones((1, 7, 6)))
    raise Interruption


def incomplete(writer):
    writer.write((0, 0, 0), np.ones((4, 7, 6)))


def not_finite(writer):
    writer.write((0, 0, 0), np.full(SHAPE, np.nan))


def outside(writer):
    writer.write((4, 0, 0), np.ones((2, 7, 6)))


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (broken_block, Interruption),
        (incomplete, ValueError),
        (not_finite, DualError),
        (outside, ValueError),
    ],
)
def test_failure_leaves_what_was_there(tmp_path, action, error):
    path = tmp_path / "out.mrc"
    path.write_bytes(b"precious")
    with pytest.raises(error), VolumeWriter(path, SHAPE, 10) as writer:
        action(writer)
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["out.mrc"]


def test_nothing_under_the_name_until_finished(tmp_path):
    path = tmp_path / "out.mrc"
    with VolumeWriter(path, SHAPE, 10) as writer:
        writer.write((0, 0, 0), values("f4"))
        assert not path.exists()
        assert len(os.listdir(tmp_path)) == 1
    assert path.exists()


def test_a_link_is_replaced_and_its_target_kept(tmp_path):
    target, link = tmp_path / "original.mrc", tmp_path / "link.mrc"
    target.write_bytes(b"precious")
    link.symlink_to(target)
    write_volume(link, values("f4"), 10)
    assert target.read_bytes() == b"precious"
    assert open_volume(link).shape == SHAPE


def test_access_rights_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_volume(tmp_path / "out.mrc", values("f4"), 10)
    finally:
        os.umask(before)
    assert (tmp_path / "out.mrc").stat().st_mode & 0o777 == 0o640


def test_too_little_disk_space_is_found_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=3_000_000_000)
    monkeypatch.setattr("dual_core.volumes.writer.shutil.disk_usage", lambda _folder: usage)
    writer = VolumeWriter(tmp_path / "out.mrc", (1000, 1000, 1000), 10)
    with pytest.raises(DualError, match="4.00 GB.*3.00 GB") as error, writer:
        pass
    one_line(error)
    assert os.listdir(tmp_path) == []


def test_disk_that_fills_up_meanwhile(tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    writer = VolumeWriter(tmp_path / "out.mrc", SHAPE, 10)
    with pytest.raises(DualError, match="no disk space left") as error, writer:
        monkeypatch.setattr("dual_core.volumes.writer.os.pwrite", full)
        writer.write((0, 0, 0), values("f4"))
    one_line(error)
    assert os.listdir(tmp_path) == []


def test_bad_targets(tmp_path):
    (tmp_path / "folder").mkdir()
    for path, says in [
        (tmp_path / "no" / "a.mrc", "does not exist"),
        (tmp_path / "folder", "is a"),
    ]:
        with pytest.raises(DualError, match=says) as error:
            write_volume(path, values("f4"), 10)
        one_line(error)


def test_memory_does_not_grow_with_the_volume(tmp_path):
    """Reading, measuring and writing 256 MiB costs a small part of that."""
    script = """
import resource, sys
import numpy as np
from dual_core.volumes.reading import VolumeWriter, iterate_slabs, open_volume, volume_statistics

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

shape, path = (64, 1024, 1024), sys.argv[1]
before = peak()
with VolumeWriter(path, shape, 10) as writer:
    for start, size in iterate_slabs(shape, 1 << 20):
        writer.write(start, np.full(size, start[0], np.float32))
volume = open_volume(path)
volume_statistics(volume)
for z in range(0, 64, 32):
    for x in range(0, 1024, 128):
        volume.read((z, 0, x), (32, 1024, 128))
assert peak() - before < 128, (before, peak())
"""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", script, str(tmp_path / "big.mrc")]
    subprocess.run(command, check=True, env=environment)
