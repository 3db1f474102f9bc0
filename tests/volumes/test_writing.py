"""Writing MRC volumes: valid and true, in bounded memory, and nothing lost on failure."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from crafted_mrc import MODES, SHAPE, one_line, values

from dual_core import __version__
from dual_core.errors import DualError
from dual_core.volumes.reading import VolumeWriter, open_volume, write_volume


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
